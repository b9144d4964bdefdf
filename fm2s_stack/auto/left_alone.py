"""`LeftAlone`: what stands for the denoiser of a channel in which there is nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fm2s_stack.fm2s.denoiser import flattened
from fm2s_stack.fm2s.intensity import IntensityMap, clipped_to
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.fm2s.unchanged import light_of, put_back
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import Auto, NanPolicy, Precision

Planes = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class LeftAlone:
    """A channel of one value: it has no noise that could be measured, and stays as it is.

    Should there be planes that hold more, they stay as they are, too.
    """

    weights: NDArray[np.float32]  #: zeros, as many as those of other channels
    positions: NDArray[np.float64]  #: those of other channels
    intensity: IntensityMap  #: range of grey levels
    preset: Auto  #: what was asked for
    channel: int = 0  #: index of the channel in the source
    loss: tuple[float, ...] = ()  #: zeros
    nan: NanPolicy = "refuse"  #: what happens to pixels that carry no light
    precision: Precision = "float32"  #: of the other channels
    halo: int = 0  #: pixels to each side that a result depends on

    def with_network(self, weights: NDArray[np.float32]) -> LeftAlone:
        """As those of other channels: here nothing changes."""
        return replace(self, weights=weights[None], positions=np.zeros(1), loss=())

    def __call__(
        self,
        planes: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
    ) -> Planes:
        """Planes (..., y, x) as they are, as `dtype`, rounded and clipped."""
        array = np.asarray(planes)
        flat, where = flattened(array, positions, 1)
        result = np.empty(flat.shape, np.dtype(dtype or array.dtype))
        core = ((0, array.shape[-2]), (0, array.shape[-1]))
        for plane, at, out in zip(flat, where.tolist(), result, strict=True):
            self.fill(plane, at, core, out)
        return result.reshape(array.shape)

    def fill(
        self, plane: Planes, position: float, core: Core, result: Planes, pulse: Pulse = unheard
    ) -> int:
        """Copy the core of one plane into `result`; how many pixels were clipped to its type.

        Raises
        ------
        NonFinitePixels
            If the plane has NaN, and that is refused or the result's type cannot hold it.
        """
        name = f"plane {position:g} of channel {self.channel}"
        inside = (slice(*core[0]), slice(*core[1]))
        light = light_of(plane, self.nan, name, pulse)
        levels = plane[inside].astype(np.float64)
        if light is not None:
            levels[~light[inside]] = 0
        result[...], clipped = clipped_to(levels, result.dtype)
        if light is not None:
            put_back(plane, light, core, result, name)
        return clipped
