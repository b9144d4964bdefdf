"""The third cumulant of a recording's noise, measured on the recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from fm2s_stack.noise_model import NoiseModel

Float = NDArray[np.float64]

BINS = 16  #: of grey levels, equally many pixels in each
CALM = 3.0  #: deviations that the mean of 3x3 residuals may have; beyond, something happened
FAR = 12.0  #: deviations beyond which a single pixel is an accident


@dataclass(frozen=True)
class Skewness:
    """A third cumulant that is linear in the grey level, as that of photons is.

    Of photons of gain g that arrive at a dark level d it is ``g**2 * (level - d)``.
    """

    slope: float  #: grey levels squared
    intercept: float  #: at grey level 0, grey levels cubed

    def third_cumulant(self, level: ArrayLike) -> Float:
        """Third cumulant of the noise at grey levels, 0 or more, grey levels cubed."""
        return np.asarray(np.maximum(self.slope * np.asarray(level, float) + self.intercept, 0.0))


class Look(NamedTuple):
    """A plane, and what it is compared with; arrays of shape (y, x), grey levels."""

    plane: NDArray[np.float32]
    neighbours: NDArray[np.float32]  #: mean of its neighbours
    frames: int  #: how many those are
    level: NDArray[np.float32]  #: expected, from which its noise and theirs can hardly be seen:
    #: where a neighbour's noise is high, the residual would be low


def measure_skewness(looks: Iterable[Look], noise: NoiseModel) -> Skewness:
    """Measure the third cumulant from planes and the means of their neighbours.

    Parameters
    ----------
    looks
        Planes spread over the recording; of none nothing is known, and no skewness is returned.
    noise
        As measured.
    """
    levels, cubes = [], []
    for plane, neighbours, frames, level in looks:
        residual = plane - neighbours
        deviation = np.sqrt(noise.variance(level) * (1 + 1 / frames))
        around = uniform_filter(residual / deviation, 3)
        spread = np.sqrt(_mean_variance(noise))
        calm = (np.abs(around) < CALM * spread) & (np.abs(residual) < FAR * deviation)
        levels.append(level[calm].astype(np.float64))
        # The mean's own noise takes part with the other sign, and a count-th of it squared.
        cubes.append(residual[calm].astype(np.float64) ** 3 / max(1 - 1 / frames**2, 0.5))
    if not levels:
        return Skewness(0.0, 0.0)
    return _line(np.concatenate(levels), np.concatenate(cubes), noise)


def _mean_variance(noise: NoiseModel) -> float:
    """Variance of the mean of 3x3 pixels whose noise has variance 1."""
    whole, reach = noise.whole_autocorrelation, len(noise.autocorrelation) - 1
    pairs = np.array([1, 2, 3, 2, 1])  # of the pixels of three in a row, by their distance
    near = whole[reach - 2 : reach + 3, reach - 2 : reach + 3]
    return max(float(pairs @ near @ pairs) / 81, 1 / 81)


def _line(levels: Float, cubes: Float, noise: NoiseModel) -> Skewness:
    if not levels.size:
        return Skewness(0.0, 0.0)
    edges = np.quantile(levels, np.linspace(0, 1, BINS + 1))
    number = np.clip(np.searchsorted(edges, levels, side="right") - 1, 0, BINS - 1)
    count = np.bincount(number, minlength=BINS)
    there = count > 0
    level = np.bincount(number, levels, BINS)[there] / count[there]
    cube = np.bincount(number, cubes, BINS)[there] / count[there]
    error = np.sqrt(15 * noise.variance(level) ** 3 / count[there])
    if len(level) < 2 or np.ptp(level) == 0:
        return Skewness(0.0, float(cube.mean()))
    slope, intercept = np.polyfit(level, cube, 1, w=1 / error)
    return Skewness(float(slope), float(intercept))
