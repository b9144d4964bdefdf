"""Filling the core of a plane tile by tile, as all that ``-c auto`` denoises with does it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.fm2s.intensity import clipped_to
from fm2s_stack.fm2s.tiles import Core, Tile, tiles_of
from fm2s_stack.progress import Pulse


def fill_tiles(
    plane: NDArray[np.generic],
    core: Core,
    result: NDArray[np.generic],
    levels_of: Callable[[Tile], NDArray[np.float64]],
    saturation: float | None,
    pulse: Pulse,
) -> int:
    """Fill the core of a plane; how many pixels were clipped to the result's type.

    Parameters
    ----------
    plane
        Grey levels as recorded, shape (y, x).
    core
        Rows and columns of it that are wanted.
    result
        Of the shape of the core.
    levels_of
        Makes the grey levels of a tile, fresh ones of its shape.
    saturation
        Grey level from which on pixels stay as they are: what was clipped says no more than
        that it was. None: there is none.
    pulse
        Called before each tile; what it raises ends the work.
    """
    clipped = 0
    for tile in tiles_of(core):
        pulse()
        levels = levels_of(tile)
        own = plane[slice(*tile.rows), slice(*tile.columns)]
        if saturation is not None:
            np.copyto(levels, own, where=np.greater_equal(own, saturation))
        inside = tuple(
            slice(a - first, b - first)
            for (a, b), (first, _) in zip((tile.rows, tile.columns), core, strict=True)
        )
        result[inside], outside = clipped_to(levels, result.dtype)
        clipped += outside
    return clipped
