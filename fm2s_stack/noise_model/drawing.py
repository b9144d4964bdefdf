"""Noise drawn anew, skewed and correlated as that of a recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float = NDArray[np.float64]


def skewed(skewness: Float, random: np.random.Generator) -> Float:
    """Gamma draws of mean 0, variance 1 and a skewness.

    Parameters
    ----------
    skewness
        Of each draw, above 0.
    random
        Where random numbers come from.
    """
    shape = 4 / skewness**2
    return np.asarray((random.standard_gamma(shape) - shape) * (skewness / 2))


def colouring(correlation: Float, shape: tuple[int, int]) -> NDArray[np.complex128]:
    """The symmetric filter that gives white noise an autocorrelation, of power 1.

    Parameters
    ----------
    correlation
        As `NoiseModel.whole_autocorrelation`. What lies below 0 in the spectrum of one that was
        measured, or cut off, is taken for 0.
    shape
        Of the field, as if it were periodic.

    Returns
    -------
    ndarray
        What the field's `rfft2` is multiplied with.
    """
    wrapped, reach = np.zeros(shape), len(correlation) // 2
    for (row, column), value in np.ndenumerate(correlation):
        wrapped[(row - reach) % shape[0], (column - reach) % shape[1]] += value
    power = np.maximum(fft.rfft2(wrapped).real, 0)
    return np.asarray(np.sqrt(power / fft.irfft2(power, s=shape)[0, 0]))


def coloured(white: Float, correlation: Float) -> Float:
    """White noise of variance 1, shape (y, x), given an autocorrelation as for `colouring`."""
    shape = (white.shape[0], white.shape[1])
    turned = fft.rfft2(white) * colouring(correlation, shape)
    return np.asarray(fft.irfft2(turned, s=shape))
