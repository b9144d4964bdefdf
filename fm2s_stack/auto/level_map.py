"""What denoising an image takes from it by its brightness, measured on the image itself.

Whatever smooths makes dark parts brighter and bright ones darker. Two versions of an image whose
noise is independent (Pang et al. 2021, eq. 5) tell by how much: the one is denoised, the other
tells where it is dark and where bright, and in each range of brightness what was denoised must
have the mean of what it was made of. Binning by anything that shares its noise would not tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import coloured

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Pixels = NDArray[np.floating]

QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.95, 0.995)  #: of the grey levels at which it is known
DRAWS = 4  #: of noise
STRENGTH = 0.5  #: of the added noise: the image is little noisier than it is
PIXELS = 2**20  #: that it is measured on, at most
LARGE = 0.5  #: deviations of the noise: what shifts are likely to be
BEND = 0.1  #: deviations of the noise: how far one is likely to be from a line through its two
#: neighbours


@dataclass(frozen=True, eq=False)
class LevelMap:
    """What is added to grey levels; between those that are known it is linear."""

    levels: Float  #: ascending
    shifts: Float  #: what is added there, grey levels

    def __call__(self, pixels: Pixels) -> Float32:
        """The pixels with what they lack."""
        if not len(self.levels):
            return pixels
        return np.asarray(pixels + np.interp(pixels, self.levels, self.shifts), np.float32)

    def as_array(self) -> Float:
        """Levels and shifts, shape (2, n)."""
        return np.stack([self.levels, self.shifts])


def no_map() -> LevelMap:
    """One that adds nothing."""
    return LevelMap(np.empty(0), np.empty(0))


def measure_map(
    planes: Sequence[Pixels],
    made: Sequence[Float32],
    denoise: Callable[[Float32], Float32],
    noise: NoiseModel,
) -> LevelMap:
    """Measure what denoising takes from planes.

    Parameters
    ----------
    planes
        Noisy, each of shape (y, x), grey levels.
    made
        What `denoise` makes of them.
    denoise
        What denoises one plane of any shape.
    noise
        Of the planes.

    Returns
    -------
    LevelMap
        The mean stays. One that adds nothing for planes of one grey level.
    """
    side = math.isqrt(PIXELS // len(planes))
    parts = [(_middle(a, side), _middle(b, side)) for a, b in zip(planes, made, strict=True)]
    quantiles = np.quantile(np.stack([there for _, there in parts]), QUANTILES)
    levels = np.unique(np.asarray(quantiles, float))
    if len(levels) < 2:
        return no_map()
    stream = np.random.default_rng(0)
    means, lacks = np.zeros((len(levels), len(levels))), np.zeros(len(levels))
    for plane, there in parts:
        deviation = np.sqrt(noise.variance(there))
        for _ in range(DRAWS):
            white = stream.standard_normal(plane.shape)
            added = (coloured(white, noise.whole_autocorrelation) * deviation).astype(np.float32)
            own = plane + np.float32(STRENGTH) * added
            again = denoise(own)
            told = _shares(plane - added / np.float32(STRENGTH), levels)
            means += told @ _shares(again, levels).T / DRAWS
            lacks += told @ (own - again).ravel().astype(np.float64) / DRAWS
    shifts = _solved(levels, means, lacks, noise)
    lost = [
        float(np.mean(plane - LevelMap(levels, shifts)(there), dtype=np.float64))
        for plane, there in parts
    ]
    return LevelMap(levels, shifts + np.mean(lost))


def _solved(levels: Float, means: Float, lacks: Float, noise: NoiseModel) -> Float:
    """Shifts with which nothing lacks, as smooth as the noise leaves it open.

    Parameters
    ----------
    levels
        At which shifts are wanted.
    means
        How many pixels belong to each range (rows) and have each level once denoised (columns).
    lacks
        What they lack, grey levels.
    noise
        Of a pixel.
    """
    deviation = np.sqrt(noise.variance(levels))
    together = max(float(noise.whole_autocorrelation.sum()), 1.0)
    sure = 1 / (deviation * np.sqrt(together * np.maximum(means.sum(axis=1), 1.0)))
    slopes = np.diff(np.eye(len(levels)), axis=0) / np.diff(levels)[:, None]
    bends = np.diff(slopes, axis=0) * np.ptp(levels) / len(levels)
    likely = np.concatenate([np.eye(len(levels)) / LARGE, bends / BEND]) / deviation.mean()
    known = np.concatenate([means * sure[:, None], likely])
    wanted = np.concatenate([lacks * sure, np.zeros(len(likely))])
    return np.asarray(np.linalg.lstsq(known, wanted, rcond=None)[0])


def _middle(plane: Pixels, side: int) -> Pixels:
    """The middle of a plane, of at most so many pixels a side."""
    starts = [max(size - side, 0) // 2 for size in plane.shape]
    return plane[starts[0] : starts[0] + side, starts[1] : starts[1] + side]


def _shares(pixels: Pixels, levels: Float) -> Float:
    """How much of each pixel belongs to each level, shape (levels, pixels); sums are 1."""
    flat = pixels.ravel()
    return np.stack([np.interp(flat, levels, row) for row in np.eye(len(levels))])
