"""What is known of a tile from pixels that do not share its noise.

To sort or choose tiles by their own pixels would choose them by their noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model.tiles import around

Float = NDArray[np.float64]

CLIPPED = 0.005  #: part of clipped pixels from which on noise counts as cut off


def guides(level: Float, used: NDArray[np.bool_], grid: tuple[int, int]) -> Float:
    """The level of each tile as told by the same place at other times and by its neighbours.

    Parameters
    ----------
    level
        Mean levels, shape (planes, tiles).
    used
        Tiles to use.
    grid
        Tiles down and across.

    Returns
    -------
    ndarray of float64, shape (planes, tiles)
        The own level where nothing else tells it.
    """
    beside = np.stack([around(x, u, grid) for x, u in zip(level, used, strict=True)])
    others = used.sum(axis=0) - used
    with np.errstate(invalid="ignore", divide="ignore"):
        elsewhen = ((level * used).sum(axis=0) - level * used) / others
    guide = np.where(others > 0, (beside + elsewhen) / 2, beside)
    guide = np.where(np.isnan(guide), elsewhen, guide)
    return np.where(np.isnan(guide), level, guide)


def clipped(
    high: NDArray[np.float32], count: NDArray[np.float32], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tiles so bright that noise is cut off at the highest level, shape (planes, tiles).

    Parameters
    ----------
    high, count
        Clipped values and all values in each tile, shape (planes, tiles).
    grid
        Tiles down and across.
    """
    part = high / np.maximum(count, 1)
    if len(high) > 1:
        others = (high.sum(0) - high) / np.maximum(count.sum(0) - count, 1)
    else:
        everywhere = np.ones(high.shape[1], bool)
        others = np.stack([around(one.astype(float), everywhere, grid) for one in part])
    return np.asarray((np.nan_to_num(others) > CLIPPED) | (part > 4 * CLIPPED))
