"""Mean bias, over the stack and by the intensity of the truth; saturation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, frame_pairs

#: Quantiles of the truth that bound the bins: tenths, and the brightest hundredth apart,
#: where blur takes most.
QUANTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1)
SAMPLED = 64  #: frames that the quantiles are taken from


@dataclass(frozen=True)
class IntensityBias:
    """Means of the result and the truth in bins of the truth; arrays of shape (bins,).

    Binned by the truth, which is free of noise, noise alone causes no bias: in bins of the
    result or of the raw movie it would.
    """

    low: Float  #: lower bound of each bin, grey levels
    high: Float  #: upper bound
    count: Float  #: pixels of frames in it
    result: Float  #: mean of the result there, grey levels
    truth: Float  #: mean of the truth there, grey levels

    def relative(self, dark: float = 0.0) -> Float:
        """Result over truth minus 1 in each bin, both above `dark`; NaN where that is 0.

        Parameters
        ----------
        dark
            Grey level of a pixel that no light reaches. Light is what lies above it, so a
            part of the light is meant only relative to it: with an offset of 200, 1 % of a
            level of 210 is a fifth of the signal. 0: of the plain level, which flatters.
        """
        return _part(self.result - self.truth, self.truth - dark)

    def overall(self, dark: float = 0.0) -> float:
        """The same over all pixels of all frames."""
        total = self.count.sum()
        off = np.dot(self.count, self.result - self.truth) / total
        return float(_part(off, np.dot(self.count, self.truth) / total - dark))


def intensity_edges(truths: ArrayLike) -> Float:
    """Bounds of bins of the truth, at `QUANTILES` of what is given.

    Parameters
    ----------
    truths
        Some or all frames of the truth, any shape.

    Returns
    -------
    ndarray of float64
        Rising, two or more; fewer than the quantiles where they coincide. What lies beyond
        the ends counts in the outermost bins.

    Raises
    ------
    UsageError
        If the truth is constant.
    """
    edges = np.unique(np.quantile(np.asarray(truths, dtype=np.float64), QUANTILES))
    if len(edges) < 2:
        raise UsageError(f"the truth is {edges[0]} everywhere: there are no ranges of intensity")
    return np.asarray(edges, dtype=np.float64)


class IntensityBins:
    """Gathers an `IntensityBias`, a frame at a time."""

    def __init__(self, edges: ArrayLike) -> None:
        self._edges = np.asarray(edges, dtype=np.float64)
        self._sums = np.zeros((3, len(self._edges) - 1))

    def add(self, result: Float, truth: Float) -> None:
        """The next frame, any shape, both in float64."""
        bins = np.searchsorted(self._edges[1:-1], truth.ravel(), side="right")
        for row, weights in enumerate((None, result.ravel(), truth.ravel())):
            self._sums[row] += np.bincount(bins, weights, self._sums.shape[1])

    def bias(self) -> IntensityBias:
        """Of the frames so far; bins that no pixel fell in are left out."""
        met = self._sums[0] > 0
        count, result, truth = self._sums[:, met]
        low, high = self._edges[:-1][met], self._edges[1:][met]
        return IntensityBias(low, high, count, result / count, truth / count)


def intensity_bias(
    results: Iterable[ArrayLike], truths: Iterable[ArrayLike], edges: ArrayLike | None = None
) -> IntensityBias:
    """Mean bias in ranges of the truth's intensity, a pixel of a frame being one value.

    Parameters
    ----------
    results, truths
        Equally many frames of one shape; arrays of shape (t, y, x) or iterables.
    edges
        Bounds of the ranges, rising; None: from `intensity_edges` of up to 64 frames, for
        which `truths` must be an array.

    Raises
    ------
    UsageError
        If the frames do not fit, or the truth is constant.
    """
    bins = IntensityBins(intensity_edges(sampled(truths)) if edges is None else edges)
    for pair in frame_pairs(results, truths):
        bins.add(*pair)
    return bins.bias()


def sampled(truths: Iterable[ArrayLike], count: int = SAMPLED) -> NDArray:
    """Up to `count` frames spread evenly over an array."""
    if not isinstance(truths, np.ndarray):
        raise UsageError("the truth comes frame by frame: give the edges of its ranges")
    frames: NDArray = truths[np.unique(np.linspace(0, len(truths) - 1, count).astype(int))]
    return frames


@dataclass(frozen=True)
class Saturation:
    """What became of pixels at the end of the scale."""

    pixels: int  #: pixels of frames that are saturated in the raw movie
    kept: int  #: of them, those that are in the result too

    @property
    def part(self) -> float | None:
        """Kept of all, 0 to 1; None where nothing was saturated."""
        return self.kept / self.pixels if self.pixels else None


def saturation(results: Iterable[ArrayLike], raws: Iterable[ArrayLike], level: float) -> Saturation:
    """Whether saturated pixels stay saturated, so that they are seen to be.

    Parameters
    ----------
    results, raws
        Equally many frames of one shape, in the same grey levels.
    level
        Grey level at which the detector saturates, such as 4095. A result that rounds to
        it counts.
    """
    counts = np.zeros(2, dtype=np.int64)
    for counted in _saturated(frame_pairs(results, raws), level):
        counts += counted
    return Saturation(int(counts[0]), int(counts[1]))


def _saturated(pairs: Iterator[tuple[Float, Float]], level: float) -> Iterator[tuple[int, int]]:
    for result, raw in pairs:
        at = raw >= level
        yield int(at.sum()), int((result[at] >= level - 0.5).sum())


def _part(above: ArrayLike, below: ArrayLike) -> Float:
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    nothing = np.full(top.shape, np.nan)
    part: Float = np.divide(top, bottom, out=nothing, where=bottom != 0)
    return part
