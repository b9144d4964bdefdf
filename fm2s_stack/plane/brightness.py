"""The brightness of results, made that of the planes they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 1.25  #: factor; more than that is no error of brightness

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Brightness:
    """A factor about the dark level: what is dark stays dark.

    Thresholds take rare photons for noise, so that estimates of dim planes are too low by a
    few per cent of their light, and no filter tells that by its shape.
    """

    dark: float  #: grey level that stays
    factor: float  #: by which what is above it is multiplied

    def of(self, levels: Float32) -> Float32:
        """Grey levels with the brightness made right."""
        return np.asarray(np.float32(self.dark) + np.float32(self.factor) * (levels - self.dark))


AS_IT_IS = Brightness(0.0, 1.0)


def brightness_of(dark: float, raw: float, made: float) -> Brightness:
    """What makes the mean of results that of the planes.

    Parameters
    ----------
    dark
        Grey level that shall stay.
    raw, made
        Mean of the planes, whose noise has none, and of their results, grey levels.
    """
    if min(raw, made) <= dark:
        return AS_IT_IS
    # As single precision holds it, in which it is stored.
    factor = np.float32(np.clip((raw - dark) / (made - dark), 1 / MOST, MOST))
    return Brightness(float(np.float32(dark)), float(factor))
