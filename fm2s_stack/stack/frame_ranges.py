"""Runs of frames, such as those that are excluded. Pure integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Bounds = tuple[int, int]  #: first, and one past the last


@dataclass(frozen=True)
class FrameRanges:
    """Frames as runs of them; what a movie of a hundred thousand frames needs is little."""

    runs: tuple[Bounds, ...] = ()  #: ascending, with a gap before each next one

    @classmethod
    def of(cls, runs: Iterable[Bounds]) -> FrameRanges:
        """The frames of runs in any order, which may overlap; empty ones say nothing."""
        joined: list[Bounds] = []
        for first, stop in sorted(run for run in runs if run[0] < run[1]):
            if joined and first <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            else:
                joined.append((first, stop))
        return cls(tuple(joined))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.runs)

    def __contains__(self, frame: int) -> bool:
        """Whether a frame is among them."""
        # Of runs that begin at the frame or before it, the last one.
        place = bisect_right(self.runs, frame, key=lambda run: run[0])
        return place > 0 and frame < self.runs[place - 1][1]

    def __str__(self) -> str:
        """As in a list of frames: ``500:510,700``."""
        return ",".join(str(a) if b == a + 1 else f"{a}:{b}" for a, b in self.runs)

    @property
    def count(self) -> int:
        """How many frames they are."""
        return sum(stop - first for first, stop in self.runs)

    def moved(self, by: int) -> FrameRanges:
        """The frames so many later."""
        return FrameRanges(tuple((a + by, b + by) for a, b in self.runs)) if by else self

    def within(self, first: int, stop: int) -> FrameRanges:
        """Those from `first` to one before `stop`."""
        return FrameRanges.of((max(a, first), min(b, stop)) for a, b in self.runs)

    def gaps(self, first: int, stop: int) -> Iterator[Bounds]:
        """Runs of the other frames, from `first` to one before `stop`."""
        for a, b in self.within(first, stop).runs:
            if first < a:
                yield first, a
            first = b
        if first < stop:
            yield first, stop


NO_FRAMES = FrameRanges()
