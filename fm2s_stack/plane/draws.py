"""Noise like that of a plane, drawn anew: with it, one noisy plane makes pairs.

To a plane ``y`` a noise ``w`` of the same covariance is added, ``y + a w`` and ``y - w / a``:
the noise of both is then uncorrelated, so that the error of an estimate from the first is, on
average and but for a constant, its distance from the second (Pang et al., "Recorrupted-to-
Recorrupted", CVPR 2021). The third cumulant of ``w`` is that of the noise divided by `a`, which
makes an estimate's square uncorrelated too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import coloured, skewed

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

ADDED = 0.7  #: a: noise added to what is estimated from, in noises of the plane
DARK = 0.8  #: part of the variance of the darkest level that is not of photons, where unknown
LEAST_SKEW = 0.1  #: below which a gamma distribution is as good as normal


@dataclass(frozen=True)
class Drawn:
    """How noise is drawn."""

    noise: NoiseModel  #: of the planes
    dark: float  #: variance at darkness, grey levels squared

    def pair(
        self, plane: Float32, level: Float32, rng: np.random.Generator
    ) -> tuple[Float32, Float32]:
        """What is estimated from, with `louder` noise, and what the estimate is compared to.

        Parameters
        ----------
        plane
            Noisy grey levels, shape (y, x).
        level
            An estimate of it, which tells how large the noise is where.
        rng
            Random numbers.
        """
        added = self._added(level.astype(float), rng)
        return (
            np.asarray(plane + ADDED * added, np.float32),
            np.asarray(plane - added / ADDED, np.float32),
        )

    def _added(self, level: Float, rng: np.random.Generator) -> Float:
        variance = self._variance(level)
        spread = np.sqrt(variance)
        cumulant = max(self.noise.gain, 0.0) * np.maximum(variance - self.dark, 0) / ADDED
        unit = skewed(np.maximum(cumulant / (variance * spread), LEAST_SKEW), rng)
        return np.asarray(spread * coloured(unit, self.noise.whole_autocorrelation))

    def _variance(self, level: Float) -> Float:
        """Variance of the noise at a level, less where pixels are clipped at saturation."""
        variance = self.noise.variance(level)
        if self.noise.saturation is None:
            return variance
        return variance * clipped_part((self.noise.saturation - level) / np.sqrt(variance))


def drawn_like(noise: NoiseModel, darkest: float) -> Drawn:
    """Draws of a noise whose darkest level is known."""
    if noise.read_noise is not None:
        return Drawn(noise, noise.read_noise**2)
    return Drawn(noise, DARK * float(noise.variance(darkest)))


def clipped_part(room: Float) -> Float:
    """Variance of a normal number of deviation 1 that is clipped at `room` above its mean."""
    density = np.exp(-0.5 * room**2) / np.sqrt(2 * np.pi)
    below = special.ndtr(room)
    mean = room * (1 - below) - density
    square = below - room * density + room**2 * (1 - below)
    return np.asarray(np.clip(square - mean**2, 1e-3, 1))
