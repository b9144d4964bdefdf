"""zarr arrays read strictly: what was not stored is an error, where zarr gives something else.

zarr 3.1 takes an empty file, and a range of a shard that lies beyond its end, for a chunk that
was never written (``if chunk_bytes:`` in ``codecs/sharding.py``), and a file that is gone for one
too. Blosc reads as many bytes as its header says, whether they are there or not: a chunk that was
cut off decodes to whatever lies in memory behind it (https://github.com/Blosc/c-blosc,
``blosc_decompress`` is told no length; ``blosc_cbuffer_validate`` would be).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, ShardingCodec
from zarr.storage import LocalStore, StorePath

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_LARGE_READ = 64 * 2**20  # bytes
_BLOSC_HEADER = struct.Struct("<4B3I")  # versions, flags, typesize; nbytes, blocksize, cbytes


class DamagedChunk(ValueError):
    """Bytes of a chunk that are not there."""


def open_strictly(folder: Path, *, whole: bool) -> Any:  # noqa: ANN401 - zarr.Array
    """The array in `folder`, read-only; reading raises `DamagedChunk` where bytes are missing.

    Parameters
    ----------
    folder
        Of the array.
    whole
        Every chunk file was there when the array was inspected: one that is not is an error, not
        the fill value.
    """
    array = zarr.open_array(store=_StrictStore(folder, whole=whole), mode="r")
    metadata = array.metadata
    if metadata.zarr_format == 2:
        if not isinstance(metadata.compressor, numcodecs.Blosc):
            return array
        how = metadata.compressor.get_config()
        how.pop("id")
        metadata = replace(metadata, compressor=_Blosc(**how))
    else:
        metadata = replace(metadata, codecs=tuple(map(_checked, metadata.codecs)))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=StorePath(array.store)))


class _StrictStore(LocalStore):
    """The files of an array; refuses fewer bytes than were asked for."""

    def __init__(self, root: Path, *, whole: bool) -> None:
        super().__init__(root, read_only=True)
        self._whole = whole

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:  # noqa: ANN401
        """As `LocalStore.get`; `DamagedChunk` where bytes of a chunk are missing."""
        asked = _asked(byte_range)
        # Room for all that is asked for is taken before it is read.
        if asked > _LARGE_READ and asked > (size := (self.root / key).stat().st_size):
            raise DamagedChunk(f"a chunk of {asked} bytes in the file {key} of {size} bytes")
        found = await super().get(key, prototype, byte_range)
        if key.rpartition("/")[2] in _METADATA:
            return found
        if found is None and self._whole:
            raise DamagedChunk(f"the chunk file {key} is not there any more")
        if found is not None and len(found) < max(1, asked):
            raise DamagedChunk(
                f"the chunk file {key} ends early: {len(found)} of {max(1, asked)} bytes are there"
            )
        return found


def _asked(byte_range: object) -> int:
    if isinstance(byte_range, RangeByteRequest):
        return int(byte_range.end - byte_range.start)
    return int(byte_range.suffix) if isinstance(byte_range, SuffixByteRequest) else 0


def _checked(codec: Any) -> Any:  # noqa: ANN401 - zarr.abc.codec.Codec
    """The codec, with the check of Blosc's lengths also within shards."""
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_checked, codec.codecs)))
    if isinstance(codec, BloscCodec):
        return _BloscCodec(
            typesize=codec.typesize,
            cname=codec.cname,
            clevel=codec.clevel,
            shuffle=codec.shuffle,
            blocksize=codec.blocksize,
        )
    return codec


def _refuse_cut_off(chunk: Any) -> None:  # noqa: ANN401 - anything with the buffer protocol
    stored = memoryview(chunk).nbytes
    if stored < _BLOSC_HEADER.size:
        raise DamagedChunk(f"a Blosc chunk of {stored} bytes is shorter than its header")
    promised = _BLOSC_HEADER.unpack_from(memoryview(chunk).cast("B"))[-1]
    if promised > stored:
        raise DamagedChunk(f"a Blosc chunk ends early: {stored} of {promised} bytes are there")


class _BloscCodec(BloscCodec):
    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:  # noqa: ANN401
        _refuse_cut_off(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


class _Blosc(numcodecs.Blosc):  # type: ignore[misc]
    def decode(self, buf: Any, out: Any = None) -> Any:  # noqa: ANN401 - as numcodecs has it
        """As `numcodecs.Blosc.decode`; `DamagedChunk` where bytes are missing."""
        _refuse_cut_off(buf)
        return super().decode(buf, out)
