"""Which networks make a plane, and the share of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shares_at(positions: NDArray[np.float64], position: float) -> list[tuple[int, float]]:
    """The networks that make a plane, by number, and the share of each.

    Parameters
    ----------
    positions
        Where along the stack each network holds, ascending.
    position
        Of the plane: between two networks it gets both, in linear proportion.
    """
    if len(positions) == 1:
        return [(0, 1.0)]
    after = int(np.searchsorted(positions, position))
    if after == 0 or after == len(positions) or positions[after] == position:
        return [(min(after, len(positions) - 1), 1.0)]
    left, right = positions[after - 1], positions[after]
    share = float((position - left) / (right - left))
    return [(after - 1, 1 - share), (after, share)]
