"""Which planes belong together: those of one file, trial or cycle."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from fm2s_stack.image import StackAxis
from fm2s_stack.stack.base import Stack

Bounds = tuple[int, int]  #: first, and one past the last


def segments_of(stack: Stack, along: StackAxis) -> list[Bounds]:
    """Runs of planes between which no neighbours are taken, indices along the stack axis."""
    if along == "z":
        return [(0, stack.image.shape[2])]
    frames = stack.image.shape[0]
    # A frame a file is a recording all the same: these are no trials.
    breaks = stack.breaks if len(stack.breaks) < frames - 1 else ()
    return list(pairwise((0, *breaks, frames)))


def segment_at(segments: list[Bounds], position: int) -> Bounds:
    """The run that a plane belongs to."""
    return segments[bisect_right([first for first, _ in segments], position) - 1]
