"""The part of a recording that a preview reads: some runs of planes, a window of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.errors import UsageError
from fm2s_stack.image import StackAxis
from fm2s_stack.job.sampling import read_for_fit
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Box

Bounds = tuple[int, int]
Float32 = NDArray[np.float32]
Pixels = NDArray[np.generic]

RUN = 16  #: planes of a run, as the measures without truth look at
RUNS = 6  #: spread over the recording, the one with the plane that is shown among them
LEAST = 8  #: planes that are read, however large they are
READ_BYTES = 2**28  #: of whole planes, at most, beyond the least
LOOKED_AT = 2048  #: side of the part in the middle in which the window lies, pixels
SIDE = 256  #: of the window, pixels
SIDE_ALONE = 512  #: of that of a single plane, which costs less
ZOOM = 4  #: by which the enlarged part is smaller than the window
LEAST_ZOOM = 32  #: pixels
DETAIL = (1.5, 8.0)  #: scales between which structure is looked for, pixels


@dataclass(frozen=True, eq=False)
class Part:
    """What is read of one channel of a recording."""

    stack: Stack  #: the planes alone, in memory
    pixels: Pixels  #: the same, shape (n, y, x)
    runs: tuple[Bounds, ...]  #: planes of it that follow each other
    along: StackAxis  #: the stack axis of the recording
    numbers: tuple[int, ...]  #: source index of each plane along it
    of: int  #: planes that the recording has along it
    shown: int  #: which of the planes is shown
    place: str  #: that one in words
    rows: Bounds  #: of the window in the whole plane
    columns: Bounds  #: of the window in the whole plane
    zoom: tuple[slice, slice]  #: rows and columns of the enlarged part in the window


def choose_part(
    stack: Stack, c: int, fit: FitSettings, told: Progress, frame: int | None = None
) -> Part:
    """Read what a preview looks at.

    Up to 96 planes in runs of 16, spread over the recording, within files or trials; of a movie
    of volumes those of the middle slice. Of each plane the window in which there is most
    structure between 1.5 and 8 pixels.

    Parameters
    ----------
    stack
        The recording.
    c
        Channel, an index into it.
    fit
        What to do about NaN.
    told
        Told of planes that cannot be read.
    frame
        Source index of the plane to show, along the stack axis; None: the middle one.

    Raises
    ------
    UsageError
        If there is no such plane.
    StackError
        If a plane cannot be read, or has NaN.
    """
    line = _Line.of(stack, c, fit, told)
    shown = _shown(line, frame)
    runs = choose_runs(line.segments, shown, _affordable(stack))
    run = next(run for run in runs if run[0] <= shown < run[1])
    looked = tuple(_middle(side, LOOKED_AT) for side in stack.image.shape[3:])
    structure = _structure(line.read(run, *looked))
    side = SIDE if line.length > 1 else SIDE_ALONE
    window = _most(structure, side)
    rows, columns = (
        (first + part.start, first + part.stop)
        for part, (first, _) in zip(window, looked, strict=True)
    )
    pixels = np.concatenate([line.read(run, rows, columns) for run in runs])
    numbers = [number for run in runs for number in range(*run)]
    first = stack.t_start if line.along == "t" else stack.z_start
    return Part(
        stack=_in_memory(stack, c, line.along, pixels, runs),
        pixels=pixels,
        runs=_counted(runs),
        along=line.along,
        numbers=tuple(first + number for number in numbers),
        of=line.length,
        shown=numbers.index(shown),
        place=line.name(shown),
        rows=rows,
        columns=columns,
        zoom=_most(structure[window], max(LEAST_ZOOM, min(pixels.shape[1:]) // ZOOM)),
    )


@dataclass(frozen=True, eq=False)
class _Line:
    """The planes of one channel along the stack axis."""

    stack: Stack
    c: int  #: channel
    along: StackAxis
    across: int  #: slice of a movie
    segments: tuple[Bounds, ...]  #: planes that belong together
    fit: FitSettings
    told: Progress

    @classmethod
    def of(cls, stack: Stack, c: int, fit: FitSettings, told: Progress) -> _Line:
        along, (frames, _, slices, *_) = stack.image.default_along(), stack.image.shape
        segments = stack.trials if along == "t" else ((0, slices),)
        across = slices // 2 if along == "t" else frames // 2
        return cls(stack, c, along, across, segments, fit, told)

    @property
    def length(self) -> int:
        return self.segments[-1][1]

    def read(self, run: Bounds, rows: Bounds, columns: Bounds) -> Pixels:
        """A part of consecutive planes, shape (planes, y, x)."""
        self.told.advance(0)
        own, other = run, (self.across, self.across + 1)
        t, z = (own, other) if self.along == "t" else (other, own)
        planes = read_for_fit(self.stack, Box(t, self.c, z, rows, columns), self.fit, self.told)
        return planes.reshape(-1, *planes.shape[2:])

    def name(self, number: int) -> str:
        """A plane in words."""
        place = (number, self.across) if self.along == "t" else (self.across, number)
        if self.along == "z":
            return f"slice {self.stack.z_start + number}"
        return self.stack.name_plane(place[0], self.c, place[1])


def _shown(line: _Line, frame: int | None) -> int:
    if frame is None:
        return line.length // 2
    first = line.stack.t_start if line.along == "t" else line.stack.z_start
    if not 0 <= frame - first < line.length:
        raise UsageError(
            f"--frame {frame}: expected {first} to {first + line.length - 1}, from 0, as "
            f"{line.stack.path} has it"
        )
    return frame - first


def _affordable(stack: Stack) -> int:
    """Planes that may be read whole."""
    *_, rows, columns = stack.image.shape
    return max(LEAST, min(RUN * RUNS, READ_BYTES // (rows * columns * stack.image.dtype.itemsize)))


def choose_runs(segments: tuple[Bounds, ...], shown: int, most: int) -> tuple[Bounds, ...]:
    """Runs of planes to read, in order and apart from each other.

    Parameters
    ----------
    segments
        Planes that belong together, which no run goes beyond.
    shown
        A plane that must be among them.
    most
        Planes, together.
    """
    length = segments[-1][1]
    if length <= most:
        return segments
    run = min(RUN, most)
    count = max(1, most // run)
    middles = [(2 * i + 1) * length // (2 * count) for i in range(count)]
    nearest = min(range(count), key=lambda i: abs(middles[i] - shown))
    chosen = [_around(segments, shown, run)]
    for i in range(count):
        other = _around(segments, middles[i], run)
        if i != nearest and all(other[1] <= a or b <= other[0] for a, b in chosen):
            chosen.append(other)
    return tuple(sorted(chosen))


def _around(segments: tuple[Bounds, ...], middle: int, length: int) -> Bounds:
    """A run around a plane, within its segment."""
    start, stop = next(bounds for bounds in segments if bounds[0] <= middle < bounds[1])
    first = max(start, min(middle - length // 2, stop - length))
    return first, min(stop, first + length)


def _counted(runs: tuple[Bounds, ...]) -> tuple[Bounds, ...]:
    """The same runs where only their planes are left."""
    ends = list(accumulate(stop - start for start, stop in runs))
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


def _middle(length: int, most: int) -> Bounds:
    start = max(0, (length - most) // 2)
    return start, start + min(length, most)


def _structure(planes: Pixels) -> Float32:
    """How much the mean of planes varies around each pixel, shape (y, x)."""
    finite = np.isfinite(planes)
    count = np.maximum(finite.sum(axis=0), 1)
    total = np.where(finite, planes, 0).sum(axis=0, dtype=np.float64)
    mean = total / count
    # Where nothing carries light there is no structure, nor at its border.
    mean[~finite.any(axis=0)] = mean[finite.any(axis=0)].mean() if finite.any() else 0
    fine, coarse = (ndimage.gaussian_filter(mean, sigma) for sigma in DETAIL)
    return np.asarray(np.abs(fine - coarse), np.float32)


def _most(field: Float32, side: int) -> tuple[slice, slice]:
    """The square in which there is most of something, or all where it is smaller."""
    sides = [min(side, length) for length in field.shape]
    sums = np.pad(field.cumsum(axis=0, dtype=float).cumsum(axis=1), ((1, 0), (1, 0)))
    high, wide = sides
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return slice(int(y), int(y) + high), slice(int(x), int(x) + wide)


@dataclass(frozen=True, eq=False)
class _Held:
    """Planes in memory, read as those of a file; `PlaneReader`."""

    pixels: Pixels  #: shape (t, z, y, x)

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> Pixels:
        part: Pixels = self.pixels[t, z, y, x]
        return part


def _in_memory(
    stack: Stack, c: int, along: StackAxis, pixels: Pixels, runs: tuple[Bounds, ...]
) -> Stack:
    """Some planes of a recording as one of its own, a trial for each run."""
    import dask.array as da

    held = pixels[:, None] if along == "t" else pixels[None]
    array = da.from_array(held[:, None], chunks=-1, name=False)
    image, names = stack.image, stack.image.channels
    return replace(
        stack,
        array=array,
        planes=_Held(held),
        image=replace(
            image,
            shape=array.shape,
            channels=(names[c],) if names else (),
            timestamps=None,
        ),
        t_start=0,
        z_start=0,
        channel_indices=(stack.channel_indices[c],),
        breaks=tuple(start for start, _ in _counted(runs)[1:]) if along == "t" else (),
        notes=(),
    )
