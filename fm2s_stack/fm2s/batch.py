"""Running collapsed networks over batches of planes on one device.

Tiles are computed in calls of one fixed shape, filled up with zeros where there are fewer: the
libraries choose their kernels by the shape, so that a plane gives the same bits whatever batch
it is in, and however a huge one is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fm2s_stack.fm2s.inference import HALO, Blank, Inference
from fm2s_stack.fm2s.tiles import TILE, Core

TILES_A_CALL = 16  #: 1 million pixels: enough to fill a large GPU
READ = TILE + 2 * HALO  #: side of what a tile reads, pixels

#: Bytes that a call holds at most: both hidden layers, their convolutions' workspaces, in and out.
CALL_BYTES = 3 * TILES_A_CALL * READ**2 * (24 + 12 + 4) * 4


@dataclass(frozen=True)
class Share:
    """One of the networks that make a plane."""

    network: int  #: which
    part: float  #: of the result, 0 to 1


def apply_batch(
    networks: Mapping[int, Inference], shares: Sequence[Sequence[Share]], planes: Tensor, core: Core
) -> Tensor:
    """Run every plane through its networks, and blend.

    Parameters
    ----------
    networks
        On the device of `planes`.
    shares
        Of each plane.
    planes
        Shape (n, y, x), float32, on the unit scale, with the halo around the core.
    core
        Rows and columns that are wanted; their starts are multiples of 256 in the plane.

    Returns
    -------
    Tensor
        Shape (n, rows, columns) of the core, not clamped.
    """
    grid = _Grid.of(planes, core)
    if all(list(own) == [Share(shares[0][0].network, 1.0)] for own in shares):
        return grid.apply(networks[shares[0][0].network], planes)
    return _blended(grid, networks, shares, planes)


def _blended(
    grid: _Grid,
    networks: Mapping[int, Inference],
    shares: Sequence[Sequence[Share]],
    planes: Tensor,
) -> Tensor:
    """The sum over every plane's networks, each computed once for all planes that share it."""
    result = torch.zeros(len(planes), *grid.size, device=planes.device)
    for number in sorted({one.network for own in shares for one in own}):
        parts = {
            i: one.part for i, own in enumerate(shares) for one in own if one.network == number
        }
        chosen = torch.tensor(list(parts), device=planes.device)
        part = torch.tensor(list(parts.values()), device=planes.device)
        computed = grid.apply(networks[number], planes[chosen])
        result[chosen] += computed * part[:, None, None]
    return result


@dataclass(frozen=True, eq=False)
class _Grid:
    """The tiles of a core in planes of one shape."""

    top: int  #: first row of the core
    left: int  #: first column of the core
    size: tuple[int, int]  #: rows and columns of the core
    tiles: tuple[int, int]  #: down and across
    rows_there: Tensor  #: (tiles down, READ): 1 where a row that a tile reads is there, else 0
    columns_there: Tensor  #: (tiles across, READ)

    @classmethod
    def of(cls, planes: Tensor, core: Core) -> _Grid:
        (y0, y1), (x0, x1) = core
        down, across = -(-(y1 - y0) // TILE), -(-(x1 - x0) // TILE)
        there = (
            _there(start, count, length).to(planes.device)
            for start, count, length in (
                (y0, down, planes.shape[1]),
                (x0, across, planes.shape[2]),
            )
        )
        return cls(y0, x0, (y1 - y0, x1 - x0), (down, across), *there)

    def apply(self, network: Inference, planes: Tensor) -> Tensor:
        """The core of planes (n, y, x), shape (n, rows, columns)."""
        tiles = self._cut(planes)
        results = [
            self._call(network, tiles[first : first + TILES_A_CALL], first)
            for first in range(0, len(tiles), TILES_A_CALL)
        ]
        down, across = self.tiles
        joined = torch.cat(results).reshape(len(planes), down, across, TILE, TILE)
        whole = joined.permute(0, 1, 3, 2, 4).reshape(len(planes), down * TILE, across * TILE)
        return whole[:, : self.size[0], : self.size[1]]

    def _cut(self, planes: Tensor) -> Tensor:
        """Every tile of every plane with its halo, shape (n * down * across, READ, READ)."""
        down, across = self.tiles
        ahead_y, ahead_x = max(HALO - self.top, 0), max(HALO - self.left, 0)
        first_y, first_x = max(self.top - HALO, 0), max(self.left - HALO, 0)
        part = planes[:, first_y:, first_x:]
        high, wide = down * TILE + 2 * HALO, across * TILE + 2 * HALO
        part = part[:, : high - ahead_y, : wide - ahead_x]
        behind_y, behind_x = high - ahead_y - part.shape[1], wide - ahead_x - part.shape[2]
        padded = functional.pad(part, (ahead_x, behind_x, ahead_y, behind_y))
        cut = padded.unfold(1, READ, TILE).unfold(2, READ, TILE)
        return cut.reshape(-1, READ, READ)

    def _call(self, network: Inference, tiles: Tensor, first: int) -> Tensor:
        filled = functional.pad(tiles, (0, 0, 0, 0, 0, TILES_A_CALL - len(tiles)))
        results = network(filled[:, None], self._blank(first))
        return results[: len(tiles)]

    def _blank(self, first: int) -> Blank:
        down, across = self.tiles
        device = self.rows_there.device
        numbers = torch.arange(first, first + TILES_A_CALL, device=device) % (down * across)
        y, x = numbers // across, numbers % across
        rows, columns = self.rows_there[y], self.columns_there[x]  # (TILES_A_CALL, READ)

        def blank(hidden: Tensor, reach: int) -> None:
            lost = HALO - reach
            kept = slice(lost, READ - lost)
            there = rows[:, kept, None] * columns[:, None, kept]
            hidden.mul_(there[:, None].to(hidden.dtype))

        return blank


def _there(start: int, count: int, length: int) -> Tensor:
    read = torch.arange(count)[:, None] * TILE + torch.arange(READ)[None] + start - HALO
    return ((read >= 0) & (read < length)).float()


def bytes_of_plane(shape: tuple[int, int], itemsize: int) -> int:
    """Bytes on the device for each plane of a batch.

    As it came, its result, twice each since two batches are under way; in float32 and float64
    while it is converted; and its tiles.
    """
    rows, columns = (-(-length // TILE) * READ for length in shape)
    return int(np.prod((rows, columns), dtype=np.int64)) * (4 * itemsize + 3 * 8 + 5 * 4)
