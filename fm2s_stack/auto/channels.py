"""What the network is shown: deviations from the background, in units of the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model import NoiseModel

BRIGHTNESS = 0.1  #: of the channel that tells the background, per deviation of the noise


def channel_count(planes: int) -> int:
    """Channels of the network for windows of so many planes."""
    return planes + 4


@dataclass(frozen=True, eq=False)
class Scale:
    """Background and noise of a part of a plane, to and from what the network computes with."""

    background: NDArray[np.float32]  #: grey levels, shape (y, x), or (1, 1)
    deviation: NDArray[np.float32]  #: of the noise there, grey levels, of the same shape
    brightness: NDArray[np.float32]  #: of the background, as the network is told, the same shape

    @classmethod
    def of(cls, background: NDArray[np.float32], noise: NoiseModel) -> Scale:
        """The scale around a background."""
        deviation = np.sqrt(noise.variance(background)).astype(np.float32)
        unit = float(np.sqrt(noise.variance(noise.mean_level)))
        brightness = (background - np.float32(noise.mean_level)) * np.float32(BRIGHTNESS / unit)
        return cls(background, deviation, brightness)

    def deviations(self, planes: NDArray[np.generic]) -> NDArray[np.float32]:
        """Grey levels, shape (n, y, x), as deviations in units of the noise."""
        return (planes.astype(np.float32) - self.background) / self.deviation

    def part(self, inner: tuple[slice, slice]) -> Scale:
        """That of a part of the part."""
        if self.background.shape == (1, 1):
            return self
        return Scale(self.background[inner], self.deviation[inner], self.brightness[inner])

    def levels(self, deviations: NDArray[np.float32]) -> NDArray[np.float64]:
        """Deviations as grey levels."""
        return np.asarray(self.background + self.deviation * deviations, dtype=np.float64)


def mean_of(deviations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of deviations (n, y, x); of none it is 0."""
    return np.asarray(deviations.sum(axis=0, dtype=np.float32) / np.float32(len(deviations) or 1))


def channels_of(
    deviations: NDArray[np.float32],
    scale: Scale,
    missing: float,
    projected: Sequence[NDArray[np.float32]],
) -> NDArray[np.float32]:
    """The channels for one plane, shape (channels, y, x).

    Parameters
    ----------
    deviations
        Of the window's planes, shape (planes, y, x), in the window's order.
    scale
        Of that part of the plane.
    missing
        Part of the neighbours that others stand in for.
    projected
        What of the plane, and of the mean of those before it, lies in the recording's components,
        each of shape (y, x).
    """
    shape = deviations.shape[1:]
    told = np.broadcast_to(scale.brightness, shape), np.full(shape, missing, np.float32)
    return np.concatenate([deviations, np.stack([*told, *projected])])
