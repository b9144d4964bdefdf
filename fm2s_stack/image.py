"""What an image is apart from its pixels: axes, shape, dtype, scale, channels.

Every stack is handled with the five canonical axes ``tczyx``; ``Image.axes`` remembers
which of them the source really had, so that the output has the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

CANONICAL_AXES = "tczyx"
StackAxis = Literal["t", "z"]
Shape5 = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Scale:
    """Physical size of one step along each axis; ``None`` where the source does not say."""

    z: float | None = None  #: micrometres from slice to slice
    y: float | None = None  #: micrometres from row to row
    x: float | None = None  #: micrometres from column to column
    t: float | None = None  #: seconds from frame to frame


@dataclass(frozen=True)
class Image:
    """Axes, shape, dtype, scale and channels of a stack.

    Raises
    ------
    ValueError
        If `axes` is not a subsequence of ``tczyx`` that ends in ``yx``, if an axis outside
        `axes` is longer than one, or if names and timestamps do not fit the shape.
    """

    axes: str  #: the axes the source had, in canonical order, for example ``"tyx"``
    shape: Shape5  #: lengths along t, c, z, y, x
    dtype: np.dtype  #: pixel type of the source, in native byte order
    scale: Scale = Scale()  #: physical step along each axis
    channels: tuple[str, ...] = ()  #: one name a channel; empty if the source has none
    timestamps: tuple[float, ...] | None = None  #: seconds, one a frame, where recorded

    def __post_init__(self) -> None:
        in_order = "".join(a for a in CANONICAL_AXES if a in self.axes)
        if in_order != self.axes or not self.axes.endswith("yx"):
            raise ValueError(f"axes {self.axes!r} are not a part of 'tczyx' ending in 'yx'")
        for name, length in zip(CANONICAL_AXES, self.shape, strict=True):
            if length < 1 or (length > 1 and name not in self.axes):
                raise ValueError(f"axis {name!r} has {length} entries in an image of {self.axes!r}")
        if self.channels and len(self.channels) != self.shape[1]:
            raise ValueError(f"{len(self.channels)} channel names for {self.shape[1]} channels")
        if self.timestamps is not None and len(self.timestamps) != self.shape[0]:
            raise ValueError(f"{len(self.timestamps)} timestamps for {self.shape[0]} frames")

    @property
    def real_shape(self) -> tuple[int, ...]:
        """Lengths along the axes that the source really had."""
        return tuple(self.shape[CANONICAL_AXES.index(a)] for a in self.axes)

    @property
    def planes(self) -> int:
        """Number of YX planes, over all channels."""
        t, c, z, _, _ = self.shape
        return t * c * z

    def default_along(self) -> StackAxis:
        """The stack axis: frames where there are several, else slices."""
        return "t" if self.shape[0] > 1 or self.shape[2] == 1 else "z"

    def with_dtype(self, dtype: np.dtype) -> Image:
        """The same image with another pixel type."""
        return replace(self, dtype=dtype)
