"""Measures of one denoised plane against the truth; any real dtype, computed in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, decibels, image_pair

WINDOW = 7  #: pixels, the side of the window of SSIM


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
    image, target = image_pair(result, truth)
    return decibels(float(np.mean((image - target) ** 2)), data_range)


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
    image, target = image_pair(result, truth)
    data_range = float(target.max() - target.min())
    if not data_range > 0:
        raise UsageError(f"the truth is {target.flat[0]} everywhere: SI-PSNR needs structure in it")
    error = np.mean((_affine_match(image, target) - target) ** 2)
    return decibels(float(error), data_range)


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

    image, target = image_pair(result, truth)
    if image.ndim != 2 or min(image.shape) < WINDOW or not data_range > 0:
        raise UsageError(
            f"SSIM of shape {image.shape} with data range {data_range}: "
            "expected planes of 7x7 pixels or more and a range above 0"
        )
    measure: Callable[..., float] = structural_similarity
    return float(measure(image, target, data_range=data_range))


def _affine_match(image: Float, target: Float) -> Float:
    centred = image - image.mean()
    power = float(np.vdot(centred, centred))
    gain = float(np.vdot(centred, target)) / power if power > 0 else 0.0
    matched: Float = gain * centred + target.mean()
    return matched
