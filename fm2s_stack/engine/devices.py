"""Devices, and the leases that keep one unit at a time computing on each."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fm2s_stack.errors import DeviceError, UsageError


def usable_threads(wanted: int | None = None) -> int:
    """Threads to compute with: what was asked for, else the cores that were given to us.

    Those are the process's affinity, or fewer where a SLURM job was given fewer: not every
    cluster binds its jobs to their cores (sbatch(1), SLURM_CPUS_PER_TASK).

    Raises
    ------
    UsageError
        If less than one was asked for.
    """
    if wanted is not None:
        if wanted < 1:
            raise UsageError(f"--threads {wanted}: expected 1 or more")
        return wanted
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(bound or 1, int(given)) if given.isdecimal() and int(given) else bound or 1


def find_device(name: str) -> str:
    """The device that a name stands for: ``cpu`` or ``cuda:N``.

    Parameters
    ----------
    name
        ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceError
        If there is no such device.
    UsageError
        If the name is none of those.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if int(number or 0) >= count:
        raise DeviceError(f"--device {name}: this machine has {count} CUDA device(s); use cpu")
    return f"cuda:{int(number or 0)}"


def device_kind(device: str) -> str:
    """``cpu`` or ``cuda``: results agree to the bit within a kind."""
    return device.partition(":")[0]


class DevicePool:
    """Slots to compute in. On the CPU a slot is a thread; a GPU is one slot.

    Parameters
    ----------
    device
        As `find_device` returned it.
    threads
        Slots on the CPU.
    """

    def __init__(self, device: str, threads: int = 1) -> None:
        self.device = device
        self.slots = threads if device == "cpu" else 1
        self._emptying = threading.Lock()
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for _ in range(self.slots):
            self._free.put(device)

    @contextmanager
    def lease(self) -> Iterator[str]:
        """Hold a device for the block; waits for a free one."""
        device = self._free.get()
        try:
            with _deterministic():
                yield device
        finally:
            self._free.put(device)

    @contextmanager
    def lease_alone(self) -> Iterator[str]:
        """Hold every slot for the block; waits until nobody else computes in this process.

        Whoever holds a slot must give it back before asking for all of them.
        """
        with ExitStack() as held:
            held.enter_context(self._emptying)  # two that take slots in turn would wait for ever
            for _ in range(self.slots):
                held.enter_context(self.lease())
            yield self.device


@contextmanager
def _deterministic() -> Iterator[None]:
    """One torch thread in this thread, and only algorithms that repeat to the bit on a GPU."""
    import torch

    from fm2s_stack.fm2s.fit import one_thread

    flags = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with one_thread(), flags:
        yield
