"""Boxes of whole files in a zarr array: their keys, and their writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError

if TYPE_CHECKING:
    import zarr

ZarrFormat = Literal[2, 3]
Span = tuple[int, int]

KEY_ENCODING: Mapping[ZarrFormat, dict[str, Any]] = {
    2: {"name": "v2", "separator": "/"},
    3: {"name": "default", "separator": "/"},
}


def compressors(version: ZarrFormat) -> list[Any]:
    """Codecs after the bytes: blosc lz4 with bit shuffle, and in zarr 3 a crc32c of each chunk.

    zarr 2 gets no checksum: its older readers know blosc only.
    """
    if version == 2:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        return [Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)]
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]


def file_keys(
    name: str, box: Sequence[Span], shape: Sequence[int], file: Sequence[int], version: ZarrFormat
) -> tuple[str, ...]:
    """Store keys of the files that a box covers, in C order.

    Parameters
    ----------
    name
        Path of the array in the store.
    box
        Start and stop along each axis.
    shape
        Of the array.
    file
        Pixels of one file along each axis: the shard's shape, or the chunk's if not sharded.
    version
        Of the zarr format; it decides how keys are spelled.

    Raises
    ------
    OutputError
        If the box covers a file only in part: two writers of one file lose pixels silently
        (https://github.com/zarr-developers/zarr-python/issues/3682).
    """
    for (start, stop), length, side in zip(box, shape, file, strict=True):
        if start % side or (stop % side and stop != length) or not 0 <= start < stop <= length:
            raise OutputError(
                f"{name}: the box {tuple(box)} does not cover whole files of {tuple(file)} pixels"
                f" in an array of {tuple(shape)}; plan units that do"
            )
    grid = product(*(range(a // n, -(-b // n)) for (a, b), n in zip(box, file, strict=True)))
    prefix = f"{name}/c" if version == 3 else name
    return tuple("/".join([prefix, *map(str, place)]) for place in grid)


def unlink_keys(root: str | Path, keys: Sequence[str]) -> None:
    """Remove files of a store, where they are.

    Needed before they are written again: zarr decodes the old shard even when all of it is
    overwritten, so that a torn one would fail every attempt
    (https://github.com/zarr-developers/zarr-python/issues/3682).
    """
    for key in keys:
        (Path(root) / key).unlink(missing_ok=True)


def missing_keys(root: str | Path, array: zarr.Array, name: str) -> list[str]:
    """Keys of the files of an array that are not there. zarr would read each as zeros."""
    box = [(0, length) for length in array.shape]
    file = array.shards or array.chunks
    keys = file_keys(name, box, array.shape, file, array.metadata.zarr_format)
    return [key for key in keys if not (Path(root) / key).is_file()]


def write_box(
    root: str | Path, name: str, box: Sequence[Span], pixels: NDArray[np.generic]
) -> tuple[str, ...]:
    """Write whole files of an array of an output.

    Safe from several threads and processes at a time as long as the boxes are disjoint. A
    file that was there is removed first; a new one appears whole, but is not flushed.

    Parameters
    ----------
    root
        The output's folder.
    name
        Path of the array in it.
    box
        Start and stop along each axis of the array.
    pixels
        Shape of the box, dtype of the array.

    Returns
    -------
    tuple of str
        Keys of the files written, relative to `root`. All of them exist, even for zeros.

    Raises
    ------
    OutputError
        If shape, dtype or box do not fit the array, or it cannot be written.
    """
    import zarr

    try:
        array = zarr.open_array(str(Path(root) / name), mode="r+")
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{root}: the array {name} cannot be opened: {error}") from error
    expected = tuple(stop - start for start, stop in box)
    if pixels.shape != expected or pixels.dtype != array.dtype:
        raise OutputError(
            f"{root}: {name} takes {array.dtype} of shape {expected} here,"
            f" not {pixels.dtype} of shape {pixels.shape}"
        )
    file = array.shards or array.chunks
    keys = file_keys(name, box, array.shape, file, array.metadata.zarr_format)
    try:
        unlink_keys(root, keys)
        # Chunks of zeros are left out unless the opened array is told otherwise; the config
        # argument of open_array is ignored (zarr 3.1.6).
        full = array.with_config({"write_empty_chunks": True})
        full[tuple(slice(start, stop) for start, stop in box)] = pixels
    except OSError as error:
        raise OutputError(f"{root}: {name} cannot be written: {error}; free space?") from error
    return keys
