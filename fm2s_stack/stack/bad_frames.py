"""Planes that cannot be read: named, or made up from the nearest ones that can be.

Whether a plane is bad, and what stands in its place, follows from the input alone: neither
depends on how units or blocks are cut. A plane is bad as a whole, also where one chunk of it
is damaged and a unit covers another part. A system that refuses the input altogether (file
removed, no permission, no connection) is no bad frame but an error under every policy.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError, StackUnreadable
from fm2s_stack.image import StackAxis
from fm2s_stack.settings import BadFramePolicy
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.plane_reader import PlaneReader
from fm2s_stack.stack.reading import (
    Box,
    Place,
    is_gone,
    read_blocks,
    read_part,
    source_place,
    stored_parts,
    touches_all_parts,
)

TOLD = 20  #: bad frames that are said aloud


@dataclass(frozen=True)
class BadFrame:
    """A plane that could not be read and was made up; source indices."""

    t: int  #: frame
    c: int  #: channel
    z: int  #: slice
    along: StackAxis  #: axis that `made_of` counts along
    made_of: tuple[int, ...]  #: the one that was copied, or the two interpolated between
    reason: str  #: why it could not be read, without folders

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> BadFrame:
        """From its fields as JSON holds them.

        Raises
        ------
        KeyError, TypeError
            If they are not those of a bad frame.
        """
        return cls(**{**row, "made_of": tuple(row["made_of"])})


def read_box(
    stack: Stack, box: Box, along: StackAxis, policy: BadFramePolicy
) -> tuple[NDArray[np.generic], tuple[BadFrame, ...]]:
    """Pixels of a box, with its bad planes made up as `policy` says.

    Every read that fails is tried once more before it counts, under every policy. Good planes
    are read once; where `box` is a part of planes that are stored in parts, the rest of them is
    read too, once a process, to know whether they are bad (not with ``fail``).

    Parameters
    ----------
    stack
        Where to read.
    box
        What to read.
    along
        Axis along which a plane's neighbours are taken. Along t they are of the same file or
        trial (`Stack.trials`), and not of excluded frames.
    policy
        ``fail``: raise. ``previous``: the nearest readable plane before, or after where there
        is none. ``interpolate``: linear between the nearest on both sides, rounded (half to
        even) for integers; the nearest where one side has none.

    Returns
    -------
    pixels, bad
        Shape (t, 1, z, y, x), and the planes that were made up.

    Raises
    ------
    StackError
        Naming the first bad frame if the policy is ``fail``; if no neighbour can be read; or if
        the system refuses the input altogether.
    """
    try:
        pixels = read_blocks(stack, box)
    except (StackError, OSError) as error:
        if is_gone(error):
            raise
        return _read_planes(stack, box, along, policy)
    if policy == "fail" or not _any_bad_elsewhere(stack, box):
        return pixels, ()
    return _read_planes(stack, box, along, policy)


def bad_frame_line(stack: Stack, bad: BadFrame) -> str:
    """One line that tells of a plane that was made up."""
    channel = stack.channel_indices.index(bad.c)
    name = stack.name_plane(bad.t - stack.t_start, channel, bad.z - stack.z_start)
    kind = "frame" if bad.along == "t" else "slice"
    made_of = " and ".join(map(str, bad.made_of))
    one = len(bad.made_of) == 1
    how = f"{kind} {made_of} was taken" if one else f"interpolated between {kind}s {made_of}"
    return f"{name} cannot be read ({bad.reason}): {how}"


def bad_frame_lines(stack: Stack, bad: Sequence[BadFrame]) -> list[str]:
    """What to say at the end of a run of the planes that were made up, 22 lines at most."""
    if not bad:
        return []
    count = "1 plane was" if len(bad) == 1 else f"{len(bad)} planes were"
    lines = [f"{count} bad and made up:", *(bad_frame_line(stack, one) for one in bad[:TOLD])]
    return [*lines, f"and {len(bad) - TOLD} more"] if len(bad) > TOLD else lines


def _read_planes(
    stack: Stack, box: Box, along: StackAxis, policy: BadFramePolicy
) -> tuple[NDArray[np.generic], tuple[BadFrame, ...]]:
    pixels = np.empty(box.shape, stack.array.dtype)
    made_up = []
    for plane, place in zip(pixels.reshape(-1, *box.shape[3:]), box.places, strict=True):
        if policy == "fail":
            plane[...] = _read_or_name(stack, place, box)
        elif reason := _why_bad(stack, place):
            plane[...], bad = _made_up(stack, place, box, along, policy, reason)
            made_up.append(bad)
        else:
            plane[...] = read_part(stack, place, box.y, box.x)
    return pixels, tuple(made_up)


def _read_or_name(stack: Stack, place: Place, box: Box) -> NDArray[np.generic]:
    try:
        return read_part(stack, place, box.y, box.x)
    except (StackError, OSError) as error:
        if is_gone(error):
            raise
        kind = type(error) if isinstance(error, StackError) else StackUnreadable
        raise kind(
            f"{stack.name_plane(*place)}: {error}; --on-bad-frame previous or interpolate goes "
            "on without it"
        ) from error


# What is known of the planes of an opened input; forgotten with it.
_KNOWN: MutableMapping[PlaneReader, dict[Place, str]] = WeakKeyDictionary()


def _why_bad(stack: Stack, place: Place) -> str:
    """Why a plane cannot be read as a whole; empty if it can."""
    known, source = _KNOWN.setdefault(stack.planes, {}), source_place(stack, place)
    if source not in known:
        known[source] = _try_plane(stack, place)
    return known[source]


def _try_plane(stack: Stack, place: Place) -> str:
    try:
        for part in stored_parts(stack):
            read_part(stack, place, *part)
    except (StackError, OSError) as error:
        if is_gone(error):
            raise
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    """The message without the file it begins with, and without folders: it goes into outputs."""
    _, _, rest = " ".join(str(error).split()).partition(": ")
    return re.sub(r"(?<![^\s'\"(])(?:[A-Za-z]:)?[/\\]\S*[/\\](?=\S)", "", rest or str(error))[:200]


def _any_bad_elsewhere(stack: Stack, box: Box) -> bool:
    """Whether a plane is bad in a part that a box, itself readable, does not touch."""
    if touches_all_parts(stack, box):
        return False
    known = _KNOWN.setdefault(stack.planes, {})
    sources = [source_place(stack, place) for place in box.places]
    if not known.keys() >= set(sources) and _can_read_wholly(stack, box):
        known.update(dict.fromkeys(sources, ""))
    return any(_why_bad(stack, place) for place in box.places)


def _can_read_wholly(stack: Stack, box: Box) -> bool:
    """Whether the planes of a box can be read as a whole, all of them at a time."""
    try:
        for y, x in stored_parts(stack):
            read_blocks(stack, replace(box, y=y, x=x))
    except (StackError, OSError) as error:
        if is_gone(error):
            raise
        return False
    return True


def _made_up(
    stack: Stack, place: Place, box: Box, along: StackAxis, policy: BadFramePolicy, reason: str
) -> tuple[NDArray[np.generic], BadFrame]:
    used = _readable_neighbours(stack, place, along, both=policy == "interpolate")
    if not used:
        others = "frame of its file or trial" if along == "t" else "slice"
        raise StackUnreadable(
            f"{stack.path}: {stack.name_plane(*place)} cannot be read ({reason}), nor can any "
            f"other {others} be read to take its place; leave it out with --frames or --slices"
        )
    planes = [read_part(stack, _moved(place, along, at), box.y, box.x) for at in used]
    axis, origin = (0, stack.t_start) if along == "t" else (2, stack.z_start)
    made_of = tuple(at + origin for at in used)
    bad = BadFrame(*source_place(stack, place), along, made_of, reason)
    if len(used) == 1:
        return planes[0], bad
    share = (place[axis] - used[0]) / (used[1] - used[0])
    return _between(planes[0], planes[1], share), bad


def _readable_neighbours(
    stack: Stack, place: Place, along: StackAxis, *, both: bool
) -> tuple[int, ...]:
    """The nearest readable plane before, and the one after if needed or `both` are asked for."""
    here = place[0] if along == "t" else place[2]
    start, stop = _trial(stack, here) if along == "t" else (0, stack.image.shape[2])

    def nearest(indices: range) -> tuple[int, ...]:
        others = (i for i in indices if along == "z" or i not in stack.excluded)
        readable = (i for i in others if not _why_bad(stack, _moved(place, along, i)))
        return tuple(islice(readable, 1))

    before = nearest(range(here - 1, start - 1, -1))
    return before if before and not both else before + nearest(range(here + 1, stop))


def _trial(stack: Stack, t: int) -> tuple[int, int]:
    """First frame of the file or trial that a frame is in, and one past its last."""
    return stack.trials[bisect_right(stack.trials, (t, math.inf)) - 1]


def _moved(place: Place, along: StackAxis, index: int) -> Place:
    t, c, z = place
    return (index, c, z) if along == "t" else (t, c, index)


def _between(
    before: NDArray[np.generic], after: NDArray[np.generic], share: float
) -> NDArray[np.generic]:
    """Linear between two planes, `share` (0 to 1) of the way from the first to the second."""
    low = before.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less itself, where --nan keep allows it
        mixed = low + (after.astype(np.float64) - low) * share
    whole = np.issubdtype(before.dtype, np.integer)
    return (np.rint(mixed) if whole else mixed).astype(before.dtype)
