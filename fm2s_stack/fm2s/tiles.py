"""The fixed grid of tiles that planes are computed on. Pure integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

Bounds = tuple[int, int]  #: first, and one past the last
Core = tuple[Bounds, Bounds]  #: rows and columns

#: The network runs on a fixed grid of tiles of this side, pixels, counted from the corner of
#: the plane. The libraries round differently for tiles of other sizes (one pixel in ten
#: thousand by a grey level), so every cut of a plane must lie on this grid.
TILE = 256


@dataclass(frozen=True)
class Tile:
    """A tile, in rows and columns of the part of a plane that is at hand."""

    rows: Bounds  #: it computes
    columns: Bounds  #: it computes

    def cut(self, shape: tuple[int, int], halo: int, multiple: int) -> tuple[Side, Side]:
        """What it reads of a part of this shape, along rows and along columns."""
        return (
            _side(self.rows, shape[0], halo, multiple),
            _side(self.columns, shape[1], halo, multiple),
        )


@dataclass(frozen=True)
class Side:
    """What a tile reads along one axis: pixels that are there, and zeros beyond them."""

    read: Bounds  #: of the part
    before: int  #: zeros ahead of them
    length: int  #: in all

    @property
    def after(self) -> int:
        """Zeros behind them."""
        return self.length - self.before - (self.read[1] - self.read[0])


def tiles_of(core: Core) -> Iterator[Tile]:
    """The tiles of a core, row by row; those at its end may be smaller."""
    rows, columns = (list(_pieces(bounds)) for bounds in core)
    for y, x in product(rows, columns):
        yield Tile(y, x)


def _pieces(bounds: Bounds) -> Iterator[Bounds]:
    start, stop = bounds
    for first in range(start, stop, TILE):
        yield first, min(first + TILE, stop)


def _side(own: Bounds, there: int, halo: int, multiple: int) -> Side:
    start, stop = own
    computed = -(-(stop - start) // multiple) * multiple
    first, last = start - halo, start + computed + halo
    return Side((max(first, 0), min(last, there)), max(-first, 0), last - first)
