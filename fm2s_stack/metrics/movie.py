"""Measures of whole movies from the moments of their frames, in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, decibels, frame_pairs
from fm2s_stack.metrics.planes import si_psnr

EDGE_FRAMES = 1  #: frames at each end that count as first and as last


@dataclass(frozen=True)
class FrameMoments:
    """Moments of each frame of a result and its truth; every array has shape (t,).

    Variances are over the pixels of the frame, divided by their number.
    """

    result: Float  #: mean of the result
    truth: Float  #: mean of the truth
    result_variance: Float  #: of the result
    truth_variance: Float  #: of the truth
    covariance: Float  #: of the two
    lowest: Float  #: least value of the truth
    highest: Float  #: largest value of the truth

    @property
    def data_range(self) -> float:
        """Largest minus smallest value of the truth in the movie."""
        return float(self.highest.max() - self.lowest.min())

    @property
    def match(self) -> tuple[float, float]:
        """Gain and offset of the one least-squares map that brings the result to the truth."""
        power = float(np.mean(self.result_variance) + np.var(self.result))
        shared = float(np.mean(self.covariance) + _covariance(self.result, self.truth))
        gain = shared / power if power > 0 else 0.0
        return gain, float(self.truth.mean() - gain * self.result.mean())

    def errors(self, gain: float = 1.0, offset: float = 0.0) -> Float:
        """Mean squared error of each frame of ``gain * result + offset``, shape (t,)."""
        spread = gain**2 * self.result_variance + self.truth_variance - 2 * gain * self.covariance
        level = gain * self.result + offset - self.truth
        # What rounding leaves of the variances' difference may lie below 0.
        errors: Float = np.maximum(spread, 0) + level**2
        return errors

    def psnr(self) -> float:
        """PSNR of the movie as it is, over the range of the truth; decibels."""
        return decibels(float(self.errors().mean()), self._structure())

    def si_psnr(self) -> float:
        """SI-PSNR of the movie: one affine match for all frames; decibels.

        Unlike the mean of frames matched one by one, it sees brightness that flickers or
        drifts. Up to about 150 dB, where rounding ends it.
        """
        return decibels(float(self.errors(*self.match).mean()), self._structure())

    def frames_si_psnr(self) -> Float:
        """PSNR of each frame after the movie's match, over the movie's range, shape (t,)."""
        data_range = self._structure()
        return np.array([decibels(error, data_range) for error in self.errors(*self.match)])

    def mean_single_si_psnr(self) -> float:
        """Mean of `single_si_psnr` over the frames that have structure; NaN without any."""
        each = self.single_si_psnr()
        return float(np.mean(each[~np.isnan(each)])) if (~np.isnan(each)).any() else float("nan")

    def single_si_psnr(self) -> Float:
        """SI-PSNR of each frame by itself, over its own range, shape (t,); NaN if it is flat."""
        power, shared = self.result_variance, self.covariance
        taken = np.divide(shared**2, power, out=np.zeros_like(power), where=power > 0)
        errors = np.maximum(self.truth_variance - taken, 0)
        ranges = self.highest - self.lowest
        found = zip(errors, ranges, strict=True)
        return np.array([decibels(float(e), r) if r > 0 else np.nan for e, r in found])

    def _structure(self) -> float:
        if not self.data_range > 0:
            raise UsageError(
                f"the truth is {self.lowest[0]} everywhere: SI-PSNR needs structure in it"
            )
        return self.data_range


class FrameSums:
    """Gathers `FrameMoments`, a frame at a time."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    @property
    def count(self) -> int:
        """Frames so far."""
        return len(self._rows)

    def add(self, result: Float, truth: Float) -> None:
        """The next frame, any shape, both in float64."""
        of_result, of_truth = result.mean(), truth.mean()
        r, t = (result - of_result).ravel(), (truth - of_truth).ravel()
        products = (float(np.dot(a, b)) / r.size for a, b in ((r, r), (t, t), (r, t)))
        self._rows.append(
            (float(of_result), float(of_truth), *products, float(truth.min()), float(truth.max()))
        )

    def moments(self) -> FrameMoments:
        """Of the frames so far; one or more."""
        return FrameMoments(*np.array(self._rows, dtype=np.float64).T)


def frame_moments(results: Iterable[ArrayLike], truths: Iterable[ArrayLike]) -> FrameMoments:
    """Moments of the frames of a movie, in one pass.

    Parameters
    ----------
    results, truths
        Equally many frames; arrays of shape (t, y, x) or iterables.

    Raises
    ------
    UsageError
        If there are no frames, one side has more than the other, or shapes differ.
    """
    sums = FrameSums()
    for pair in frame_pairs(results, truths):
        sums.add(*pair)
    return sums.moments()


def movie_si_psnr(results: Iterable[ArrayLike], truths: Iterable[ArrayLike]) -> float:
    """SI-PSNR with one affine match for the whole movie.

    Parameters
    ----------
    results, truths
        Equally many frames; arrays of shape (t, y, x) or iterables, gone through once.

    Returns
    -------
    float
        Decibels relative to the range of the truth over the movie.

    Raises
    ------
    UsageError
        If there are no frames, one side has more than the other, shapes differ, or the
        truth is constant.
    """
    return frame_moments(results, truths).si_psnr()


def frame_si_psnr(results: Iterable[ArrayLike], truths: Iterable[ArrayLike]) -> float:
    """Mean over frames of `si_psnr`, each frame matched to its truth by itself.

    Parameters
    ----------
    results, truths
        Equally many planes; arrays of shape (t, y, x) or iterables.

    Returns
    -------
    float
        Decibels.

    Raises
    ------
    UsageError
        If there are no frames, one side has more than the other, or `si_psnr` refuses.
    """
    return float(np.mean([si_psnr(*pair) for pair in frame_pairs(results, truths)]))


@dataclass(frozen=True)
class Ends:
    """SI-PSNR at the ends of a movie, decibels over the median of the other frames."""

    first: float  #: of the first frame or frames; below 0: worse than the others
    last: float  #: of the last frame or frames


def ends(moments: FrameMoments, raw: FrameMoments | None = None, frames: int = EDGE_FRAMES) -> Ends:
    """How much better or worse the first and last frames are than the others.

    All under the movie's one match, so that another brightness of the first frame counts.

    Parameters
    ----------
    moments
        Of a movie.
    raw
        Of the movie it was made from: what is compared is then how many decibels each
        frame gained, as a frame in which cells are bright is a noisier one to begin with.
    frames
        How many at each end, averaged in decibels; 1 or more.

    Raises
    ------
    UsageError
        If nothing is left between the ends.
    """
    quality = moments.frames_si_psnr()
    if frames < 1 or len(quality) <= 2 * frames:
        raise UsageError(f"{frames} frames at each end of {len(quality)}: expected some between")
    if np.isinf(quality).all():
        return Ends(0.0, 0.0)
    gained = quality if raw is None else quality - raw.frames_si_psnr()
    others = float(np.median(gained[frames:-frames]))
    return Ends(float(gained[:frames].mean()) - others, float(gained[-frames:].mean()) - others)


def flicker(frame_means: ArrayLike) -> float:
    """How much the brightness of the whole frame jumps from frame to frame.

    Parameters
    ----------
    frame_means
        Mean of each frame, shape (t,), two or more.

    Returns
    -------
    float
        Root mean square of the differences of successive means, grey levels. The result's
        is to be compared with that of its own input.

    Raises
    ------
    UsageError
        If there are fewer than two frames.
    """
    means = np.asarray(frame_means, dtype=np.float64)
    if means.ndim != 1 or len(means) < 2:
        raise UsageError(f"flicker of frame means of shape {means.shape}: expected two or more")
    return float(np.sqrt(np.mean(np.diff(means) ** 2)))


def _covariance(a: Float, b: Float) -> float:
    return float(np.mean((a - a.mean()) * (b - b.mean())))
