"""Which planes, or parts of huge planes, a stack is measured and trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.fm2s.intensity import IntensityMap, measure_intensity
from fm2s_stack.fm2s.padding import valid_pixels
from fm2s_stack.image import Shape5, StackAxis
from fm2s_stack.job.deciding import FIT_PIXELS
from fm2s_stack.job.planning import (
    FIT_PLANES,
    INTENSITY_PIXELS,
    INTENSITY_PLANES,
    PART_SIDE,
    affordable_planes,
)
from fm2s_stack.progress import Progress, Pulse, unheard
from fm2s_stack.settings import BadFramePolicy, FitSettings
from fm2s_stack.stack.bad_frames import bad_frame_line, read_box
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.finite import require_finite
from fm2s_stack.stack.frame_ranges import NO_FRAMES, FrameRanges
from fm2s_stack.stack.reading import Box

GOLDEN = (math.sqrt(5) - 1) / 2  #: multiples of it spread evenly between whole numbers


@dataclass(frozen=True)
class Window:
    """A run along the stack axis that shares one network, indices into the stack."""

    start: int  #: first plane
    stop: int  #: one past the last

    @property
    def centre(self) -> float:
        """Where the network applies alone."""
        return (self.start + self.stop - 1) / 2


@dataclass(frozen=True)
class Sample:
    """A plane, or a part of one, indices into the stack, end not included."""

    t: int  #: frame
    z: int  #: slice
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns


def fit_windows(
    length: int, fit: FitSettings, excluded: FrameRanges = NO_FRAMES
) -> tuple[Window, ...]:
    """The windows of a stack: one, or runs of ``fit.every`` planes.

    A window of less than half the planes, because the stack ends or most are excluded, is
    joined to the one before it, the first to the one after it, so that no network is trained
    on a few planes alone.
    """
    if fit.mode != "every":
        return (Window(0, length),)
    windows: list[Window] = []
    for start in range(0, length, fit.every):
        window = Window(start, min(start + fit.every, length))
        if windows and any(_is_short(w, fit, excluded) for w in (window, windows[-1])):
            window = Window(windows.pop().start, window.stop)
        windows.append(window)
    return tuple(windows)


def _is_short(window: Window, fit: FitSettings, excluded: FrameRanges) -> bool:
    left_out = excluded.within(window.start, window.stop).count
    return 2 * (window.stop - window.start - left_out) < fit.every


def training_samples(
    shape: Shape5,
    window: Window,
    along: StackAxis,
    stride: int,
    excluded: FrameRanges = NO_FRAMES,
) -> list[Sample]:
    """What one network is trained on: ten planes, or as many parts of huge ones as fit.

    Parameters
    ----------
    shape
        Of the stack, tczyx.
    window
        The run along the stack axis to take planes from.
    along
        The stack axis.
    stride
        Side of the preset's patches; parts begin on their grid, so that the patches are
        those of the whole plane.
    excluded
        Frames of which nothing is taken.
    """
    *_, rows, columns = shape
    if rows * columns <= FIT_PIXELS:
        whole = ((0, rows), (0, columns))
        places = _places(shape, window, along, FIT_PLANES, excluded)
        return [Sample(t, z, *whole) for t, z in places]
    parts = _parts(rows, columns, stride)
    places = _places(shape, window, along, len(parts), excluded, parts=True)
    return [Sample(*places[i % len(places)], *part) for i, part in enumerate(parts)]


def _parts(rows: int, columns: int, stride: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Equal parts spread over a huge plane: one in each of as many bands of rows."""
    side = max(PART_SIDE // stride, 1) * stride
    high, wide = min(rows, side), min(columns, side)
    count = max(1, FIT_PIXELS // (high * wide))
    parts = []
    for i in range(count):
        across = (i + 0.5) * GOLDEN % 1
        y = int((i + 0.5) / count * (rows - high)) // stride * stride
        x = int(across * (columns - wide)) // stride * stride
        parts.append(((y, y + high), (x, x + wide)))
    return parts


def read_sample(
    stack: Stack, c: int, sample: Sample, fit: FitSettings, told: Progress
) -> NDArray[np.generic]:
    """Pixels of a sample, shape (y, x); as `read_for_fit`."""
    t, z = (sample.t, sample.t + 1), (sample.z, sample.z + 1)
    plane: NDArray[np.generic] = read_for_fit(stack, Box(t, c, z, sample.y, sample.x), fit, told)[
        0, 0
    ]
    return plane


def read_for_fit(stack: Stack, box: Box, fit: FitSettings, told: Progress) -> NDArray[np.generic]:
    """Pixels of a box, shape (t, z, y, x).

    In place of a plane that cannot be read, where the settings do not make that an error, comes
    the nearest one that can, with a note: an interpolated one would have less noise than the
    stack has.

    Raises
    ------
    StackError
        If one cannot be read, nor be replaced.
    NonFinitePixels
        If there is NaN or infinity in it and the settings refuse them.
    """
    policy: BadFramePolicy = "fail" if fit.on_bad_frame == "fail" else "previous"
    planes, bad = read_box(stack, box, stack.image.default_along(), policy)
    for one in bad:
        told.note(f"measuring and training: {bad_frame_line(stack, one)}")
    if fit.nan == "refuse":
        require_finite(stack, planes, box.t[0], box.c, box.z[0])
    return planes[:, 0]


def measure_channel(
    stack: Stack, c: int, fit: FitSettings, told: Progress, pulse: Pulse = unheard
) -> IntensityMap:
    """The intensity map of a channel, from planes spread over the stack."""
    shape = stack.image.shape
    places = _places(shape, Window(0, shape[0]), "t", INTENSITY_PLANES, stack.excluded)
    step = -(-shape[3] * shape[4] * len(places) // INTENSITY_PIXELS)
    while math.gcd(step, shape[4]) > 1:  # or the same columns would be taken in every row
        step += 1
    return measure_intensity(
        np.concatenate(list(_levels(stack, c, places, step, fit, told, pulse))), stack.image.dtype
    )


def _levels(
    stack: Stack,
    c: int,
    places: list[tuple[int, int]],
    step: int,
    fit: FitSettings,
    told: Progress,
    pulse: Pulse,
) -> Iterator[NDArray[np.generic]]:
    *_, rows, columns = stack.image.shape
    for t, z in places:
        told.advance(0)  # slow storage: let it be stopped between two planes
        plane = read_sample(stack, c, Sample(t, z, (0, rows), (0, columns)), fit, told)
        if fit.nan == "keep":
            plane = plane[valid_pixels(plane, partial(told.advance, 0))]
        yield plane.reshape(-1)[::step].copy()


def _places(
    shape: Shape5,
    window: Window,
    along: StackAxis,
    most: int,
    excluded: FrameRanges,
    *,
    parts: bool = False,
) -> list[tuple[int, int]]:
    """(frame, slice) of planes spread evenly over a window, first of all over time."""
    frames, _, slices, rows, columns = shape
    t_range = (window.start, window.stop) if along == "t" else (0, frames)
    z_range = (window.start, window.stop) if along == "z" else (0, slices)
    count = most if parts else affordable_planes(rows * columns, most)
    kept = [t for run in excluded.gaps(*t_range) for t in range(*run)]
    return [(kept[i], z) for i, z in spread_places((0, len(kept)), z_range, count)]


def spread_places(
    frames: tuple[int, int], slices: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """At most `count` distinct (frame, slice) pairs, evenly spread over both ranges."""
    t_count, z_count = frames[1] - frames[0], slices[1] - slices[0]
    if t_count * z_count <= count:
        return [(t, z) for t in range(*frames) for z in range(*slices)]
    chosen: dict[tuple[int, int], None] = {}
    for i in range(count):
        t, z = _middle(i, count, t_count), _middle(i, count, z_count)
        if t_count > 1:
            # The golden ratio visits slices evenly whatever their number; frames go in order.
            z = int(((i + 0.5) * GOLDEN % 1) * z_count)
        chosen[frames[0] + t, slices[0] + z] = None
    return list(chosen)


def spread(length: int, count: int) -> list[int]:
    """At most `count` numbers below `length`, evenly spread."""
    count = max(1, min(length, count))
    return [_middle(i, count, length) for i in range(count)]


def _middle(i: int, count: int, length: int) -> int:
    """Middle of the i-th of `count` equal runs of `length`."""
    return (2 * i + 1) * length // (2 * count)
