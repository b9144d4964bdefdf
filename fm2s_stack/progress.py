"""What a run tells about itself while it goes on; the command line shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from fm2s_stack.errors import StoppedEarly

#: Called every second or so while something long goes on, from any thread; it may raise
#: `StoppedEarly` to end it.
Pulse = Callable[[], None]


def unheard() -> None:
    """Heed no pulse: the default where nobody can ask to stop."""


class Progress(Protocol):
    """Told by a run, from any thread."""

    def note(self, text: str) -> None:
        """Say one line: an assumption, a step."""

    def start(self, step: str, total: int, unit: str) -> None:
        """A step begins that has `total` things of kind `unit` to do."""

    def advance(self, count: int) -> None:
        """So many more of the step's things are done."""

    def finish(self) -> None:
        """End the step."""


class Silent:
    """Says nothing: the default of the library."""

    def note(self, text: str) -> None:
        """Keep a line to itself."""

    def start(self, step: str, total: int, unit: str) -> None:
        """Ignore the beginning of a step."""

    def advance(self, count: int) -> None:
        """Ignore what is done."""

    def finish(self) -> None:
        """Ignore the end of a step."""


class Stoppable:
    """A `Progress` through which work in other threads can be stopped.

    Work reports every few milliseconds to seconds; after `stop` its next report raises.
    """

    def __init__(self, told: Progress) -> None:
        self._told = told
        self._stopped = threading.Event()
        self.note, self.start, self.finish = told.note, told.start, told.finish

    def stop(self) -> None:
        """Stop whoever reports next."""
        self._stopped.set()

    def advance(self, count: int) -> None:
        """Pass the count on.

        Raises
        ------
        StoppedEarly
            After `stop`.
        """
        if self._stopped.is_set():
            raise StoppedEarly("the run was stopped")
        self._told.advance(count)
