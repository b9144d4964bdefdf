"""Running a collapsed network over a plane on the CPU, tile by tile."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fm2s_stack.fm2s.inference import GROUP, HALO, Blank, Inference, prepared
from fm2s_stack.fm2s.tiles import TILE, Core, Side, Tile, tiles_of
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import Precision

__all__ = ["TILE", "Core", "apply_network"]


def apply_network(
    weights: NDArray[np.float32],
    unit: NDArray[np.float32],
    core: Core,
    *,
    precision: Precision = "float32",
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
    precision
        ``bf16`` for bfloat16; the others are float32 on the CPU.
    pulse
        Called before each tile.

    Returns
    -------
    ndarray
        Shape of the core, not clamped.
    """
    (y0, y1), (x0, x1) = core
    result = np.empty((y1 - y0, x1 - x0), np.float32)
    network = prepared(weights, "cpu", precision)
    with torch.inference_mode():
        plane = torch.from_numpy(unit)
        for tile in tiles_of(core):
            pulse()
            part = _compute(network, plane, tile)
            (top, bottom), (left, right) = tile.rows, tile.columns
            result[top - y0 : bottom - y0, left - x0 : right - x0] = part
    return result


def _compute(network: Inference, plane: Tensor, tile: Tile) -> NDArray[np.float32]:
    rows, columns = tile.cut((plane.shape[0], plane.shape[1]), HALO, GROUP)
    there = plane[slice(*rows.read), slice(*columns.read)]
    padded = functional.pad(there, (columns.before, columns.after, rows.before, rows.after))
    outputs = network(padded[None, None], _blank(rows, columns))
    height, width = (stop - start for start, stop in (tile.rows, tile.columns))
    return outputs[0, :height, :width].numpy()


def _blank(rows: Side, columns: Side) -> Blank:
    """Zero only the strips that there are: most tiles of a large plane have none."""

    def blank(hidden: Tensor, reach: int) -> None:
        lost = HALO - reach  # rows and columns that the layers so far took from each side
        for axis, side in ((2, rows), (3, columns)):
            for start, length in (
                (0, side.before - lost),
                (hidden.shape[axis] - (side.after - lost), side.after - lost),
            ):
                if length > 0:
                    hidden.narrow(axis, start, length).zero_()

    return blank
