"""A zarr array on disk as a lazy Dask array, with its missing chunks counted.

A chunk that is not there reads as the fill value, and that is legal: by default zarr does
not write chunks that hold nothing else. So a missing chunk of somebody else's array is told,
with the count, and read as zarr reads it; one of our own outputs, which store every chunk,
is refused (see `fm2s_stack.stack.omezarr`). Of a sharded array the shards are counted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable
from fm2s_stack.stack.base import Identity
from fm2s_stack.stack.identity import identify_files
from fm2s_stack.stack.pages import BLOCK_BYTES
from fm2s_stack.stack.plane_reader import StoredBox
from fm2s_stack.stack.reader import cannot_read

if TYPE_CHECKING:
    import dask.array as da

MAX_CHUNKS = 20_000_000


@dataclass(frozen=True)
class ZarrArray:
    """What the metadata and the folder of an array say."""

    path: str  #: folder of the array, absolute
    zarr_format: int  #: 2 or 3
    shape: tuple[int, ...]  #: lengths as stored
    dtype: np.dtype  #: pixel type, native byte order
    chunks: tuple[int, ...]  #: pixels decoded together
    shards: tuple[int, ...] | None  #: pixels of one file; None: a file a chunk
    dimension_names: tuple[str, ...]  #: as the metadata gives them; empty if it does not
    files: tuple[tuple[str, int], ...]  #: (key, bytes) of each chunk file there is, sorted
    missing: tuple[str, ...]  #: keys of chunk files that are not there

    def identity(self, name: str) -> Identity:
        """Identity over shape, pixel type, chunk grid, keys and sizes, and sampled chunks."""
        about = repr((self.shape, self.dtype.str, self.chunks, self.shards))
        keys = "\n".join(key for key, _ in self.files)
        chunk_files = [Path(self.path, key) for key, _ in self.files]
        return identify_files(name, chunk_files, about=f"{about}\n{keys}".encode())


def inspect_array(folder: Path) -> ZarrArray:
    """The array in `folder`, from its metadata and a listing of its chunk files.

    Raises
    ------
    StackUnreadable
        If the metadata is damaged, the codecs are unknown, or the grid is beyond reason.
    """
    array = open_node(folder)
    try:
        shards, names = array.shards, getattr(array.metadata, "dimension_names", None)
        outer = shards or array.chunks
        grid = [math.ceil(n / c) for n, c in zip(array.shape, outer, strict=True)]
        if math.prod(grid) > MAX_CHUNKS:
            raise StackUnreadable(
                f"{folder}: {math.prod(grid)} chunk files of {outer}, more than the "
                f"{MAX_CHUNKS} we handle; check the metadata, or store it with larger chunks"
            )
        files = dict(_listed(folder))
        keys = [array.metadata.encode_chunk_key(place) for place in product(*map(range, grid))]
        return ZarrArray(
            path=str(folder.absolute()),
            zarr_format=array.metadata.zarr_format,
            shape=tuple(array.shape),
            dtype=np.dtype(array.dtype).newbyteorder("="),
            chunks=tuple(array.chunks),
            shards=tuple(shards) if shards else None,
            dimension_names=_names(names or array.attrs.get("_ARRAY_DIMENSIONS")),
            files=tuple(sorted((key, files[key]) for key in keys if key in files)),
            missing=tuple(key for key in keys if key not in files),
        )
    except StackError:
        raise
    except Exception as error:
        raise _damaged(folder, error) from error


def open_node(folder: Path) -> Any:  # noqa: ANN401 - zarr.Array or zarr.Group
    """The zarr array or group in `folder`, read-only.

    Raises
    ------
    StackUnreadable
        If its metadata cannot be read.
    """
    import zarr

    try:
        return zarr.open(str(folder), mode="r")
    except Exception as error:  # zarr raises KeyError, ValueError, TypeError, ... on bad metadata
        raise _damaged(folder, error) from error


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
        path=array.path,
        digest=digest,
        block=block,
        shape=array.shape,
        native=array.dtype,
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
    path: str,
    digest: str,
    block: tuple[int, ...],
    shape: tuple[int, ...],
    native: np.dtype,
    block_id: tuple[int, ...],
) -> NDArray[np.generic]:
    box = tuple(
        slice(i * b, min((i + 1) * b, n)) for i, b, n in zip(block_id, block, shape, strict=True)
    )
    return _read_box(path, digest, native, box)


def box_reader(array: ZarrArray, digest: str) -> Callable[[StoredBox], NDArray[np.generic]]:
    """What reads a box of the array, axes as stored; pickles. `digest` as in `lazy_array`."""
    return partial(_read_box, array.path, digest, array.dtype)


def _read_box(path: str, digest: str, native: np.dtype, box: StoredBox) -> NDArray[np.generic]:
    try:
        return np.asarray(_opened(path, digest)[box], dtype=native)
    except Exception as error:
        where = ", ".join(f"{s.start}:{s.stop}" for s in box)
        raise _damaged(Path(path), error, f" in [{where}]") from error


@lru_cache(maxsize=16)
def _opened(path: str, digest: str) -> Any:  # noqa: ANN401 - zarr.Array; one opening a process
    return open_node(Path(path))


def stored_values(folder: Path) -> NDArray[np.generic]:
    """All values of a small array.

    Raises
    ------
    StackTruncated
        If a chunk is not there, which would read as zeros.
    StackUnreadable
        If it is damaged.
    """
    array = inspect_array(folder)
    if array.missing:
        raise StackTruncated(f"{folder}: its chunk {array.missing[0]} is not there; restore it")
    try:
        return np.asarray(open_node(folder)[...])
    except Exception as error:  # as in `open_node`, and whatever the codecs raise
        raise _damaged(folder, error) from error


def _listed(folder: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _listed(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.stat().st_size


def _names(names: object) -> tuple[str, ...]:
    return tuple(str(n) for n in names) if isinstance(names, (list, tuple)) else ()


def _damaged(folder: Path, error: Exception, where: str = "") -> StackUnreadable:
    if isinstance(error, OSError) and error.strerror:  # the system's; zarr's own have none
        return cannot_read(folder, error)
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return StackUnreadable(
        f"{folder}{where}: zarr cannot read it ({text}); restore the damaged files"
    )
