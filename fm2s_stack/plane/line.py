"""The noise as the estimates need it: a line of variances and the spectrum of its correlation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from fm2s_stack.noise_model import NoiseModel

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Lags = Mapping[tuple[int, int], float]  #: correlation of pixels (rows, columns) apart

BLOCK = 8  #: side of the transformed blocks, pixels


@dataclass(frozen=True)
class VarianceLine:
    """Variance of the noise at a level: ``max(gain * level + intercept, floor)``."""

    gain: float  #: variance per grey level
    intercept: float  #: variance at grey level 0, grey levels squared
    floor: float  #: least variance, grey levels squared

    def at(self, level: Float32) -> Float32:
        """Variances of the shape of `level`."""
        line = np.float32(self.gain) * level + np.float32(self.intercept)
        return np.asarray(np.maximum(line, np.float32(self.floor)), np.float32)

    def louder(self, factor: float) -> VarianceLine:
        """The line of noise of a multiple of the variance."""
        gain, intercept = factor * self.gain, factor * self.intercept
        return replace(self, gain=gain, intercept=intercept, floor=factor * self.floor)


def variance_line(noise: NoiseModel) -> VarianceLine:
    """The line of a noise model."""
    return VarianceLine(noise.gain, noise.intercept, noise.floor)


def lags_of(correlation: Float) -> dict[tuple[int, int], float]:
    """An autocorrelation as `NoiseModel.whole_autocorrelation`, by its lags."""
    reach = len(correlation) // 2
    return {
        (dy - reach, dx - reach): float(value) for (dy, dx), value in np.ndenumerate(correlation)
    }


def halved(lags: Lags) -> dict[tuple[int, int], float]:
    """Autocovariance of the means of 2 x 2 pixels, in variances of a pixel."""
    apart = ((-1, 0.25), (0, 0.5), (1, 0.25))  # two pixels of two means, and how often
    reach = range(-2, 3)
    return {
        (dy, dx): sum(
            p * q * lags.get((2 * dy + i, 2 * dx + j), 0) for i, p in apart for j, q in apart
        )
        for dy in reach
        for dx in reach
    }


def cosines() -> Float:
    """The orthonormal cosine transform of a block, shape (BLOCK**2, BLOCK**2), rows of basis."""
    one = fft.dct(np.eye(BLOCK), axis=0, norm="ortho")
    return np.kron(one, one)


def coefficient_variances(lags: Lags) -> Float:
    """Variance of each coefficient of a block, in variances of a pixel, shape (BLOCK**2,)."""
    row, column = np.divmod(np.arange(BLOCK**2), BLOCK)
    covariance = np.zeros((BLOCK**2, BLOCK**2))
    for (dy, dx), value in lags.items():
        covariance[(row[:, None] - row == dy) & (column[:, None] - column == dx)] = value
    basis = cosines()
    variances = np.einsum("ki,ij,kj->k", basis, covariance, basis)
    # What is cut off beyond the largest lag may make a spectrum negative.
    return np.asarray(np.maximum(variances, 1e-3 * variances.max()))
