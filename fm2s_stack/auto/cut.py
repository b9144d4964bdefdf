"""Parts of planes with what lies around them, mirrored where a plane ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[int, int]  #: first, and one past the last


@dataclass(frozen=True, eq=False)
class Cut:
    """Rows or columns that a part reads along one axis."""

    read: slice  #: of the plane
    order: NDArray[np.intp]  #: of what was read, with the mirrored ones


def cut(own: Bounds, length: int, halo: int, multiple: int = 1) -> Cut:
    """What a part reads along an axis: its own pixels and `halo` on each side.

    Beyond the plane lies its mirror image, the edge pixel repeated.

    Parameters
    ----------
    own
        Of the part; 0 <= own[0] < own[1] <= `length`.
    length
        Of the plane.
    halo
        Pixels on each side.
    multiple
        Pixels of the part are rounded up to a multiple of this.
    """
    size = -(-(own[1] - own[0]) // multiple) * multiple
    places = np.arange(own[0] - halo, own[0] + size + halo) % (2 * length)
    mirrored = np.where(places < length, places, 2 * length - 1 - places)
    first = int(mirrored.min())
    return Cut(slice(first, int(mirrored.max()) + 1), mirrored - first)


def mirrored(pixels: NDArray[np.float32], y: Cut, x: Cut) -> NDArray[np.float32]:
    """What was read, shape (..., y, x), with the mirrored pixels."""
    for cut_, axis in ((y, -2), (x, -1)):
        order = cut_.order
        if len(order) != pixels.shape[axis] or order[0] or np.any(np.diff(order) != 1):
            pixels = np.take(pixels, order, axis)
    return pixels


def widened(read: slice, length: int, block: int) -> slice:
    """What is read, from the beginning of a block to the end of one, or of the plane."""
    return slice(read.start // block * block, min(-(-read.stop // block) * block, length))


def within(read: slice, wide: slice) -> slice:
    """Where what is read lies in what is widened."""
    return slice(read.start - wide.start, read.stop - wide.start)
