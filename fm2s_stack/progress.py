"""What a run tells about itself while it goes on; the command line shows it."""

from __future__ import annotations

from typing import Protocol


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
