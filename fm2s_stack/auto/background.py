"""The slow background of a recording: what its frames have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.fm2s.blending import shares_at


@dataclass(frozen=True)
class Place:
    """Where a plane, or what was read of one, lies in the recording."""

    position: float  #: along the stack axis, source index
    other: int = 0  #: on the other axis of planes, index into the background
    origin: tuple[int, int] = (0, 0)  #: row and column at which what was read begins


@dataclass(frozen=True, eq=False)
class Background:
    """Mean planes along the stack axis, and what lies between two of them by interpolation.

    Before the first and after the last mean the nearest one holds.
    """

    positions: NDArray[np.float64]  #: of each mean along the stack axis, ascending
    #: grey levels, shape (means, others, y, x); others: the planes at one position. Of lengths
    #: 1 where the background is the same everywhere.
    planes: NDArray[np.float32]

    def at(self, place: Place, rows: slice, columns: slice) -> NDArray[np.float32]:
        """The background of a part of one plane, grey levels, shape (y, x) or (1, 1)."""
        y, x = place.origin
        own = self.planes[:, min(place.other, self.planes.shape[1] - 1)]
        if own.shape[1:] != (1, 1):
            own = own[:, rows.start + y : rows.stop + y, columns.start + x : columns.stop + x]
        (first, share), *second = shares_at(self.positions, place.position)
        if not second:
            return np.asarray(own[first])
        after, rest = second[0]
        return np.asarray(np.float32(share) * own[first] + np.float32(rest) * own[after])


def flat_background(level: float) -> Background:
    """One grey level everywhere."""
    return Background(np.zeros(1), np.full((1, 1, 1, 1), level, np.float32))


class Means:
    """Sums of sampled planes in runs along the stack, from which backgrounds are made.

    Parameters
    ----------
    length
        Planes of the stack along its axis.
    runs
        Runs it is cut into at the finest: a power of two.
    shape
        Of what is at one position: (others, y, x).
    """

    def __init__(self, length: int, runs: int, shape: tuple[int, int, int]) -> None:
        self._length, self._runs = length, runs
        self._sums = np.zeros((runs, *shape))
        self._counts = np.zeros(runs)
        self._places = np.zeros(runs)

    def add(self, position: int, planes: NDArray[np.generic]) -> None:
        """Take the planes at one position, shape (others, y, x), grey levels."""
        run = position * self._runs // self._length
        self._sums[run] += planes
        self._counts[run] += 1
        self._places[run] += position

    def background(self, runs: int) -> Background:
        """The means of so many runs, a power of two up to the finest."""
        sums, counts, places = (self._joined(a, runs) for a in self._all())
        there = counts > 0
        counts = counts[there]
        planes = sums[there] / counts[:, None, None, None]
        return Background(places[there] / counts, planes.astype(np.float32))

    def without(self, runs: int, position: int, planes: NDArray[np.generic]) -> Background:
        """The same as if the planes at one position had not been among them."""
        self._take(position, planes, -1)
        try:
            return self.background(runs)
        finally:
            self._take(position, planes, 1)

    def _take(self, position: int, planes: NDArray[np.generic], sign: int) -> None:
        run = position * self._runs // self._length
        self._sums[run] += sign * planes.astype(np.float64)
        self._counts[run] += sign
        self._places[run] += sign * position

    def _all(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return self._sums, self._counts, self._places

    def _joined(self, values: NDArray[np.float64], runs: int) -> NDArray[np.float64]:
        joined: NDArray[np.float64] = values.reshape(
            runs, self._runs // runs, *values.shape[1:]
        ).sum(axis=1)
        return joined
