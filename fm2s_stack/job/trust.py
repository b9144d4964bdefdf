"""Whether a result can be trusted, measured on it and its input before it is sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError
from fm2s_stack.image import CANONICAL_AXES, StackAxis
from fm2s_stack.job.planning import TRUST_SIDE
from fm2s_stack.metrics import trust_line, without_truth
from fm2s_stack.stack.bad_frames import BadFrame
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import NO_FRAMES
from fm2s_stack.stack.reading import Box, Place, read_blocks, read_part

if TYPE_CHECKING:
    import zarr

Pixels = NDArray[np.generic]


def measure_trust(
    stack: Stack,
    path: Path,
    along: StackAxis,
    bad: Sequence[BadFrame],
    check: Callable[[], None],
) -> tuple[str, ...]:
    """What measures without truth say of a result, a line for each channel.

    Up to 128 planes along the stack axis are compared, of them the middle 256 x 256 pixels; of
    what lies across it (slices of a movie, frames of which each is a z-stack) the middle one.
    It depends on the pixels alone, not on how they were made.

    Parameters
    ----------
    stack
        The input.
    path
        The OME-Zarr, every unit of it there.
    along
        The stack axis.
    bad
        Planes that were made up; they are left out, as excluded frames are.
    check
        Called between runs of 16 planes; raises to stop.

    Returns
    -------
    tuple of str
        Empty where the input cannot be read any more.
    """
    import zarr

    level0 = zarr.open_array(str(path / "s0"), mode="r")
    lines = []
    # What cannot be looked at may be sound all the same: its units said so when they read it.
    with suppress(StackError, OSError, ValueError, RuntimeError):
        for c in range(stack.image.shape[1]):
            check()
            lines.append(_line(stack, level0, c, along, bad, check))
    return tuple(lines) if len(lines) == stack.image.shape[1] else ()


def _line(
    stack: Stack,
    level0: zarr.Array,
    c: int,
    along: StackAxis,
    bad: Sequence[BadFrame],
    check: Callable[[], None],
) -> str:
    seen = _Seen.of(stack, c, along, bad)

    def stored(box: Box) -> Pixels:
        spans = dict(zip(CANONICAL_AXES, (box.t, (c, c + 1), box.z, box.y, box.x), strict=True))
        return np.asarray(level0[tuple(slice(*spans[axis]) for axis in stack.image.axes)])

    raw, result = _Part(seen, partial(_read, stack)), _Part(seen, stored)
    measured = without_truth(raw, result, lambda frames: check())
    scale, name = stack.image.scale, stack.name_channel(c)
    line = trust_line(measured, scale.x if scale.x == scale.y else None)
    return line.replace("Trust:", f"Trust, {name}:", 1) if name else line


def _read(stack: Stack, box: Box) -> Pixels:
    """Pixels of the input, plane by plane where a bad one lies in a block of theirs."""
    try:
        return read_blocks(stack, box)
    except StackError:
        return np.stack([read_part(stack, place, box.y, box.x) for place in box.places])


@dataclass(frozen=True)
class _Seen:
    """The planes of a recording that are looked at, and the part of each."""

    c: int  #: channel
    along: StackAxis  #: the stack axis
    across: int  #: slice of a movie, or frame of which each is a z-stack
    planes: tuple[int, ...]  #: along the stack axis
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns

    @classmethod
    def of(cls, stack: Stack, c: int, along: StackAxis, bad: Sequence[BadFrame]) -> _Seen:
        """All planes that were read and denoised."""
        frames, _, slices, rows, columns = stack.image.shape
        length, width = (frames, slices) if along == "t" else (slices, frames)
        across = width // 2 if along == "t" else stack.kept[len(stack.kept) // 2]
        copied = stack.excluded if along == "t" else NO_FRAMES
        made_up = {(one.t - stack.t_start, one.c, one.z - stack.z_start) for one in bad}
        planes = tuple(
            n
            for n in range(length)
            if _place(n, across, along, stack.channel_indices[c]) not in made_up and n not in copied
        )
        return cls(c, along, across, planes, _middle(rows), _middle(columns))

    def box(self, start: int, stop: int) -> Box:
        """The part of consecutive planes."""
        own, other = (start, stop), (self.across, self.across + 1)
        t, z = (own, other) if self.along == "t" else (other, own)
        return Box(t, self.c, z, self.y, self.x)


def _place(plane: int, across: int, along: StackAxis, c: int) -> Place:
    """Frame, channel and slice of a plane along the stack axis."""
    return (plane, c, across) if along == "t" else (across, c, plane)


@dataclass(frozen=True, eq=False)
class _Part:
    """What is looked at of a recording, read a run of planes at a time."""

    seen: _Seen  #: what that is
    read: Callable[[Box], Pixels]  #: its pixels, in the order tczyx

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns."""
        (top, bottom), (left, right) = self.seen.y, self.seen.x
        return len(self.seen.planes), bottom - top, right - left

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """Pixels of successive planes; what is not finite is 0 in input and result alike."""
        times, *inside = key
        # Where a plane was left out, another read begins.
        runs = groupby(enumerate(self.seen.planes[times]), lambda pair: pair[1] - pair[0])
        boxes = (self._box([plane for _, plane in run]) for _, run in runs)
        parts = [self.read(box).reshape(-1, *self.shape[1:])[:, *inside] for box in boxes]
        pixels = np.concatenate(parts).astype(np.float32)
        return np.nan_to_num(pixels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _box(self, run: list[int]) -> Box:
        return self.seen.box(run[0], run[-1] + 1)


def _middle(length: int) -> tuple[int, int]:
    start = max(0, (length - TRUST_SIDE) // 2)
    return start, min(length, start + TRUST_SIDE)
