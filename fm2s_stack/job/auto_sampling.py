"""Which planes of a stack ``-c auto`` is measured and trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.auto.lesson import Run
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.skewness import Look
from fm2s_stack.engine.near import Surroundings, segment_at
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.image import StackAxis
from fm2s_stack.job.planning import TRAINED_PIXELS
from fm2s_stack.job.sampling import GOLDEN, Window, read_for_fit, spread
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import Bounds
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
    runs, around = [], Surroundings.of(stack, along)
    for first, stop, other, part in _run_places(stack, window, along, reach, around):
        read = []
        for own in around.excluded.gaps(first, stop):
            told.advance(0)
            t, z = (own, (other, other + 1)) if along == "t" else ((other, other + 1), own)
            planes = read_planes(stack, Box(t, c, z, *part), fit, told)
            read.append(planes.reshape(-1, *planes.shape[2:]))
        start = first + (stack.t_start if along == "t" else stack.z_start)
        place = Place(start, other, (part[0][0], part[1][0]))
        excluded = around.excluded.within(first, stop).moved(-first)
        runs.append(Run(place, read[0] if len(read) == 1 else np.concatenate(read), excluded))
    return tuple(runs)


def _run_places(
    stack: Stack, window: Window, along: StackAxis, reach: Reach, around: Surroundings
) -> Iterator[tuple[int, int, int, tuple[Bounds, Bounds]]]:
    """First plane, one past the last, place on the other axis, and part, of each run."""
    _, _, slices, rows, columns = stack.image.shape
    others = range(slices) if along == "t" else stack.kept
    length = max(RUN_LENGTH, 2 * reach.count)
    segments = [(max(a, window.start), min(b, window.stop)) for a, b in around.segments]
    segments = [(a, b) for a, b in segments if any(around.excluded.gaps(a, b))]
    kept = [p for a, b in segments for run in around.excluded.gaps(a, b) for p in range(*run)]
    if len(kept) * len(others) * rows * columns <= TRAINED_PIXELS:
        whole = ((0, rows), (0, columns))
        yield from ((a, b, other, whole) for a, b in segments for other in others)
        return
    side = max(int((TRAINED_PIXELS / (4 * length)) ** 0.5) // BLOCK, 1) * BLOCK
    high, wide = min(rows, side), min(columns, side)
    count = max(4, TRAINED_PIXELS // (length * high * wide))
    for i in range(count):
        middle = kept[(2 * i + 1) * len(kept) // (2 * count)]
        a, b = segment_at(segments, middle)
        first = max(a, min(middle - length // 2, b - length))
        y = int((i + 0.5) * GOLDEN % 1 * (rows - high)) // BLOCK * BLOCK
        x = int((i + 0.5) * GOLDEN**2 % 1 * (columns - wide)) // BLOCK * BLOCK
        other = others[int((i + 0.5) * GOLDEN**3 % 1 * len(others))]
        yield first, min(first + length, b), other, ((y, y + high), (x, x + wide))


def looks_of(runs: tuple[Run, ...], background: Background, reach: Reach) -> Iterator[Look]:
    """Planes that the skewness of the noise is measured on."""
    places = [(run, at) for run in runs for at in range(len(run.planes))]
    for i in spread(len(places), LOOKS):
        run, at = places[i]
        step = int(run.steps[at])
        numbers = run.numbers_of(run.window(reach, step).planes).tolist()
        others = [n for n in dict.fromkeys(numbers[1:]) if n != at]
        if not others:
            continue
        plane = run.planes[at].astype(np.float32)
        near = run.planes[others].mean(axis=0, dtype=np.float32)
        yield Look(plane, near, len(others), _expected(run, step, near, background))


def _expected(
    run: Run, step: int, near: NDArray[np.float32], background: Background
) -> NDArray[np.float32]:
    from scipy.ndimage import uniform_filter

    y, x = near.shape
    level = background.at(run.place_of(step), slice(0, y), slice(0, x))
    return level if level.shape == near.shape else np.asarray(uniform_filter(near, 5))
