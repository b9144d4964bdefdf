"""The affine intensity map between the recording's grey levels and the scale of 0 to 1.

The presets are tuned on images in [0, 1]. One map serves a whole channel: a map per frame
would be a gain per frame, which is flicker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

LOW_PERCENT = 0.1
HIGH_PERCENT = 99.99
PIECE = 2**15  #: values converted at a time


@dataclass(frozen=True)
class IntensityMap:
    """Grey level ``low`` goes to 0 and ``high`` to 1; values beyond pass linearly."""

    low: float  #: grey level that becomes 0
    high: float  #: grey level that becomes 1
    clamp: bool = False  #: whether results are held within [0, 1], as for 8-bit input

    def to_unit(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Grey levels on the unit scale, float32, any shape."""
        span = self.high - self.low
        if values.dtype.itemsize > 2:  # float32 would lose large offsets before subtracting
            wide = values.astype(np.float64)
            wide -= self.low
            wide /= span
            return wide.astype(np.float32)
        unit = values.astype(np.float32)
        unit -= np.float32(self.low)
        unit /= np.float32(span)
        return unit

    def from_unit(
        self, values: NDArray[np.float32], dtype: DTypeLike
    ) -> tuple[NDArray[np.generic], int]:
        """Values of the unit scale as grey levels of `dtype`, and how many were clipped.

        Integers are rounded to the nearest and clipped to the range of `dtype`, never
        wrapped. Floating point results are not clipped, save to the range of float16. With
        `clamp` the range is that of the map as well.
        """
        flat, result, clipped = values.reshape(-1), np.empty(values.size, dtype), 0
        bounds = (self.low, self.high) if self.clamp else None
        for start in range(0, flat.size, PIECE):  # in double precision they stay in the cache
            levels = flat[start : start + PIECE].astype(np.float64)
            levels *= self.high - self.low
            levels += self.low
            result[start : start + PIECE], count = clipped_to(levels, dtype, bounds)
            clipped += count
        return result.reshape(values.shape), clipped


def clipped_to(
    levels: NDArray[np.float64], dtype: DTypeLike, bounds: tuple[float, float] | None = None
) -> tuple[NDArray[np.generic], int]:
    """Grey levels as `dtype`, integers rounded, and how many were clipped to its range.

    Parameters
    ----------
    levels
        Finite; used up.
    dtype
        Pixel type wanted.
    bounds
        A narrower range to hold them in; None: all of `dtype`.
    """
    wanted = np.dtype(dtype)
    limits = np.iinfo(wanted) if wanted.kind in "iu" else np.finfo(wanted)
    low, high = float(limits.min), float(limits.max)
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    if wanted.kind in "iu":
        np.rint(levels, out=levels)
    if not levels.size or (levels.min() >= low and levels.max() <= high):
        return levels.astype(wanted), 0
    outside = int(np.count_nonzero((levels < low) | (levels > high)))
    return np.clip(levels, low, high, out=levels).astype(wanted), outside


def measure_intensity(values: NDArray[np.generic], dtype: DTypeLike) -> IntensityMap:
    """The map of a channel from sampled pixels.

    Parameters
    ----------
    values
        Finite grey levels of sampled frames, any shape.
    dtype
        Pixel type of the recording. ``uint8`` is exactly value/255, as published; others
        send the 0.1 and 99.99 percentiles to 0 and 1.
    """
    if np.dtype(dtype) == np.uint8:
        return IntensityMap(0.0, 255.0, clamp=True)
    if not values.size:
        return IntensityMap(0.0, 1.0)
    low, high = (
        float(v) for v in np.percentile(values.astype(np.float64), (LOW_PERCENT, HIGH_PERCENT))
    )
    if high <= low:  # nearly all pixels have one value
        low, high = float(values.min()), float(values.max())
    return IntensityMap(low, high if high > low else low + 1.0)
