"""Noise to be added to a recording's own, from which a network can learn without truth.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021, arXiv 2102.02234): where ``w`` is another
draw of the noise that ``y = x + n`` has, ``y + w`` and ``y - w`` have independent errors, so that
a network trained to make one of the other learns the expectation of ``x``. For that ``w`` must
have the variance and correlation of ``n``; of few photons, whose noise is skewed, also its third
cumulant, or the network learns to keep bright specks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import coloured, colouring, skewed

SIDE = 36  #: of the field on which a filter is looked at, pixels
LEAST_SKEW = 0.02  #: with less of it, gamma draws are normal ones but for rounding
MOST_SKEW = 6.0  #: of a draw: a pixel of which one in ten frames has a photon
LEAST_CUBE = 0.3  #: part of the skewness that a filter may leave, so that it can be made up for


class Recorruption:
    """Draws noise as a recording has it.

    Parameters
    ----------
    noise, skewness
        As measured.
    """

    def __init__(self, noise: NoiseModel, skewness: Skewness) -> None:
        self._noise, self._skewness = noise, skewness
        self._correlation = noise.whole_autocorrelation
        taps = fft.irfft2(colouring(self._correlation, (SIDE, SIDE)), s=(SIDE, SIDE))
        self._cube = max(float((taps**3).sum()), LEAST_CUBE)

    def draw(self, level: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        """A draw of the noise at grey levels, shape (y, x).

        Parameters
        ----------
        level
            Expected grey level of each pixel.
        random
            Where random numbers come from.

        Returns
        -------
        ndarray
            Mean 0, grey levels.
        """
        deviation = np.sqrt(self._noise.variance(level))
        skew = self._skewness.third_cumulant(level) / deviation**3 / self._cube
        white = skewed(skew.clip(LEAST_SKEW, MOST_SKEW), random)
        return np.asarray(coloured(white, self._correlation) * deviation, dtype=np.float32)
