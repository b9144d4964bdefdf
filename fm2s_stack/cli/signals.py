"""Signals that stop a run: it ends within seconds, and the same command continues it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.stopping import Stop

STOPPED_EARLY = 75  #: exit code (EX_TEMPFAIL of sysexits.h)
TWICE = 0.3  #: seconds in which a second interrupt is the same wish
PATIENCE = 9.0  #: seconds that a run has to end by itself, once it is asked to
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last one is SLURM's to send, and not on Windows


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Within the block, signals ask to stop; a second interrupt ends the process at once.

    A run that is deep in one long call of a library does not end in time. The process is then
    left as if it had been killed, which costs the units in flight and no more.
    """
    asked, ended = 0.0, threading.Event()
    threading.Thread(target=_leave_in_time, args=(stop, ended), daemon=True).start()

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if not asked:
            asked = time.monotonic()
            stop.request(name)
            raise StoppedEarly(f"stopped early: {name}")
        # One wish may come twice: timeout(1) signals its child, and then the group of both.
        if number == signal.SIGINT and time.monotonic() - asked > TWICE:
            _leave()

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    unraisable = sys.unraisablehook
    sys.unraisablehook = _without_stops(unraisable)
    try:
        yield
    finally:
        ended.set()
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _without_stops(
    hook: Callable[[sys.UnraisableHookArgs], None],
) -> Callable[[sys.UnraisableHookArgs], None]:
    """The hook, silent about stops: where a callback swallows one, the wish itself stays."""

    def tell(met: sys.UnraisableHookArgs) -> None:
        if not isinstance(met.exc_value, StoppedEarly):
            hook(met)

    return tell


def _leave_in_time(stop: Stop, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        if stop.is_requested and not ended.wait(PATIENCE):
            _leave()


def _leave() -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write("\nStopped at once; run the same command again to continue\n")
        sys.stderr.flush()
    os._exit(STOPPED_EARLY)
