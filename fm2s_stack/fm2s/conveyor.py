"""Planes through a GPU: up, through the networks, and down, each on a stream of its own.

While a batch is computed the next one is copied up and the one before it down. The copies
go through page-locked memory, without which they would not run beside the kernels:
https://docs.pytorch.org/docs/stable/notes/cuda.html#use-pinned-memory-buffers
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.fm2s.levels import carrier, torch_type
from fm2s_stack.progress import Pulse, unheard

MOST_PLANES = 64  #: of a batch: more only take memory
FREE_SHARE = 0.8  #: of a device's free memory that a batch may take
DEPTH = 2  #: batches under way: one is computed, the other one copied

_NO_MEMORY = re.compile(r"CUDA error: out of memory|CUDA out of memory|STATUS_ALLOC_FAILED")

#: Computes a batch on the device: carried pixels (n, y, x) and the planes' numbers to carried
#: pixels (n, rows, columns) and the number of clipped ones.
Compute = Callable[[Tensor, Sequence[int]], tuple[Tensor, Tensor]]


class Runway:
    """Streams, page-locked memory and events of one device; the CPU has neither, and needs none."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        self.up, self.down = (self._stream(), self._stream())

    def _stream(self) -> Any:  # noqa: ANN401 - torch.cuda.Stream
        return torch.cuda.Stream(self.device) if self.is_cuda else None  # type: ignore[no-untyped-call]

    def main(self) -> Any:  # noqa: ANN401 - torch.cuda.Stream
        """The stream that computes."""
        return torch.cuda.current_stream(self.device) if self.is_cuda else None

    def begin(self) -> None:
        """Let copies wait for what was computed before: its memory may be that of the slots."""
        if self.is_cuda:
            self.up.wait_stream(self.main())

    def copy(self, target: Tensor, source: Tensor, stream: Any, after: Any) -> Any:  # noqa: ANN401
        """Copy on a stream after an event or none; the event of its end."""
        if not self.is_cuda:
            target.copy_(source)
            return None
        with torch.cuda.stream(stream):
            if after is not None:
                stream.wait_event(after)
            target.copy_(source, non_blocking=True)
            return stream.record_event()

    def host(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of this process that the device copies from and to."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.is_cuda)

    def wait(self, event: Any) -> None:  # noqa: ANN401 - torch.cuda.Event
        """Until an event has come, in this thread."""
        if event is not None:
            event.synchronize()


@dataclass(eq=False)
class _Slot:
    """What one batch under way occupies."""

    came: Tensor  #: page-locked, as the planes came
    there: Tensor  #: the same on the device
    result: Tensor  #: page-locked, as the result goes out
    clipped: Tensor  #: page-locked: how many pixels were clipped
    numbers: range = range(0)  #: of the planes in it
    made: tuple[Tensor, Tensor] | None = None  #: on the device: result and count of clipped pixels
    landed: Any = None  #: event: both are down


def convey(
    planes: NDArray[np.generic],
    result: NDArray[np.generic],
    compute: Compute,
    batch: int,
    device: str,
    pulse: Pulse = unheard,
    runway: Runway | None = None,
) -> int:
    """Compute planes in batches, with copies beside the computing.

    Parameters
    ----------
    planes
        Shape (n, y, x).
    result
        Filled; shape (n, rows, columns).
    compute
        What is done with a batch.
    batch
        Planes of a batch.
    device
        ``cuda:N``; ``cpu`` does the same steps one after another.
    pulse
        Called before each batch.
    runway
        Of the device; None: a new one.

    Returns
    -------
    int
        Pixels that were clipped.
    """
    runway = runway or Runway(device)
    carried = planes.view(carrier(planes.dtype))
    outgoing = result.view(carrier(result.dtype))
    slots = [_slot(runway, carried, outgoing, min(batch, len(planes))) for _ in range(DEPTH)]
    runway.begin()
    clipped = 0
    for turn, first in enumerate(range(0, len(planes), batch)):
        pulse()
        slot = slots[turn % DEPTH]
        clipped += _collect(runway, slot, outgoing)
        slot.numbers = range(first, min(first + batch, len(planes)))
        _launch(runway, slot, carried, compute)
    for turn in range(DEPTH):  # the rest, oldest first
        oldest = (-(-len(planes) // batch) + turn) % DEPTH
        clipped += _collect(runway, slots[oldest], outgoing)
    return clipped


def convey_what_fits(
    planes: NDArray[np.generic],
    result: NDArray[np.generic],
    compute: Compute,
    batch: int,
    device: str,
    pulse: Pulse = unheard,
) -> int:
    """`convey`, with half the planes in a batch each time that the device has no memory left.

    Batches never show in the result, so all planes are simply computed again.

    Raises
    ------
    RuntimeError
        If not even one plane fits.
    """
    while True:
        try:
            return convey(planes, result, compute, batch, device, pulse)
        except RuntimeError as error:
            if batch == 1 or not is_lack_of_memory(error):
                raise
        # Here the error is gone, and with it the tensors that its traceback held.
        batch = batch // 2
        give_back_memory()


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether a device says that it has no memory left, in torch's words or those below it.

    https://github.com/pytorch/pytorch/issues/20123
    """
    return isinstance(error, torch.OutOfMemoryError) or bool(_NO_MEMORY.search(str(error)))


def give_back_memory() -> None:
    """Hand the memory that torch keeps for later back to the device."""
    gc.collect()
    with suppress(RuntimeError):  # the next try tells better what is wrong
        torch.cuda.empty_cache()


def affordable_batch(device: str, bytes_of_plane: int, bytes_of_call: int) -> int:
    """Planes of a batch that the device's free memory holds, 0 if not one.

    Parameters
    ----------
    device
        ``cuda:N``; the CPU has no such bound.
    bytes_of_plane, bytes_of_call
        For each plane, and once.
    """
    if not device.startswith("cuda"):
        return MOST_PLANES
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    room = int(FREE_SHARE * (free + kept)) - bytes_of_call
    return max(0, min(room // bytes_of_plane, MOST_PLANES))


def _slot(runway: Runway, carried: NDArray, outgoing: NDArray, count: int) -> _Slot:
    came, gone = (torch_type(array.dtype) for array in (carried, outgoing))
    shape = (count, *carried.shape[1:])
    return _Slot(
        came=runway.host(shape, came),
        there=torch.empty(shape, dtype=came, device=runway.device),
        result=runway.host((count, *outgoing.shape[1:]), gone),
        clipped=runway.host((), torch.int64),
    )


def _launch(runway: Runway, slot: _Slot, carried: NDArray, compute: Compute) -> None:
    count = len(slot.numbers)
    np.copyto(slot.came[:count].numpy(), carried[slot.numbers.start : slot.numbers.stop])
    # The slot's last batch is down, so nothing reads its memory on the device any more.
    up = runway.copy(slot.there[:count], slot.came[:count], runway.up, None)
    main = runway.main()
    if main is not None:
        main.wait_event(up)
    slot.made = compute(slot.there[:count], slot.numbers)
    done = None if main is None else main.record_event()
    runway.copy(slot.clipped, slot.made[1], runway.down, done)
    slot.landed = runway.copy(slot.result[:count], slot.made[0], runway.down, done)


def _collect(runway: Runway, slot: _Slot, outgoing: NDArray) -> int:
    if slot.made is None:
        return 0
    runway.wait(slot.landed)  # not for the device, which is at the next batch by now
    numbers = slot.numbers
    np.copyto(outgoing[numbers.start : numbers.stop], slot.result[: len(numbers)].numpy())
    slot.made = slot.landed = None  # nothing reads them any more: their memory may be used again
    return int(slot.clipped)
