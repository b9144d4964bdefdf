"""Noise to be added to a recording's own, from which a network can learn without truth.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021, arXiv 2102.02234): where ``w`` is another
draw of the noise that ``y = x + n`` has, ``y + w`` and ``y - w`` have independent errors, so that
a network trained to make one of the other learns the expectation of ``x``. For that ``w`` must
have the variance and correlation of ``n``; of few photons, whose noise is skewed, also its third
cumulant, or the network learns to keep bright specks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel

TAPS = 9  #: side of the filter that colours drawn noise, pixels
LEAST_SKEW = 0.02  #: with less of it, gamma draws are normal ones but for rounding
MOST_SKEW = 6.0  #: of a draw: a pixel of which one in ten frames has a photon
LEAST_CUBE = 0.3  #: part of the skewness that a filter may leave, so that it can be made up for


def colouring(autocorrelation: NDArray[np.float64]) -> NDArray[np.float32]:
    """The symmetric filter that gives white noise an autocorrelation, power 1.

    Parameters
    ----------
    autocorrelation
        Entry [dy][reach + dx], for dy from 0 to reach and dx from -reach to reach.

    Returns
    -------
    ndarray, shape (TAPS, TAPS)
        The square root of the spectrum, cut to its middle; what lies below 0 in a spectrum that
        was measured is taken for 0.
    """
    reach = len(autocorrelation) - 1
    size = 4 * TAPS
    wrapped = np.zeros((size, size))
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            wrapped[dy, dx] = wrapped[-dy, -dx] = autocorrelation[dy][reach + dx]
    spectrum = np.fft.fft2(wrapped).real.clip(min=0)
    taps = np.fft.fftshift(np.fft.ifft2(np.sqrt(spectrum)).real)
    middle = slice(size // 2 - TAPS // 2, size // 2 + TAPS // 2 + 1)
    kernel = taps[middle, middle]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), dtype=np.float32)


class Recorruption:
    """Draws noise as a recording has it.

    Parameters
    ----------
    noise, skewness
        As measured.
    """

    def __init__(self, noise: NoiseModel, skewness: Skewness) -> None:
        self._noise, self._skewness = noise, skewness
        kernel = colouring(np.array(noise.autocorrelation))
        self._kernel = torch.from_numpy(kernel)[None, None]
        self._is_white = bool(np.abs(kernel).max() > 1 - 1e-3)
        self._cube = max(float((kernel.astype(np.float64) ** 3).sum()), LEAST_CUBE)

    def draw(self, level: NDArray[np.float32], stream: torch.Generator) -> NDArray[np.float32]:
        """A draw of the noise at grey levels, shape (y, x).

        Parameters
        ----------
        level
            Expected grey level of each pixel.
        stream
            Where random numbers come from.

        Returns
        -------
        ndarray
            Mean 0, grey levels.
        """
        deviation = np.sqrt(self._noise.variance(level))
        skew = self._skewness.third_cumulant(level) / deviation**3 / self._cube
        wanted = torch.from_numpy(skew.clip(LEAST_SKEW, MOST_SKEW).astype(np.float32))
        drawn = self._coloured(_skewed(wanted[None], stream))[0].numpy()
        return np.asarray(drawn * deviation, dtype=np.float32)

    def _coloured(self, white: Tensor) -> Tensor:
        if self._is_white:
            return white
        around = (TAPS // 2,) * 4
        padded = functional.pad(white[:, None], around, mode="circular")
        return functional.conv2d(padded, self._kernel.to(white.device))[:, 0]


def _skewed(skew: Tensor, stream: torch.Generator) -> Tensor:
    """Gamma draws of mean 0, variance 1 and a skewness."""
    shape = 4 / skew**2
    return (torch._standard_gamma(shape, generator=stream) - shape) * (skew / 2)
