"""Which planes belong together: those of one file, trial or cycle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from fm2s_stack.image import StackAxis
from fm2s_stack.stack.base import Stack

Bounds = tuple[int, int]  #: first, and one past the last


def segments_of(stack: Stack, along: StackAxis) -> tuple[Bounds, ...]:
    """Runs of planes between which no neighbours are taken, indices along the stack axis."""
    return stack.trials if along == "t" else ((0, stack.image.shape[2]),)


def segment_at(segments: Sequence[Bounds], position: int) -> Bounds:
    """The run that a plane belongs to."""
    return segments[bisect_right([first for first, _ in segments], position) - 1]
