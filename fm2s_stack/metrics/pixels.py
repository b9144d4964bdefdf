"""Traces of single pixels against the truth, in one pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, Mask, frame_pairs


class PixelMoments:
    """Moments over time of every pixel of a result and its truth, a frame at a time.

    Welford's update: sums of squares would lose the variance of a 16-bit baseline, and a
    constant pixel stays at exactly 0.
    """

    count = 0  #: frames so far
    result_mean: Float  #: mean of the result, shape of a frame
    truth_mean: Float  #: mean of the truth
    result_power: Float  #: sum of squared deviations of the result
    truth_power: Float  #: sum of squared deviations of the truth
    product: Float  #: sum of the products of both deviations

    def add(self, result: Float, truth: Float) -> None:
        """The next frame, any shape, both in float64."""
        if self.count == 0:
            self.result_mean, self.truth_mean = np.zeros_like(result), np.zeros_like(truth)
            self.result_power, self.truth_power = np.zeros_like(result), np.zeros_like(truth)
            self.product = np.zeros_like(result)
        self.count += 1
        of_result, of_truth = result - self.result_mean, truth - self.truth_mean
        self.result_mean += of_result / self.count
        self.truth_mean += of_truth / self.count
        remaining = truth - self.truth_mean
        self.result_power += of_result * (result - self.result_mean)
        self.truth_power += of_truth * remaining
        self.product += of_result * remaining

    def correlation(self, where: Mask | None = None) -> float:
        """Mean over pixels of the correlation over time, as `trace_correlation` says."""
        live = self.truth_power > 0 if where is None else (self.truth_power > 0) & where
        if not live.any():
            raise UsageError("no pixel of the truth changes over time: there is no trace to follow")
        scale = np.sqrt(self.result_power[live] * self.truth_power[live])
        part = np.divide(self.product[live], scale, out=np.zeros_like(scale), where=scale > 0)
        return float(part.mean())


def trace_correlation(
    results: Iterable[ArrayLike],
    truths: Iterable[ArrayLike],
    where: Mask | None = None,
) -> float:
    """Pearson correlation over time with the truth, averaged over pixels.

    Pixels whose truth never changes are left out. A pixel that changes in the truth and
    not in the result counts as 0: a filter gains nothing by flattening traces.

    Parameters
    ----------
    results, truths
        Equally many planes of one shape; arrays of shape (t, y, x) or iterables.
    where
        Pixels to average over, shape (y, x), such as those of active cells; None: all.

    Returns
    -------
    float
        From -1 to 1.

    Raises
    ------
    UsageError
        If there are no frames, one side has more than the other, shapes differ, or the
        truth changes nowhere.
    """
    moments = PixelMoments()
    for pair in frame_pairs(results, truths):
        moments.add(*pair)
    return moments.correlation(where)
