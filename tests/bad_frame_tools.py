"""Recordings with planes that cannot be read, for the tests of bad frames."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
import zarr

from fm2s_stack.errors import StackTruncated
from fm2s_stack.image import Image
from fm2s_stack.stack.base import Identity, Stack
from fm2s_stack.stack.pages import dask_from_pages
from fm2s_stack.stack.plane_reader import PagePlanes
from fm2s_stack.stack.reader import cannot_read
from fm2s_stack.stack.reading import Box

POLICIES = ("previous", "interpolate")


@dataclass(eq=False)
class Pages:
    """Pages in memory; some cannot be read, or not the first time."""

    pixels: np.ndarray
    bad: frozenset = frozenset()
    number: int | None = errno.EIO
    failures: int = 10**9
    reads: list = field(default_factory=list)

    @property
    def page_shape(self):
        return self.pixels.shape[1:]

    @property
    def dtype(self):
        return self.pixels.dtype

    def read(self, pages):
        self.reads += pages.tolist()
        damaged = self.bad & set(pages.tolist())
        if damaged and self.failures > 0:
            self.failures -= 1
            if self.number is None:
                raise StackTruncated(f"/some folder/movie.tif: page {min(damaged)} is cut")
            error = OSError(self.number, "as the system says", "movie.tif")
            raise cannot_read("movie.tif", error) from error
        return self.pixels[pages]


def stack_of(pages: Pages, shape, breaks=(), *, along_z=False) -> Stack:
    """A stack of (t, c, z) pages in C order."""
    numbers = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    array = dask_from_pages(pages, numbers, along_z=along_z)
    return Stack(
        path="movie.tif", format="fake", array=array, planes=PagePlanes(pages, numbers),
        image=Image("tczyx", array.shape, pages.dtype), identity=Identity("movie.tif", 0, 0.0, ""),
        channel_indices=tuple(range(shape[1])), breaks=tuple(breaks),
    )  # fmt: skip


def whole(stack: Stack, c: int = 0) -> Box:
    t, _, z, y, x = stack.array.shape
    return Box((0, t), c, (0, z), (0, y), (0, x))


def damage_page(path: Path, page: int) -> None:
    """Overwrite the compressed bytes of a page."""
    with tifffile.TiffFile(path) as tif:
        offset, size = tif.pages[page].dataoffsets[0], tif.pages[page].databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x11" * size)


def write_sharded(path: Path, pixels: np.ndarray) -> None:
    """A zarr array of TYX with shards of 4 frames of all 32 rows, chunks of one 16 x 16."""
    codecs = zarr.codecs
    array = zarr.create_array(
        str(path), shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 16, 16),
        shards=(4, 32, 32), dimension_names=("t", "y", "x"),
        compressors=(codecs.BloscCodec(cname="zstd"), codecs.Crc32cCodec()),
    )  # fmt: skip
    array[...] = pixels


def flip_bit_in_chunk(path: Path, shard: str, number: int) -> None:
    """Flip a bit in the middle of an inner chunk: the index is at the shard's end."""
    content = bytearray((path / shard).read_bytes())
    offset, size = np.frombuffer(content[-(16 * 16 + 4) : -4], "<u8").reshape(-1, 2)[number]
    content[int(offset) + int(size) // 2] ^= 1
    (path / shard).write_bytes(content)
