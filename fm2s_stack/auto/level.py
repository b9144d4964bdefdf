"""What grey level a plane is expected to have: by that its noise is drawn anew.

Noise in the expected level would do harm. Where neighbours are bright by chance, more noise is
added to a plane than it has, and a network that sees the neighbours too learns to tell the two
apart: the longer it learns, the more of the plane's noise it keeps. Therefore the level is that
of the background, with what the neighbours show of the recording's components, and what else
they show only where it is sure.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from fm2s_stack.auto.channels import mean_of
from fm2s_stack.noise_model import NoiseModel

Float32 = NDArray[np.float32]

SMOOTH = 3  #: side of the squares whose mean tells the level where there is no background, pixels
SQUARE = 5  #: side of those in which more than components show it, pixels
SURE = 3.0  #: deviations of their mean's noise


class Project(Protocol):
    """What of a plane's deviations lies in the components there."""

    def __call__(self, deviations: Float32, /) -> Float32:
        """Of shape (y, x), as its argument."""


def expected_deviations(
    others: Float32, is_flat: bool, noise: NoiseModel, project: Project
) -> Float32:
    """Where a plane is expected, in units of the noise, shape (y, x).

    Parameters
    ----------
    others
        Deviations of the planes beside it, in units of the noise, shape (planes, y, x); its own
        where there are none.
    is_flat
        Whether they are deviations from one grey level: all there is to see.
    noise
        Of the recording.
    project
        Projects on the components of this part.
    """
    if is_flat:
        return expected_level(others)
    near = mean_of(others)
    told = project(near)
    more = uniform_filter(near - told, SQUARE)
    sure = np.abs(more) > SURE * square_deviation(noise, SQUARE) / math.sqrt(len(others))
    return np.asarray(told + np.where(sure, more, np.float32(0)))


def expected_level(others: NDArray[np.generic]) -> Float32:
    """What grey level a plane is expected to have, by those beside it (n, y, x); shape (y, x).

    Not by its own pixels, unless there are no others: its noise must not tell how much is added.
    """
    return np.asarray(uniform_filter(others.mean(axis=0, dtype=np.float32), SMOOTH))


def square_deviation(noise: NoiseModel, side: int) -> float:
    """Deviation of the mean of a square, in units of the noise of a pixel.

    Parameters
    ----------
    noise
        Of the recording.
    side
        Of the square, pixels.
    """
    correlation = noise.whole_autocorrelation
    reach = len(correlation) // 2
    pairs = np.maximum(side - np.abs(np.arange(-reach, reach + 1)), 0)  # of pixels so far apart
    return math.sqrt(max(float(pairs @ correlation @ pairs), 1.0)) / side**2
