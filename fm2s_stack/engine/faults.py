"""Computing on a device that may run out of memory, or fall off."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.errors import DeviceError, Fm2sError
from fm2s_stack.fm2s.conveyor import give_back_memory, is_lack_of_memory
from fm2s_stack.progress import Pulse, unheard

T = TypeVar("T")

#: Seconds to wait before each further try after a device ran out of memory: what holds it
#: may be another program's, which comes and goes.
WAITS = (0.0, 2.0, 10.0)
PULSE_SECONDS = 0.2

_BROKEN = re.compile(
    r"(CUDA|cuDNN|cuFFT|HIP)( driver)? error|CU(DNN|BLAS)_STATUS|CUFFT_|NVML_"
    r"|cudaGetDeviceCount|No CUDA GPUs|NVIDIA driver"
)


def unnoted(text: str) -> None:
    """Nobody is told."""


def compute_on(
    devices: DevicePool,
    compute: Callable[[str], T],
    pulse: Pulse = unheard,
    *,
    tf32: bool = False,
    note: Callable[[str], None] = unnoted,
) -> T:
    """Call a function with a leased device, again where the device has no memory left.

    A further try has the device to itself in this process, after torch gave back what it
    keeps. The work is the same, in the same parts: others would give other pixels. Where
    several devices are leased, the work of one that fails goes to another one.

    Parameters
    ----------
    devices
        Where slots are leased; a lease covers one call.
    compute
        Given ``cpu`` or ``cuda:N``. It may be called several times: what it counts or writes
        must stand a repetition.
    pulse
        Called while waiting for memory; what it raises ends the wait.
    tf32
        Whether products may be rounded to TF32.
    note
        Told of a device that is left out.

    Returns
    -------
    object
        What `compute` returned.

    Raises
    ------
    DeviceError
        If the memory of the last device never suffices, or it fails in another way. Every
        other error of `compute` passes as it is.
    """
    while True:
        attempt = _Attempt(devices, compute, pulse, tf32)
        try:
            return attempt.run()
        except DeviceError as error:
            if not attempt.device or not devices.drop(attempt.device):
                raise
            note(f"{error}. It goes on on {', '.join(devices.devices)}")


@dataclass(eq=False)
class _Attempt(Generic[T]):
    """The work on one device, with patience where its memory lacks."""

    devices: DevicePool
    compute: Callable[[str], T]
    pulse: Pulse
    tf32: bool
    device: str = ""  #: that was leased

    def run(self) -> T:
        try:
            with self.devices.lease(tf32=self.tf32) as self.device:
                return self.compute(self.device)
        except RuntimeError as error:
            lacking = _lack_of_memory(error, self.device)
        for seconds in WAITS:
            # Only here, where the error is gone with the tensors that its traceback held, can
            # their memory be had: https://github.com/pytorch/pytorch/issues/18853
            give_back_memory()
            _wait(seconds, self.pulse)
            try:
                with self.devices.lease_alone(self.device, tf32=self.tf32):
                    return self.compute(self.device)
            except RuntimeError as error:
                lacking = _lack_of_memory(error, self.device)
        raise DeviceError(
            f"{self.device} has too little free memory, tried {len(WAITS) + 1} times ({lacking}); "
            "end other programs on it or give another --device, and run the same command again: "
            "it continues. Crops (--fit-crop 64) need far less than whole planes"
        )


def _lack_of_memory(error: RuntimeError, device: str) -> str:
    """What a device said that has no memory left; any other error is raised.

    Raises
    ------
    DeviceError
        If it was another failure of the device.
    RuntimeError
        The error itself, if the device had no part in it.
    """
    import torch

    text = str(error)
    if isinstance(error, Fm2sError):
        raise error
    if is_lack_of_memory(error):
        return _beginning(text)
    # torch.AcceleratorError came after the oldest torch that we run with.
    if isinstance(error, getattr(torch, "AcceleratorError", ())) or _BROKEN.search(text):
        raise DeviceError(
            f"{device} failed: {_beginning(text)}; nothing that was finished is lost: run the "
            "same command again to continue, on another GPU or node if it fails again"
        ) from error
    raise error


def _beginning(text: str) -> str:
    """The first three sentences of an error's first line: what, how much, and of how much."""
    return ". ".join(text.strip().split("\n")[0].split(". ")[:3]).rstrip(". ")


def _wait(seconds: float, pulse: Pulse) -> None:
    end = time.monotonic() + seconds
    pulse()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, PULSE_SECONDS))
        pulse()
