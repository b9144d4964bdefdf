"""Leases that keep so many planes at a time computing on each device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from fm2s_stack.engine.arithmetic import repeatable
from fm2s_stack.engine.devices import FEEDING, SERVED, device_kind
from fm2s_stack.errors import DeviceError

T = TypeVar("T")


class DevicePool:
    """Slots to compute in. On the CPU a slot is a thread; a GPU is one slot.

    Whoever waits gets the slot that is free first, so that a slow device holds nobody else, and
    one that failed is left out from then on.

    Parameters
    ----------
    devices
        ``cpu``, or one or several ``cuda:N``.
    threads
        Slots on the CPU.
    """

    def __init__(self, devices: str | Sequence[str], threads: int = 1) -> None:
        names = (devices,) if isinstance(devices, str) else tuple(devices)
        self._slots = {name: threads if name == "cpu" else 1 for name in names}
        self._free = dict(self._slots)
        self._bound: int | None = None
        self._alone: set[str] = set()  # devices that somebody empties to have them alone
        self._changed = threading.Condition()
        self._threads: ThreadPoolExecutor | None = None
        writers = -(-threads // SERVED) if self.kind == "cpu" else FEEDING * len(names)
        #: Held while a unit is encoded, whose copies of it then add up no more the longer a movie.
        self.writing = threading.BoundedSemaphore(writers)

    @property
    def device(self) -> str:
        """The first device that has not failed."""
        return self.devices[0]

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that have not failed."""
        return tuple(self._slots)

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``: one for all of them."""
        return device_kind(self.device)

    @property
    def slots(self) -> int:
        """Leases that can be held at a time."""
        slots = sum(self._slots.values())
        return slots if self._bound is None else min(slots, self._bound)

    def bound(self, slots: int | None) -> None:
        """Lease no more than so many slots of the CPU at a time, as planned; None: all."""
        with self._changed:
            self._bound = slots if self.kind == "cpu" else None
            self._changed.notify_all()

    @contextmanager
    def lease(self, *, tf32: bool = False) -> Iterator[str]:
        """Hold a device for the block; waits for a free one.

        Raises
        ------
        DeviceError
            If the last device failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._slots or self._next() is not None)
            device = self._next()
            if device is None:
                raise DeviceError("no device is left to compute on")
            self._free[device] -= 1
        try:
            with repeatable(device, tf32=tf32):
                yield device
        finally:
            self._give_back(device, 1)

    @contextmanager
    def lease_alone(self, device: str, *, tf32: bool = False) -> Iterator[None]:
        """Hold every slot of a device for the block; waits until nobody else computes on it.

        Whoever holds a slot must give it back before asking for all of them.

        Raises
        ------
        DeviceError
            If the device failed meanwhile.
        """
        with self._changed:
            # Two that take slots in turn would wait for ever.
            self._changed.wait_for(lambda: device not in self._alone)
            self._alone.add(device)
            self._changed.wait_for(
                lambda: device not in self._slots or self._free[device] == self._slots[device]
            )
            if device not in self._slots:
                self._alone.discard(device)
                self._changed.notify_all()
                raise DeviceError(f"{device} failed")
            taken = self._free[device] = self._slots[device]
            self._free[device] -= taken
        try:
            with repeatable(device, tf32=tf32):
                yield
        finally:
            self._alone.discard(device)
            self._give_back(device, taken)

    def drop(self, device: str) -> bool:
        """Leave a device out that failed; whether there are others."""
        with self._changed:
            others = len(self._slots) - (device in self._slots)
            if others:
                self._slots.pop(device, None)
                self._free.pop(device, None)
                self._changed.notify_all()
            return others > 0

    def each(self, compute: Callable[[int], T], count: int) -> list[T]:
        """Call a function with 0 to `count` - 1 in as many threads as there are slots.

        All units in flight share these threads, so that the last unit of a run, or the only
        one, has every core. A function that fails ends the rest of the call.
        """
        futures = [self._executor().submit(self._in_slot, compute, i) for i in range(count)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            _end(futures)
            raise

    def _in_slot(self, compute: Callable[[int], T], number: int) -> T:
        with self.lease():
            return compute(number)

    def _executor(self) -> ThreadPoolExecutor:
        with self._changed:
            if self._threads is None:
                slots = sum(self._slots.values())
                self._threads = ThreadPoolExecutor(slots, thread_name_prefix="compute")
            return self._threads

    def _next(self) -> str | None:
        """The device whose slot is the next to be leased; None: all are taken."""
        taken = sum(self._slots.values()) - sum(self._free.values())
        if self._bound is not None and taken >= self._bound:
            return None
        free = [name for name in self._slots if self._free[name] and name not in self._alone]
        return max(free, key=lambda name: self._free[name], default=None)

    def _give_back(self, device: str, slots: int) -> None:
        with self._changed:
            if device in self._slots:
                self._free[device] += slots
            self._changed.notify_all()


def _end(futures: Sequence[Future]) -> None:
    for future in futures:
        future.cancel()
    wait(futures)
