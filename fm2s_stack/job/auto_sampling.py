"""Which planes of a stack ``-c auto`` is measured and trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.auto.lesson import Run
from fm2s_stack.auto.reach import Bounds, Reach
from fm2s_stack.auto.skewness import Look
from fm2s_stack.engine.near import segment_at, segments_of
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.image import StackAxis
from fm2s_stack.job.planning import TRAINED_PIXELS
from fm2s_stack.job.sampling import GOLDEN, Window, read_for_fit, spread
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Box

LOOKS = 16  #: planes that the skewness is measured on
RUN_LENGTH = 18  #: planes of a run that is trained on where not all are


def read_planes(stack: Stack, box: Box, fit: FitSettings, told: Progress) -> NDArray[np.generic]:
    """As `read_for_fit`; pixels that carry no light are made up."""
    planes = read_for_fit(stack, box, fit, told)
    if fit.nan == "refuse":
        return planes
    flat = planes.reshape(-1, *planes.shape[2:])
    filled = [fill_invalid(plane.astype(np.float32), valid_pixels(plane)) for plane in flat]
    return np.stack(filled).reshape(planes.shape)


def training_runs(
    stack: Stack,
    c: int,
    fit: FitSettings,
    window: Window,
    along: StackAxis,
    reach: Reach,
    told: Progress,
) -> tuple[Run, ...]:
    """Consecutive planes of a window that a network is trained on, all of them or spread runs."""
    runs = []
    for first, stop, other, part in _run_places(stack, window, along, reach):
        told.advance(0)
        here = (first, stop), (other, other + 1)
        t, z = here if along == "t" else here[::-1]
        planes = read_planes(stack, Box(t, c, z, *part), fit, told)
        start = first + (stack.t_start if along == "t" else stack.z_start)
        place = Place(start, other, (part[0][0], part[1][0]))
        runs.append(Run(place, planes.reshape(-1, *planes.shape[2:])))
    return tuple(runs)


def _run_places(
    stack: Stack, window: Window, along: StackAxis, reach: Reach
) -> Iterator[tuple[int, int, int, tuple[Bounds, Bounds]]]:
    """First plane, one past the last, place on the other axis, and part, of each run."""
    frames, _, slices, rows, columns = stack.image.shape
    others = slices if along == "t" else frames
    length = max(RUN_LENGTH, 2 * reach.count)
    segments = [(max(a, window.start), min(b, window.stop)) for a, b in segments_of(stack, along)]
    segments = [(a, b) for a, b in segments if a < b]
    if (window.stop - window.start) * others * rows * columns <= TRAINED_PIXELS:
        whole = ((0, rows), (0, columns))
        yield from ((a, b, other, whole) for a, b in segments for other in range(others))
        return
    side = int((TRAINED_PIXELS / (4 * length)) ** 0.5) // BLOCK * BLOCK
    high, wide = min(rows, side), min(columns, side)
    count = max(4, TRAINED_PIXELS // (length * high * wide))
    for i in range(count):
        middle = window.start + (2 * i + 1) * (window.stop - window.start) // (2 * count)
        a, b = segment_at(segments, middle)
        first = max(a, min(middle - length // 2, b - length))
        y = int((i + 0.5) * GOLDEN % 1 * (rows - high)) // BLOCK * BLOCK
        x = int((i + 0.5) * GOLDEN**2 % 1 * (columns - wide)) // BLOCK * BLOCK
        other = int((i + 0.5) * GOLDEN**3 % 1 * others)
        yield first, min(first + length, b), other, ((y, y + high), (x, x + wide))


def looks_of(runs: tuple[Run, ...], background: Background, reach: Reach) -> Iterator[Look]:
    """Planes that the skewness of the noise is measured on."""
    places = [(run, at) for run in runs for at in range(len(run.planes))]
    for i in spread(len(places), LOOKS):
        run, at = places[i]
        numbers = reach.window(at, (0, len(run.planes))).planes
        others = [n for n in dict.fromkeys(numbers[1:]) if n != at]
        if not others:
            continue
        plane = run.planes[at].astype(np.float32)
        near = run.planes[others].mean(axis=0, dtype=np.float32)
        yield Look(plane, near, len(others), _expected(run, at, near, background))


def _expected(
    run: Run, at: int, near: NDArray[np.float32], background: Background
) -> NDArray[np.float32]:
    from scipy.ndimage import uniform_filter

    y, x = near.shape
    level = background.at(run.place_of(at), slice(0, y), slice(0, x))
    return level if level.shape == near.shape else np.asarray(uniform_filter(near, 5))
