"""Signals that stop a run: it ends within seconds, and the same command continues it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.stopping import Stop

STOPPED_EARLY = 75  #: exit code (EX_TEMPFAIL of sysexits.h)
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last one is SLURM's to send, and not on Windows


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Within the block, signals ask to stop; a second interrupt ends the process at once."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if not asked:
            asked = True
            stop.request(name)
            raise StoppedEarly(f"stopped early: {name}")
        if number == signal.SIGINT:
            sys.stderr.write("\nStopped at once; run the same command again to continue\n")
            os._exit(STOPPED_EARLY)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
