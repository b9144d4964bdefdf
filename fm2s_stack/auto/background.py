"""The slow background of a recording: what its frames have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.level_map import LevelMap, no_map
from fm2s_stack.fm2s.blending import shares_at


@dataclass(frozen=True)
class Place:
    """Where a plane, or what was read of one, lies in the recording."""

    position: float  #: along the stack axis, source index
    other: int = 0  #: on the other axis of planes, index into the background
    origin: tuple[int, int] = (0, 0)  #: row and column at which what was read begins


@dataclass(frozen=True, eq=False)
class Background:
    """The mean plane of a recording, and how its brightness drifts.

    At a knot the background is ``lift + factor * mean``, between two knots what lies between
    them; before the first and after the last the nearest one holds. One mean has a tenth of the
    noise of many, and noise of the background is in every result.
    """

    mean: NDArray[np.float32]  #: grey levels, shape (others, y, x): the planes at one position;
    #: of lengths 1 where the background is the same everywhere
    positions: NDArray[np.float64]  #: of the knots along the stack axis, ascending
    lines: NDArray[np.float64]  #: lift (grey levels) and factor, shape (knots, others, 2)
    level_map: LevelMap = field(default_factory=no_map)  #: what the mean has of it

    @property
    def is_flat(self) -> bool:
        """Whether it is one grey level everywhere."""
        return self.mean.shape[1:] == (1, 1)

    def at(self, place: Place, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The background of a part of one plane, grey levels, shape (y, x) or (1, 1)."""
        y, x = place.origin
        other = min(place.other, len(self.mean) - 1)
        lift, factor = self.line_at(place.position, other)
        inside = (
            slice(rows.start + y, rows.stop + y),
            slice(columns.start + x, columns.stop + x),
        )
        return np.asarray(lift + factor * self.part(other, *inside), dtype=np.float32)

    def part(self, other: int, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Rows and columns of the mean of one of the planes, grey levels."""
        own = self.mean[other]
        return np.asarray(own if own.shape == (1, 1) else own[rows, columns])

    def line_at(self, position: float, other: int) -> tuple[np.float32, np.float32]:
        """Lift (grey levels) and factor of the mean at a position."""
        shares = shares_at(self.positions, position)
        lift, factor = sum(share * self.lines[knot, other] for knot, share in shares)
        return np.float32(lift), np.float32(factor)


def flat_background(level: float) -> Background:
    """One grey level everywhere."""
    return Background(np.full((1, 1, 1), level, np.float32), np.zeros(1), np.array([[[0.0, 1.0]]]))


class Means:
    """Sums of sampled planes, from which a background is made.

    Parameters
    ----------
    length
        Planes of the stack along its axis.
    knots
        Runs it is cut into, of each of which the brightness is known, at most.
    shape
        Of what is at one position: (others, y, x).
    step
        Pixels between those by which the brightness is known.
    """

    def __init__(self, length: int, knots: int, shape: tuple[int, int, int], step: int) -> None:
        self._length, self._step = length, step
        self._sum = np.zeros(shape)
        self._runs = np.zeros((knots, *self._few(self._sum).shape))
        self._counts, self._places = np.zeros(knots), np.zeros(knots)

    def add(self, position: int, planes: NDArray[np.generic]) -> None:
        """Take the planes at one position, shape (others, y, x), grey levels."""
        run = position * len(self._runs) // self._length
        self._sum += planes.astype(np.float64)
        self._runs[run] += self._few(planes)
        self._counts[run] += 1
        self._places[run] += position

    def background(self) -> Background:
        """The mean, with its brightness in each run by least squares."""
        there = self._counts > 0
        counts = self._counts[there]
        mean = self._sum / counts.sum()
        few = self._few(mean)
        runs = self._runs[there] / counts[:, None, None, None]
        lines = [[_line(one, plane) for one, plane in zip(few, run, strict=True)] for run in runs]
        return Background(mean.astype(np.float32), self._places[there] / counts, np.array(lines))

    def _few(self, planes: NDArray[np.generic]) -> NDArray[np.generic]:
        return planes[:, :: self._step, :: self._step]


def _line(mean: NDArray[np.generic], run: NDArray[np.generic]) -> tuple[float, float]:
    """Lift and factor by which the mean becomes the mean of a run."""
    spread = mean - mean.mean()
    power = float((spread**2).sum())
    factor = float((spread * run).sum()) / power if power > 0 else 1.0
    return float(run.mean() - factor * mean.mean()), factor
