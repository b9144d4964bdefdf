"""Measures of a denoised recording against the truth.

Planes are arrays of any real dtype, computed in float64. Movies may be arrays or any
iterables of planes, such as generators: they are gone through once, a frame at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fm2s_stack.errors import UsageError

Float = NDArray[np.float64]
_MISSING = object()


def psnr(result: ArrayLike, truth: ArrayLike, data_range: float) -> float:
    """Peak signal-to-noise ratio, ``10 log10(data_range**2 / mean((result - truth)**2))``.

    Parameters
    ----------
    result, truth
        Arrays of one shape, in the same unit.
    data_range
        Largest minus smallest value possible, above 0; 255 for 8-bit images.

    Returns
    -------
    float
        Decibels; infinity for equal arrays.

    Raises
    ------
    UsageError
        If the shapes differ, an array is empty, or `data_range` is not above 0.
    """
    if not data_range > 0:
        raise UsageError(f"data range {data_range}: expected a number above 0, such as 255")
    return _decibels(*_pair(result, truth), data_range)


def si_psnr(result: ArrayLike, truth: ArrayLike) -> float:
    """Scale-invariant PSNR: after the best affine match, over the truth's range.

    The least-squares gain and offset that bring `result` nearest to `truth` are applied
    first, so that a wrong brightness or contrast costs nothing and only structure counts.

    Parameters
    ----------
    result, truth
        Arrays of one shape, in any units.

    Returns
    -------
    float
        Decibels relative to ``max(truth) - min(truth)``; for a perfect match whatever
        rounding leaves, 300 and more.

    Raises
    ------
    UsageError
        If the shapes differ, an array is empty, or `truth` is constant.
    """
    image, target = _pair(result, truth)
    data_range = float(target.max() - target.min())
    if not data_range > 0:
        raise UsageError(f"the truth is {target.flat[0]} everywhere: SI-PSNR needs structure in it")
    return _decibels(_affine_match(image, target), target, data_range)


def ssim(result: ArrayLike, truth: ArrayLike, data_range: float) -> float:
    """Structural similarity of two planes (Wang et al. 2004), uniform 7x7 window.

    Computed by scikit-image with its default settings, as published for FM2S.

    Parameters
    ----------
    result, truth
        Planes of one shape, 7x7 pixels or more, in the same unit.
    data_range
        Largest minus smallest value possible, above 0; 255 for 8-bit images.

    Returns
    -------
    float
        At most 1, which equal planes reach.

    Raises
    ------
    UsageError
        If the shapes differ, a plane is smaller than the window, or `data_range` is not
        above 0.
    """
    from skimage.metrics import structural_similarity

    image, target = _pair(result, truth)
    if image.ndim != 2 or min(image.shape) < 7 or not data_range > 0:
        raise UsageError(
            f"SSIM of shape {image.shape} with data range {data_range}: "
            "expected planes of 7x7 pixels or more and a range above 0"
        )
    measure: Callable[..., float] = structural_similarity
    return float(measure(image, target, data_range=data_range))


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
    return float(np.mean([si_psnr(*pair) for pair in _frames(results, truths)]))


def trace_correlation(
    results: Iterable[ArrayLike],
    truths: Iterable[ArrayLike],
    where: NDArray[np.bool_] | None = None,
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
    moments = _moments(_frames(results, truths))
    _, _, of_result, of_truth, together = moments
    live = of_truth > 0 if where is None else (of_truth > 0) & where
    if not live.any():
        raise UsageError("no pixel of the truth changes over time: there is no trace to follow")
    scale = np.sqrt(of_result[live] * of_truth[live])
    correlation = np.divide(together[live], scale, out=np.zeros_like(scale), where=scale > 0)
    return float(correlation.mean())


def _moments(frames: Iterator[tuple[Float, Float]]) -> tuple[Float, Float, Float, Float, Float]:
    """Means, sums of squared deviations and of their product, per pixel, in one pass.

    Welford's update: sums of squares would lose the variance of a 16-bit baseline, and a
    constant pixel stays at exactly 0.
    """
    first, target = next(frames)
    mean_r, mean_t = first.copy(), target.copy()
    of_r, of_t, both = (np.zeros_like(first) for _ in range(3))
    for count, (result, truth) in enumerate(frames, start=2):
        if result.shape != mean_r.shape:
            raise UsageError(f"frame {count - 1}: shape {result.shape}, expected {mean_r.shape}")
        step_r, step_t = result - mean_r, truth - mean_t
        mean_r += step_r / count
        mean_t += step_t / count
        of_r += step_r * (result - mean_r)
        of_t += step_t * (truth - mean_t)
        both += step_r * (truth - mean_t)
    return mean_r, mean_t, of_r, of_t, both


def _frames(
    results: Iterable[ArrayLike], truths: Iterable[ArrayLike]
) -> Iterator[tuple[Float, Float]]:
    count = 0
    for result, truth in zip_longest(results, truths, fillvalue=_MISSING):
        if result is _MISSING or truth is _MISSING:
            longer = "truth" if result is _MISSING else "result"
            raise UsageError(f"only the {longer} has a frame {count}: give equally many of both")
        yield _pair(result, truth)  # type: ignore[arg-type]
        count += 1
    if count == 0:
        raise UsageError("no frames to measure: expected one or more")


def _pair(result: ArrayLike, truth: ArrayLike) -> tuple[Float, Float]:
    image, target = np.asarray(result, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if image.shape != target.shape or image.size == 0:
        raise UsageError(
            f"result of shape {image.shape} and truth of shape {target.shape}: "
            "expected one shape, with pixels in it"
        )
    return image, target


def _affine_match(image: Float, target: Float) -> Float:
    centred = image - image.mean()
    power = float(np.vdot(centred, centred))
    gain = float(np.vdot(centred, target)) / power if power > 0 else 0.0
    matched: Float = gain * centred + target.mean()
    return matched


def _decibels(image: Float, target: Float, data_range: float) -> float:
    error = float(np.mean((image - target) ** 2))
    return 10 * float(np.log10(data_range**2 / error)) if error > 0 else float("inf")
