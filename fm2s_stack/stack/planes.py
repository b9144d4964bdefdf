"""One grey plane of one TIFF, PNG or JPEG file."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable, UnsupportedPixels
from fm2s_stack.stack.ifd import FAX
from fm2s_stack.stack.reader import cannot_read, one_line
from fm2s_stack.stack.tiff_pages import refuse_cut_jpeg

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_PNG_COLOURS = {2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
# Deflate cannot pack tighter, and JPEG spends two bits on a block of 64: a header that
# promises more pixels is damaged, and decoding it would take memory for nothing.
_MAX_RATIO = 1032
_MAX_TIFF_RATIO = 5000
_LARGE_PAGE = 64 * 2**20


@dataclass(frozen=True)
class PlaneInfo:
    """What the header of a plane says."""

    format: str  #: ``"TIFF"``, ``"PNG"`` or ``"JPEG"``
    shape: tuple[int, int]  #: rows and columns
    dtype: np.dtype  #: pixel type, native byte order
    only: bool  #: whether the file has no other page


def inspect_plane(file: Path, page: int = 0) -> PlaneInfo:
    """Shape and pixel type of a page, from its header alone.

    Raises
    ------
    UnsupportedPixels
        If the page is not grey: RGB, a palette, alpha, fewer than 8 bits in a PNG.
    StackError
        If the file is damaged or no TIFF, PNG or JPEG.
    """
    with _one_line(file), file.open("rb") as stream:
        head = stream.read(32)
        if not head:
            raise StackTruncated(f"{file}: the file is empty (0 bytes); copy it again")
        info = _info(file, head, page)
        if 0 in info.shape:
            raise StackUnreadable(f"{file}: holds no pixels ({_words(info)}); restore the file")
        return info


def _info(file: Path, head: bytes, page: int) -> PlaneInfo:
    if head.startswith(b"\x89PNG"):
        return _png_info(file, head)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_info(file)
    with _tiff(file) as tif:
        return _tiff_info(file, tif, _page(file, tif, page))


def read_planes(file: Path, pages: list[int], expected: PlaneInfo) -> list[NDArray[np.generic]]:
    """Pixels of pages of one file, each (y, x) in native byte order.

    Parameters
    ----------
    file
        A TIFF, or with ``pages == [0]`` a PNG or JPEG.
    pages
        Page numbers in the file, from 0.
    expected
        What every page has to be; with ``only``, files with further pages are refused.

    Raises
    ------
    StackError
        Naming the file, if a page is damaged, cut short, not grey or not as expected.
    """
    with _one_line(file):
        if expected.format != "TIFF":
            found = inspect_plane(file)
            _refuse_other(file, found, expected)
            return [_decode_image(file, found) for _ in pages]
        with _tiff(file) as tif:
            return [_tiff_plane(file, tif, page, expected) for page in pages]


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn whatever the libraries raise on a damaged file into one error that names it."""
    try:
        yield
    except StackError:
        raise
    except FileNotFoundError as error:
        raise StackTruncated(f"{file}: the file is not there any more; restore it") from error
    except Exception as error:  # decoders raise their own classes, of no common root
        if isinstance(error, OSError) and error.strerror:  # the system's; decoders give none
            raise cannot_read(file, error) from error
        raise StackUnreadable(
            f"{file}: damaged or not the image it is named ({one_line(error)})"
        ) from error


def _refuse_other(file: Path, found: PlaneInfo, expected: PlaneInfo) -> None:
    if expected.only and not found.only:
        raise StackUnreadable(f"{file}: has several pages, the first file of the sequence has one")
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        raise StackUnreadable(
            f"{file}: {_words(found)}, but the first file of the sequence has {_words(expected)}; "
            "all must be alike"
        )


def _words(info: PlaneInfo) -> str:
    return f"{info.shape[0]}x{info.shape[1]} {info.dtype}"


def _refuse_colour(file: Path, colour: str) -> UnsupportedPixels:
    return UnsupportedPixels(
        f"{file}: pixels are {colour}, expected one grey value each; convert to grey, or split "
        "the colours into channels"
    )


def _png_info(file: Path, head: bytes) -> PlaneInfo:
    if len(head) < 26 or head[12:16] != b"IHDR":
        raise StackTruncated(f"{file}: the PNG ends within its header; restore the file")
    columns, rows, bits, colour = struct.unpack(">IIBB", head[16:26])
    if colour in _PNG_COLOURS or bits not in (8, 16):
        raise _refuse_colour(file, _PNG_COLOURS.get(colour, f"{bits}-bit grey"))
    _refuse_bomb(file, rows * columns * bits // 8)
    return PlaneInfo("PNG", (rows, columns), np.dtype(f"u{bits // 8}"), True)


def _jpeg_info(file: Path) -> PlaneInfo:
    from PIL import Image

    with Image.open(file) as image:
        columns, rows = image.size
        if image.mode != "L":
            raise _refuse_colour(file, image.mode)
    _refuse_bomb(file, rows * columns)
    return PlaneInfo("JPEG", (rows, columns), np.dtype("u1"), True)


def _refuse_bomb(file: Path, size: int) -> None:
    stored = file.stat().st_size
    if size > stored * _MAX_RATIO:
        raise StackTruncated(
            f"{file}: {stored} bytes cannot hold the {size} bytes of pixels its header gives; "
            "restore the file"
        )


def _decode_image(file: Path, info: PlaneInfo) -> NDArray[np.generic]:
    if info.format == "PNG":
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(file.read_bytes()))
    # libjpeg fills what is missing of a truncated file with grey; Pillow raises.
    from PIL import Image

    with Image.open(file) as image:
        return np.array(image)


def _tiff(file: Path) -> TiffFile:
    """The file, with its OME-XML left unread: it may name siblings, and costs time."""
    import tifffile

    return tifffile.TiffFile(file, is_ome=False)


def _page(file: Path, tif: TiffFile, number: int) -> TiffPage:
    try:
        return tif.pages[number].aspage()
    except IndexError as error:
        raise StackTruncated(
            f"{file}: has no page {number + 1}; restore the file from the microscope"
        ) from error


def _tiff_info(file: Path, tif: TiffFile, page: TiffPage) -> PlaneInfo:
    if page.samplesperpixel > 1 or page.photometric in (2, 3, 5, 6, 8):
        raise _refuse_colour(file, getattr(page.photometric, "name", str(page.photometric)))
    if int(page.compression) in FAX:
        raise _refuse_colour(file, "black or white (fax compression)")
    if page.axes != "YX" or page.dtype is None:
        raise StackUnreadable(f"{file}: page has the axes {page.axes or 'none'}, expected YX")
    rows, columns = page.shape
    decoded = math.prod(page.chunked) * math.prod(page.chunks) * page.dtype.itemsize
    if decoded > _LARGE_PAGE and decoded > _MAX_TIFF_RATIO * tif.filehandle.size:
        raise StackUnreadable(
            f"{file}: claims a page of {rows}x{columns} in strips or tiles of {page.chunks}, and "
            f"has {tif.filehandle.size} bytes; it is damaged"
        )
    return PlaneInfo("TIFF", (rows, columns), page.dtype.newbyteorder("="), _is_single(tif))


def _is_single(tif: TiffFile) -> bool:
    """Whether the file holds one plane, counting those ImageJ keeps without a directory."""
    return not tif.pages.is_multipage and (tif.imagej_metadata or {}).get("images", 1) == 1


def _tiff_plane(file: Path, tif: TiffFile, number: int, expected: PlaneInfo) -> NDArray[np.generic]:
    page = _page(file, tif, number)
    _refuse_other(file, _tiff_info(file, tif, page), expected)
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    # tifffile reads segments without bytes, and those that are not there, as zeros.
    whole = page.is_contiguous or len(ends) == math.prod(page.chunked)
    if not ends or not whole or 0 in page.databytecounts or max(ends) > tif.filehandle.size:
        raise StackTruncated(
            f"{file}: page {number + 1} lacks pixels ({tif.filehandle.size} bytes, "
            f"{max(ends, default=0)} expected); restore the file"
        )
    refuse_cut_jpeg(tif, page)
    return np.asarray(page.asarray(), dtype=expected.dtype)
