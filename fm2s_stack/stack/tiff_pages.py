"""Sources of TIFF pages: plain samples read at known offsets, others decoded by tifffile.

No file stays open between reads and none is mapped into memory: a source pickles, may be read
from many threads and processes, and a file cut off while it is read is an error, not a signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable
from fm2s_stack.stack.pages import PageSource
from fm2s_stack.stack.reader import cannot_read, one_line

if TYPE_CHECKING:
    import tifffile

_JPEG = 7  # of Technical Note 2; strips of the older kind need not end in a marker
_JPEG_END, _JPEG_TAIL = b"\xff\xd9", 64  # some writers pad with zeros


@dataclass(frozen=True, eq=False)
class RawPages:
    """Pages of plain samples, each one run of bytes."""

    path: Path  #: the file
    offsets: NDArray[np.int64]  #: where each page begins, bytes
    page_shape: tuple[int, int]  #: rows, columns
    stored: np.dtype  #: pixel type as stored, with its byte order

    @property
    def dtype(self) -> np.dtype:
        """Pixel type, in native byte order."""
        return self.stored.newbyteorder("=")

    def read(self, pages: NDArray[np.int64]) -> NDArray[np.generic]:
        """Pixels of the pages, shape (n, y, x); neighbours in the file are read as one run.

        Raises
        ------
        StackTruncated
            If the file ends before a page does.
        StackUnreadable
            If the file cannot be read.
        """
        result = np.empty((len(pages), *self.page_shape), self.stored)
        offsets = self.offsets[pages]
        page_bytes = result[:1].nbytes
        cuts = np.flatnonzero(np.diff(offsets) != page_bytes) + 1
        try:
            with self.path.open("rb", buffering=0) as file:
                for run in np.split(np.arange(len(pages)), cuts) if len(pages) else ():
                    part = result[run[0] : run[-1] + 1]
                    got = _fill(file, int(offsets[run[0]]), part)
                    if got < part.nbytes:
                        raise self._cut_off(int(pages[run[0] + got // page_bytes]))
        except OSError as error:
            raise cannot_read(self.path, error) from error
        native: NDArray[np.generic] = result.astype(self.dtype, copy=False)
        return native

    def _cut_off(self, page: int) -> StackTruncated:
        return StackTruncated(
            f"{self.path}: the file ends inside page {page} (from 0); it was cut off since it was "
            "opened, or is still being copied"
        )


def _fill(file: BinaryIO, offset: int, part: NDArray[np.generic]) -> int:
    view = part.reshape(-1).view(np.uint8)
    file.seek(offset)
    got = 0
    # One read returns at most 2 GiB on Linux.
    while got < len(view):
        count = file.readinto(view[got:].data)  # type: ignore[attr-defined]
        if not count:
            break
        got += count
    return got


@dataclass(frozen=True, eq=False)
class DecodedPages:
    """Pages that are compressed, tiled, packed or in scattered strips."""

    path: Path  #: the file
    ifds: NDArray[np.int64]  #: where the directory of each page begins, bytes
    page_shape: tuple[int, int]  #: rows, columns
    dtype: np.dtype  #: pixel type, in native byte order

    def read(self, pages: NDArray[np.int64]) -> NDArray[np.generic]:
        """Pixels of the pages, shape (n, y, x).

        Raises
        ------
        StackUnreadable
            If a page cannot be decoded, or decodes to another shape or type.
        """
        import tifffile

        result = np.empty((len(pages), *self.page_shape), self.dtype)
        # A handle of its own costs a millisecond a block and spares locks and stale handles.
        try:
            with tifffile.TiffFile(self.path) as tiff:
                for i, page in enumerate(pages):
                    result[i] = self._decoded(tiff, int(page))
        except StackError:
            raise
        except OSError as error:
            raise cannot_read(self.path, error) from error
        except Exception as error:
            raise self._undecodable(f"{type(error).__name__}: {one_line(error)}") from error
        return result

    def _decoded(self, tiff: tifffile.TiffFile, page: int) -> NDArray[np.generic]:
        import tifffile

        try:
            tiff.filehandle.seek(int(self.ifds[page]))
            found = tifffile.TiffPage(tiff, index=page)
            refuse_cut_jpeg(tiff, found)
            pixels: NDArray[np.generic] = found.asarray(maxworkers=1)
        except Exception as error:
            reason = f"page {page} (from 0): {type(error).__name__}: {one_line(error)}"
            raise self._undecodable(reason) from error
        # Several strips of one row each, or one row: tifffile drops axes of length one.
        if pixels.size != self.page_shape[0] * self.page_shape[1] or pixels.dtype != self.dtype:
            raise self._undecodable(
                f"page {page} (from 0) decodes to {pixels.shape} {pixels.dtype}, expected "
                f"{self.page_shape} {self.dtype}"
            )
        return pixels.reshape(self.page_shape)

    def _undecodable(self, reason: str) -> StackUnreadable:
        return StackUnreadable(f"{self.path}: cannot be decoded: {reason}; the file may be damaged")


def refuse_cut_jpeg(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse strips or tiles of JPEG that end early, which libjpeg fills up with grey.

    Raises
    ------
    ValueError
        Where one lacks its marker of the end.
    """
    if int(page.compression) != _JPEG:
        return
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        tail = min(count, _JPEG_TAIL)
        tiff.filehandle.seek(offset + count - tail)
        if not tiff.filehandle.read(tail).rstrip(b"\0").endswith(_JPEG_END):
            raise ValueError(f"a JPEG of {count} bytes at byte {offset} was cut off")


@dataclass(frozen=True, eq=False)
class JoinedPages:
    """Pages of several sources in a row."""

    sources: tuple[PageSource, ...]  #: all of one page shape and dtype
    first: NDArray[np.int64]  #: number of the first page of each source, ascending from 0

    @property
    def page_shape(self) -> tuple[int, int]:
        """Rows and columns of a page."""
        return self.sources[0].page_shape

    @property
    def dtype(self) -> np.dtype:
        """Pixel type, in native byte order."""
        return self.sources[0].dtype

    def read(self, pages: NDArray[np.int64]) -> NDArray[np.generic]:
        """Pixels of the pages, shape (n, y, x).

        Raises
        ------
        StackError
            As the source of a page does.
        """
        owner = np.searchsorted(self.first, pages, side="right") - 1
        if len(pages) and (owner == owner[0]).all():
            source: PageSource = self.sources[owner[0]]
            return source.read(pages - self.first[owner[0]])
        result: NDArray[np.generic] = np.empty((len(pages), *self.page_shape), self.dtype)
        for number in np.unique(owner):
            here = owner == number
            result[here] = self.sources[number].read(pages[here] - self.first[number])
        return result


def joined(sources: list[PageSource], counts: list[int]) -> PageSource:
    """One source of the pages of all, `counts` of each."""
    if len(sources) == 1:
        return sources[0]
    return JoinedPages(tuple(sources), np.cumsum([0, *counts[:-1]]).astype(np.int64))
