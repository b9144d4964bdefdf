"""A zarr array on disk as a lazy Dask array, and its values read strictly."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated
from fm2s_stack.stack.pages import BLOCK_BYTES
from fm2s_stack.stack.plane_reader import StoredBox
from fm2s_stack.stack.zarr_folder import ZarrArray, damaged, inspect_array

if TYPE_CHECKING:
    import dask.array as da


def lazy_array(array: ZarrArray, digest: str, axes: str) -> da.Array:
    """The pixels, axes as stored; blocks are runs of whole chunks within a shard.

    Parameters
    ----------
    array
        From `inspect_array`.
    digest
        Of its content: tells this array from an earlier one at the same path.
    axes
        One letter an axis; chunks are not joined along ``c``, for channels are read apart.
    """
    import dask.array as da

    block = block_shape(array, axes)
    chunks = tuple(
        tuple(min(b, n - start) for start in range(0, n, b))
        for n, b in zip(array.shape, block, strict=True)
    )
    # Not dask.array.from_zarr: the graph has to pickle as a path, with no store in it.
    lazy: da.Array = da.map_blocks(
        _read_block,
        read=box_reader(array, digest),
        block=block,
        shape=array.shape,
        chunks=chunks,
        dtype=array.dtype,
        meta=np.empty((0,) * len(chunks), dtype=array.dtype),
    )
    return lazy


def block_shape(array: ZarrArray, axes: str) -> tuple[int, ...]:
    """Pixels of a Dask block: chunks joined up to about 8 MiB, last axes first.

    Joined chunks are of one run along ``c``, stay within a shard, and divide it.
    """
    block, itemsize = list(array.chunks), array.dtype.itemsize
    for axis in reversed(range(len(block))):
        chunk = array.chunks[axis]
        bound = array.shards[axis] if array.shards else array.shape[axis]
        room = BLOCK_BYTES // max(1, math.prod(block) * itemsize)
        count = math.ceil(bound / chunk) if bound else 1
        fitting = 1 if axes[axis] == "c" else min(max(1, room), count)
        while array.shards and count % fitting:
            fitting -= 1
        block[axis] = min(chunk * fitting, max(1, array.shape[axis]))
    return tuple(block)


def _read_block(
    block_id: tuple[int, ...],
    read: Callable[[StoredBox], NDArray[np.generic]],
    block: tuple[int, ...],
    shape: tuple[int, ...],
) -> NDArray[np.generic]:
    return read(
        tuple(
            slice(i * b, min((i + 1) * b, n))
            for i, b, n in zip(block_id, block, shape, strict=True)
        )
    )


def box_reader(array: ZarrArray, digest: str) -> Callable[[StoredBox], NDArray[np.generic]]:
    """What reads a box of the array, axes as stored; pickles. `digest` as in `lazy_array`."""
    return partial(_read_box, array.path, digest, array.dtype, not array.missing)


def _read_box(
    path: str, digest: str, native: np.dtype, whole: bool, box: StoredBox
) -> NDArray[np.generic]:
    try:
        return np.asarray(_opened(path, digest, whole)[box], dtype=native)
    except Exception as error:
        where = ", ".join(f"{s.start}:{s.stop}" for s in box)
        raise damaged(Path(path), error, f" in [{where}]") from error


@lru_cache(maxsize=16)
def _opened(path: str, digest: str, whole: bool) -> Any:  # noqa: ANN401 - zarr.Array, one a process
    from fm2s_stack.stack.strict_zarr import open_strictly

    return open_strictly(Path(path), whole=whole)


def stored_values(folder: Path, within: Path) -> NDArray[np.generic]:
    """All values of a small array in the folder `within`.

    Raises
    ------
    StackTruncated
        If a chunk is not there, which would read as zeros.
    StackUnreadable
        If it is damaged, or reached through a link out of `within`.
    """
    from fm2s_stack.stack.strict_zarr import open_strictly

    array = inspect_array(folder, within)
    if array.missing:
        raise StackTruncated(
            f"{folder}: its chunk {array.first_missing[0]} is not there; restore it"
        )
    try:
        return np.asarray(open_strictly(folder, whole=True)[...])
    except Exception as error:  # as in `open_node`, and whatever the codecs raise
        raise damaged(folder, error) from error
