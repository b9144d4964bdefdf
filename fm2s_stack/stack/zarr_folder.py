"""The metadata and the chunk files of a zarr array: what is there, and what is not.

A chunk that is not there reads as the fill value, and that is legal: by default zarr does
not write chunks that hold nothing else. So missing chunks of somebody else's array are told,
with the count, and read as zarr reads them, unless not one is there; one of our own outputs,
which store every chunk, is refused (see `fm2s_stack.stack.omezarr`). Of a sharded array the
shards are counted: within one, its index says which chunks were left out. An empty or shortened
file was never written so, and is an error.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable
from fm2s_stack.stack.base import Identity
from fm2s_stack.stack.identity import identify_files
from fm2s_stack.stack.inside import refuse_link_out
from fm2s_stack.stack.reader import cannot_read, one_line

MAX_CHUNKS = 20_000_000
_TOLD_MISSING = 3
_MANY_CHUNKS = 100_000
_FEW_THERE = 1000  # one in so many is no recording
_LARGE_CHUNK = 2**28  # bytes
_MOST_COMPRESSION = 50_000  # zstd makes a run of zeros some 30,000 times smaller
_DIGITS = re.compile("[0-9]+")


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
    missing: int  #: chunk files that are not there
    first_missing: tuple[str, ...]  #: keys of the first few of them
    beyond: int  #: chunk files outside of the shape, which are not read

    def identity(self, name: str) -> Identity:
        """Identity over shape, pixel type, chunk grid, keys and sizes, and sampled chunks."""
        about = repr((self.shape, self.dtype.str, self.chunks, self.shards))
        keys = "\n".join(key for key, _ in self.files)
        chunk_files = [Path(self.path, key) for key, _ in self.files]
        return identify_files(name, chunk_files, about=f"{about}\n{keys}".encode())


def inspect_array(folder: Path, within: Path | None = None) -> ZarrArray:
    """The array in `folder`, from its metadata and a listing of its chunk files.

    Parameters
    ----------
    folder
        Of the array.
    within
        Folder of the whole input, which no link may lead out of; default: `folder`.

    Raises
    ------
    StackUnreadable
        If the metadata is damaged, the codecs are unknown, the grid or a chunk is beyond reason,
        or a link leads out.
    StackTruncated
        If no chunk file is there, or one is empty.
    """
    refuse_link_out(folder, within or folder)
    array = open_node(folder)
    try:
        return _inspected(folder, array, dict(_listed(folder, within or folder)))
    except StackError:
        raise
    except Exception as error:
        raise damaged(folder, error) from error


def _inspected(folder: Path, array: Any, listed: dict[str, int]) -> ZarrArray:  # noqa: ANN401
    shards, names = array.shards, getattr(array.metadata, "dimension_names", None)
    outer = shards or array.chunks
    grid = [math.ceil(n / c) for n, c in zip(array.shape, outer, strict=True)]
    if math.prod(grid) > MAX_CHUNKS:
        raise StackUnreadable(
            f"{folder}: {math.prod(grid)} chunk files of {outer}, more than the "
            f"{MAX_CHUNKS} we handle; check the metadata, or store it with larger chunks"
        )
    there, beyond = _chunk_places(listed, grid, array.metadata.encode_chunk_key)
    files = tuple(sorted((key, listed[key]) for key in there.values()))
    absent = (place for place in product(*map(range, grid)) if place not in there)
    missing = math.prod(grid) - len(there)
    _refuse_sizes(folder, files, math.prod(grid), math.prod(array.chunks) * array.dtype.itemsize)
    return ZarrArray(
        path=str(folder.absolute()),
        zarr_format=array.metadata.zarr_format,
        shape=tuple(array.shape),
        dtype=np.dtype(array.dtype).newbyteorder("="),
        chunks=tuple(array.chunks),
        shards=tuple(shards) if shards else None,
        dimension_names=_names(names or array.attrs.get("_ARRAY_DIMENSIONS")),
        files=files,
        missing=missing,
        first_missing=tuple(map(array.metadata.encode_chunk_key, islice(absent, _TOLD_MISSING))),
        beyond=beyond,
    )


def _chunk_places(
    listed: Iterable[str], grid: list[int], encode: Callable[[tuple[int, ...]], str]
) -> tuple[dict[tuple[int, ...], str], int]:
    """Key of each chunk file by its place in the grid, and how many lie outside of it."""
    there, beyond = {}, 0
    for key in listed:
        place = tuple(map(int, _DIGITS.findall(key)))
        if len(place) != len(grid) or encode(place) != key:
            continue
        if all(i < n for i, n in zip(place, grid, strict=True)):
            there[place] = key
        else:
            beyond += 1
    return there, beyond


def _refuse_sizes(
    folder: Path, files: Sequence[tuple[str, int]], expected: int, chunk_bytes: int
) -> None:
    if expected and not files:
        raise StackTruncated(f"{folder}: none of its {expected} chunk files is there; restore them")
    if expected > _MANY_CHUNKS and expected > _FEW_THERE * len(files):
        raise StackTruncated(
            f"{folder}: {len(files)} of its {expected} chunk files are there; its metadata is "
            "damaged, or they were lost"
        )
    empty = next((key for key, size in files if size == 0), None)
    if empty is not None:
        raise StackTruncated(f"{folder}: its chunk file {empty} is empty; restore it")
    largest = max((size for _, size in files), default=0)
    if chunk_bytes > _LARGE_CHUNK and chunk_bytes > _MOST_COMPRESSION * largest:
        raise StackUnreadable(
            f"{folder}: its metadata speaks of chunks of {chunk_bytes} bytes, its largest file "
            f"has {largest}; the metadata is damaged"
        )


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
        raise damaged(folder, error) from error


def _listed(folder: Path, within: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                refuse_link_out(Path(entry.path), within)
            if not entry.is_dir():
                yield prefix + entry.name, entry.stat().st_size
            elif entry.is_symlink():  # may lead to a folder around it, without end
                raise StackUnreadable(f"{entry.path}: a link to a folder; put a copy in its place")
            else:
                yield from _listed(Path(entry.path), within, f"{prefix}{entry.name}/")


def _names(names: object) -> tuple[str, ...]:
    return tuple(str(n) for n in names) if isinstance(names, (list, tuple)) else ()


def damaged(folder: Path, error: Exception, where: str = "") -> StackUnreadable:
    """What to raise where zarr fails at an array, or at the part of it that `where` names."""
    if isinstance(error, OSError) and error.strerror:  # the system's; zarr's own have none
        return cannot_read(folder, error)
    return StackUnreadable(
        f"{folder}{where}: zarr cannot read it ({one_line(error)}); restore the damaged files"
    )
