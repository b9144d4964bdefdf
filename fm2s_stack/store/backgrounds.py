"""The backgrounds of an output: arrays of its subgroup ``fm2s_stack``, one pair a channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.store.side import load_side, store_side


def write_background(
    path: str | Path, c: int, positions: NDArray[np.float64], planes: NDArray[np.float32]
) -> None:
    """Make the arrays of a channel.

    Parameters
    ----------
    path
        The output.
    c
        Channel of the output.
    positions
        Of each mean along the stack axis, source indices.
    planes
        The means, shape (means, others, y, x), grey levels.

    Raises
    ------
    OutputError
        If they are there already, or cannot be written.
    """
    store_side(path, f"background_{c}", planes)
    store_side(path, f"background_{c}_positions", positions)


def read_background(path: str | Path, c: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Positions and means of a channel.

    Raises
    ------
    OutputError
        If they are missing or damaged.
    """
    planes = load_side(path, f"background_{c}").astype(np.float32)
    return load_side(path, f"background_{c}_positions").astype(np.float64), planes
