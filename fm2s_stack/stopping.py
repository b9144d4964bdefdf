"""A wish to stop, which any thread or signal may make and the run looks at."""

from __future__ import annotations

import threading
import time

from fm2s_stack.errors import StoppedEarly


class Stop:
    """Tells a run to end early, in a state from which the same command continues.

    Parameters
    ----------
    after
        Seconds from now, after which the run shall stop by itself; None: never.
    """

    def __init__(self, after: float | None = None) -> None:
        # Not the time of day, which may be set while a run goes on.
        self._deadline = None if after is None else time.monotonic() + after
        self._asked = threading.Event()
        self._reason = ""

    def request(self, reason: str) -> None:
        """Ask for it; the first reason is kept."""
        self._reason = self._reason or reason
        self._asked.set()

    @property
    def is_requested(self) -> bool:
        """Whether it is time to stop."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.request("the time of --stop-after is over")
        return self._asked.is_set()

    def check(self) -> None:
        """Raise where it is time to stop.

        Raises
        ------
        StoppedEarly
            With the reason.
        """
        if self.is_requested:
            raise StoppedEarly(f"stopped early: {self._reason}")
