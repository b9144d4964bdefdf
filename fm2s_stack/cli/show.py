"""Progress on stderr: one live line on a terminal, a plain line every so often elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time

from fm2s_stack.cli.say import say

PLAIN_SECONDS = 10.0  #: between lines where stderr is not a terminal
LIVE_SECONDS = 0.2  #: between updates of the line of a terminal


class Show:
    """A `Progress` for people. Any thread may tell it something."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._step, self._unit, self._total, self._done = "", "", 0, 0
        self._began = self._shown = time.monotonic()

    def note(self, text: str) -> None:
        """Say one line."""
        with self._lock:
            self._clear()
            say(text)

    def start(self, step: str, total: int, unit: str) -> None:
        """Begin a step."""
        with self._lock:
            self._step, self._unit, self._total, self._done = step, unit, total, 0
            self._began = self._shown = time.monotonic()
            if self._live:
                self._write(self._line())

    def advance(self, count: int) -> None:
        """Count what is done, and show it when it is time."""
        with self._lock:
            self._done += count
            if not self._step:  # work that has no step of its own asks whether to go on
                return
            now = time.monotonic()
            if now - self._shown >= (LIVE_SECONDS if self._live else PLAIN_SECONDS):
                self._shown = now
                self._write(self._line())

    def finish(self) -> None:
        """End the step with a line of what it took."""
        with self._lock:
            seconds = max(time.monotonic() - self._began, 1e-9)
            self._clear()
            # What earlier runs had done takes no time, and tells of no speed.
            rate = f" ({self._total / seconds:.1f} {self._unit}/s)" if seconds >= 0.1 else ""
            say(f"{self._step}: {self._total} {self._unit} in {clock(seconds)}{rate}")

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        text = f"{self._step}: {self._done} of {self._total} {self._unit}"
        if not self._done or seconds <= 0:
            return text
        rate = self._done / seconds
        left = (self._total - self._done) / rate
        return f"{text}, {rate:.1f}/s, {clock(left)} left"

    def _write(self, line: str) -> None:
        if not self._live:
            say(line)
            return
        width = shutil.get_terminal_size().columns - 1
        say("\r" + line[:width].ljust(width), end=False)

    def _clear(self) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            say("\r" + " " * width + "\r", end=False)


def clock(seconds: float) -> str:
    """A duration as people read it: ``8.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes as people read them, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
