"""Running a collapsed network over planes, tile by tile."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.fm2s import network
from fm2s_stack.progress import Pulse, unheard

Core = tuple[tuple[int, int], tuple[int, int]]  #: (first, one past last) row, and column

#: The network runs on a fixed grid of tiles of this side, pixels, counted from the corner of
#: the plane. The libraries round differently for tiles of other sizes (one pixel in ten
#: thousand by a grey level), so every cut of a plane must lie on this grid.
TILE = 256


def apply_network(
    weights: NDArray[np.float32],
    unit: NDArray[np.float32],
    core: Core,
    device: str = "cpu",
    pulse: Pulse = unheard,
) -> NDArray[np.float32]:
    """Run a collapsed network over the core of a plane, tile by tile.

    Parameters
    ----------
    weights
        Shape (3529,).
    unit
        Shape (y, x), on the unit scale, with the halo around the core.
    core
        Rows and columns that are wanted; their starts are multiples of 256 in the plane.
    device
        ``cpu`` or ``cuda:N``.
    pulse
        Called before each row of tiles.

    Returns
    -------
    ndarray
        Shape of the core, not clamped.
    """
    (y0, y1), (x0, x1) = core
    result = np.empty((y1 - y0, x1 - x0), np.float32)
    parameters = torch.from_numpy(weights).to(device)
    with torch.inference_mode():
        # Channels last is 2.5 times faster here, and the layout fixes the arithmetic.
        plane = torch.from_numpy(unit).to(device)[None, None]
        for top in range(y0, y1, TILE):
            pulse()
            for left in range(x0, x1, TILE):
                rows = (top, min(top + TILE, y1))
                columns = (left, min(left + TILE, x1))
                part = _tile(parameters, plane, rows, columns)
                result[rows[0] - y0 : rows[1] - y0, columns[0] - x0 : columns[1] - x0] = part
    return result


def _tile(
    parameters: torch.Tensor, plane: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.float32]:
    top, left = max(rows[0] - network.HALO, 0), max(columns[0] - network.HALO, 0)
    cut = plane[..., top : rows[1] + network.HALO, left : columns[1] + network.HALO]
    tile = cut.contiguous().to(memory_format=torch.channels_last)
    outputs = network.forward(parameters, tile)
    kept = outputs[0, 0, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
    return kept.cpu().numpy()
