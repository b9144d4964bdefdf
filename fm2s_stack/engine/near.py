"""Which planes belong together: those of one file, trial or cycle that are not excluded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fm2s_stack.auto.reach import Reach, Window
from fm2s_stack.image import StackAxis
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import NO_FRAMES, Bounds, FrameRanges


@dataclass(frozen=True)
class Surroundings:
    """Which planes along the stack axis may be neighbours of which."""

    segments: tuple[Bounds, ...]  #: runs of planes between which none are taken
    excluded: FrameRanges = NO_FRAMES  #: planes that are none of any other

    @classmethod
    def of(cls, stack: Stack, along: StackAxis) -> Surroundings:
        """Those of a stack, indices along the stack axis; frames are excluded along t alone."""
        return cls(segments_of(stack, along), stack.excluded if along == "t" else NO_FRAMES)

    def window(self, reach: Reach, position: int) -> Window:
        """The planes that a plane, itself not excluded, is made of."""
        return reach.window(position, segment_at(self.segments, position), self.excluded)


def segments_of(stack: Stack, along: StackAxis) -> tuple[Bounds, ...]:
    """Runs of planes between which no neighbours are taken, indices along the stack axis."""
    return stack.trials if along == "t" else ((0, stack.image.shape[2]),)


def segment_at(segments: Sequence[Bounds], position: int) -> Bounds:
    """The run that a plane belongs to."""
    return segments[bisect_right([first for first, _ in segments], position) - 1]
