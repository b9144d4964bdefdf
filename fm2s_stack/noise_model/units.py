"""Grey levels brought to numbers around 0 that single precision holds well, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 2**18  #: values from which origin and unit are taken


class Units(NamedTuple):
    """Numbers are ``(level - origin) / unit``."""

    origin: float  #: grey level that is 0
    unit: float  #: grey levels of 1, a power of 2: dividing by it rounds nothing

    def level(self, number: float) -> float:
        """Grey level of a number."""
        return self.origin + self.unit * number

    def number(self, level: float) -> float:
        """Number of a grey level."""
        return (level - self.origin) / self.unit


class Numbers(NamedTuple):
    """Frames as numbers."""

    frames: NDArray[np.float32]  #: of the shape given, 0 where they are not finite
    missing: NDArray[np.bool_]  #: pixels that are not finite in some frame, shape (y, x)
    units: Units  #: what the numbers mean


def as_numbers(frames: NDArray) -> Numbers:
    """Frames of grey levels, shape (..., y, x), as numbers."""
    some = frames.reshape(-1)[:: -(-frames.size // LOOKED_AT)].astype(np.float64)
    some = some[np.isfinite(some)]
    origin = float(np.median(some)) if some.size else 0.0
    spread = float(np.std(some)) if some.size else 0.0
    exponent = np.round(np.log2(spread)) if np.isfinite(spread) and spread > 0 else 0.0
    unit = float(2.0**exponent)
    # Doubles hold the difference of all pixel types we read exactly, or nearly.
    scaled = (((one.astype(np.float64) - origin) / unit).astype(np.float32) for one in frames)
    numbers = np.stack(list(scaled))
    finite = np.isfinite(numbers).reshape(-1, *frames.shape[-2:])
    missing = np.asarray(~finite.all(axis=0))
    numbers[..., missing] = 0
    return Numbers(numbers, missing, Units(origin, unit))
