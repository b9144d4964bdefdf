"""Pages of a recording as one lazy Dask array.

A reader provides a `PageSource` (a flat run of equally shaped pages) and says which page
is which frame, channel and slice; `dask_from_pages` does the rest.
"""

from __future__ import annotations

from typing import Protocol

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from fm2s_stack.image import Shape5

BLOCK_BYTES = 8 * 2**20


class PageSource(Protocol):
    """A flat run of pages, all with one shape and dtype.

    Implementations pickle (paths and offsets, no open handles) and may be read from
    several threads and processes at a time.
    """

    @property
    def page_shape(self) -> tuple[int, int]:
        """Rows and columns of a page."""

    @property
    def dtype(self) -> np.dtype:
        """Pixel type, in native byte order."""

    def read(self, pages: NDArray[np.int64]) -> NDArray[np.generic]:
        """Pixels of the pages numbered in `pages`, shape (n, y, x), native byte order.

        Raises
        ------
        StackError
            Naming the file and page, if one cannot be read or is not as expected.
        """


def dask_from_pages(
    source: PageSource, numbers: NDArray[np.int64], *, along_z: bool = False
) -> da.Array:
    """A lazy ``tczyx`` array of pages.

    Parameters
    ----------
    source
        Where the pages are read from.
    numbers
        Page number of each (frame, channel, slice), shape (t, c, z).
    along_z
        Group slices rather than frames into a block.
    """
    rows, columns = source.page_shape
    n_t, n_c, n_z = numbers.shape
    run = max(1, BLOCK_BYTES // (rows * columns * source.dtype.itemsize))
    t_run, z_run = (1, min(run, n_z)) if along_z else (min(run, n_t), 1)
    lazy_numbers = da.from_array(
        np.ascontiguousarray(numbers)[..., None, None], chunks=(t_run, 1, z_run, 1, 1)
    )
    shape: Shape5 = (n_t, n_c, n_z, rows, columns)
    return da.map_blocks(
        _read_block,
        lazy_numbers,
        source=source,
        chunks=(*lazy_numbers.chunks[:3], (rows,), (columns,)),
        dtype=source.dtype,
        meta=np.empty((0,) * len(shape), dtype=source.dtype),
    )


def _read_block(numbers: NDArray[np.int64], source: PageSource) -> NDArray[np.generic]:
    pages = source.read(numbers.ravel())
    return pages.reshape(*numbers.shape[:3], *source.page_shape)
