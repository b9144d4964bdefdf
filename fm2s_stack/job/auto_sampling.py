"""Which planes of a stack ``-c auto`` is measured and trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Background, Means, Place, flat_background
from fm2s_stack.auto.lesson import Run
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.skewness import Look
from fm2s_stack.engine.near import Surroundings, segment_at
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.image import StackAxis
from fm2s_stack.job.planning import BACKGROUND_PIXELS, TRAINED_PIXELS
from fm2s_stack.job.sampling import GOLDEN, Window, read_for_fit, spread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import Bounds
from fm2s_stack.stack.reading import Box

BACKGROUND_PLANES = 512  #: that the background is the mean of, at most
RUN_PLANES = 16  #: of one mean of the background, at least
MOST_RUNS = 32  #: means of the background, at most
PROBES = 24  #: planes by which the number of means is chosen
PROBE_STEP = 4  #: pixels between those that are looked at
BETTER = 0.99  #: part of the error that a background of more means must come down to
LOOKS = 16  #: planes that the skewness is measured on
RUN_LENGTH = 18  #: planes of a run that is trained on where not all are

Shape3 = tuple[int, int, int]


def read_planes(stack: Stack, box: Box, fit: FitSettings, told: Progress) -> NDArray[np.generic]:
    """As `read_for_fit`; pixels that carry no light are made up."""
    planes = read_for_fit(stack, box, fit, told)
    if fit.nan == "refuse":
        return planes
    flat = planes.reshape(-1, *planes.shape[2:])
    filled = [fill_invalid(plane.astype(np.float32), valid_pixels(plane)) for plane in flat]
    return np.stack(filled).reshape(planes.shape)


def measure_background(
    stack: Stack, c: int, fit: FitSettings, along: StackAxis, noise: NoiseModel, told: Progress
) -> Background:
    """The slow background of a channel; flat where planes do not show one thing over time.

    As many means along the recording as predict planes best that are left out of them. Where
    frames are excluded, those that are left are counted: each mean is of as many.
    """
    (_, _, *rest), kept = stack.image.shape, stack.kept
    frames = len(kept)
    shape: Shape3 = (rest[0], rest[1], rest[2])
    pixels = int(np.prod(shape))
    runs = _most_runs(frames, pixels, shape[0])
    if along == "z" or frames < RUN_PLANES or pixels > BACKGROUND_PIXELS:
        return flat_background(noise.mean_level)
    means, probe = Means(frames, runs, shape), Means(frames, runs, _strided(shape))
    seen = []
    for number in spread(frames, BACKGROUND_PLANES // shape[0]):
        told.advance(0)
        t = (kept[number], kept[number] + 1)
        box = Box(t, c, (0, shape[0]), (0, shape[1]), (0, shape[2]))
        planes = read_planes(stack, box, fit, told)[0]
        means.add(number, planes)
        probe.add(number, planes[:, ::PROBE_STEP, ::PROBE_STEP])
        seen.append((number, planes[:, ::PROBE_STEP, ::PROBE_STEP].astype(np.float32)))
    chosen = _best_runs(probe, seen, runs, noise)
    found = means.background(chosen) if chosen else flat_background(noise.mean_level)
    positions = np.interp(found.positions, np.arange(frames), kept)
    return Background(positions + stack.t_start, found.planes)


def _most_runs(frames: int, pixels: int, slices: int) -> int:
    """The most means of a background that are tried: a power of two."""
    looked_at = min(frames, max(BACKGROUND_PLANES // slices, RUN_PLANES))
    most = min(MOST_RUNS, looked_at // RUN_PLANES, BACKGROUND_PIXELS // pixels)
    return 1 << max(most.bit_length() - 1, 0)


def _best_runs(
    means: Means,
    seen: list[tuple[int, NDArray[np.float32]]],
    most: int,
    noise: NoiseModel,
) -> int:
    """How many means predict planes best that were left out; 0: one level does as well."""
    probes = [seen[i] for i in spread(len(seen), PROBES)]
    flat = flat_background(noise.mean_level)
    best, least = 0, np.mean([_error(planes, flat, t, noise) for t, planes in probes])
    runs = 1
    while runs <= most:
        error = np.mean(
            [_error(planes, means.without(runs, t, planes), t, noise) for t, planes in probes]
        )
        if error < BETTER * least:
            best, least = runs, error
        runs *= 2
    return best


def _error(
    planes: NDArray[np.float32], background: Background, t: int, noise: NoiseModel
) -> np.floating:
    """Mean square of planes (others, y, x) around a background, in units of the noise."""
    whole = slice(0, planes.shape[1]), slice(0, planes.shape[2])
    there = np.stack([background.at(Place(t, other), *whole) for other in range(len(planes))])
    return np.mean((planes - there) ** 2 / noise.variance(there))


def _strided(shape: Shape3) -> Shape3:
    return (shape[0], -(-shape[1] // PROBE_STEP), -(-shape[2] // PROBE_STEP))


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
    side = int((TRAINED_PIXELS / (4 * length)) ** 0.5) // 2 * 2
    high, wide = min(rows, side), min(columns, side)
    count = max(4, TRAINED_PIXELS // (length * high * wide))
    for i in range(count):
        middle = kept[(2 * i + 1) * len(kept) // (2 * count)]
        a, b = segment_at(segments, middle)
        first = max(a, min(middle - length // 2, b - length))
        y = int((i + 0.5) * GOLDEN % 1 * (rows - high)) // 2 * 2
        x = int((i + 0.5) * GOLDEN**2 % 1 * (columns - wide)) // 2 * 2
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
