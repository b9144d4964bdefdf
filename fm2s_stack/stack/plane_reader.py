"""Planes read one by one, beside the Dask array whose blocks hold many.

A block fails as a whole where one plane of it cannot be read; these tell which one it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.stack.axes import canonical_order

if TYPE_CHECKING:
    from fm2s_stack.stack.pages import PageSource

StoredBox = tuple[slice, ...]


class PlaneReader(Protocol):
    """Reads a part of one plane, and nothing of others that it can avoid.

    Implementations pickle, hash by identity, and may be read from several threads at a time.
    """

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[np.generic]:
        """Pixels of rows `y` and columns `x` of a plane, shape (y, x), native byte order.

        Parameters
        ----------
        t, c, z
            Source indices: of the whole recording, whatever is selected.
        y, x
            With start and stop.

        Raises
        ------
        StackError
            If it cannot be read.
        """


@dataclass(frozen=True, eq=False)
class PagePlanes:
    """Planes that are pages of a source."""

    source: PageSource  #: where they are read from
    numbers: NDArray[np.int64]  #: page number of each (frame, channel, slice)

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[np.generic]:
        """As `PlaneReader`; the whole page is read."""
        (page,) = self.source.read(self.numbers[t, c, z].reshape(1))
        part: NDArray[np.generic] = page[y, x]
        return part


@dataclass(frozen=True, eq=False)
class StoredPlanes:
    """Planes that are slices of a stored array with axes in any order."""

    axes: str  #: letters of ``tczyx`` in stored order
    read_box: Callable[[StoredBox], NDArray[np.generic]]  #: pixels of a box, axes as stored

    def read(self, t: int, c: int, z: int, y: slice, x: slice) -> NDArray[np.generic]:
        """As `PlaneReader`."""
        place = {"t": slice(t, t + 1), "c": slice(c, c + 1), "z": slice(z, z + 1), "y": y, "x": x}
        stored = self.read_box(tuple(place[axis] for axis in self.axes))
        ordered = stored.transpose([self.axes.index(axis) for axis in canonical_order(self.axes)])
        return ordered.reshape(ordered.shape[-2:])
