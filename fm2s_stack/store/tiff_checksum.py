"""A checksum over every byte of an exported TIFF, kept in its OME-XML beside the provenance.

It is the CRC-32 of all that is not pixels, with zeros where the checksum itself stands, and
then of the CRC-32 of each page's pixels, little-endian: pages are written in no order.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from fm2s_stack.errors import OutputError

NAME = "fm2s_stack_checksum"  #: of the annotation
NOTHING = "00000000"  #: what stands there until the pixels are written
_FIELD = re.compile(rf'"{NAME}">([0-9a-f]{{8}})<'.encode())
_PIECE = 2**24  # bytes read at a time


def put_checksum(file: BinaryIO, offset: int, page_bytes: int, pages: Sequence[int]) -> None:
    """Write the checksum into a TIFF that is otherwise whole.

    Parameters
    ----------
    file
        Open for reading and writing.
    offset
        Where the pixels start; they are contiguous.
    page_bytes
        Of one page.
    pages
        CRC-32 of each page's pixels, in their order.

    Raises
    ------
    OutputError
        If the place for it is not in the file.
    """
    rest, (_, place) = _rest(file, offset, page_bytes * len(pages))
    file.seek(place)
    file.write(_text(rest, pages))


def checksums(
    path: str | Path, check: Callable[[int], None] = lambda done: None
) -> tuple[str, str] | None:
    """The checksum that an exported TIFF has in it, and that of its bytes now.

    Parameters
    ----------
    path
        The file.
    check
        Called with the bytes read, every few of them; raises to stop.

    Returns
    -------
    tuple of str, or None
        None if there is no checksum in it.

    Raises
    ------
    Exception
        Of any kind, if it is damaged so that it is no TIFF any more.
    """
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        page, series = tif.pages.first, tif.series[0]
        offset, page_bytes = int(page.dataoffsets[0]), int(page.nbytes)
        count = int(series.nbytes) // page_bytes
    with Path(path).open("rb") as file:
        try:
            rest, (told, _) = _rest(file, offset, page_bytes * count)
        except OutputError:
            return None
        file.seek(offset)
        pages = [_read_page(file, page_bytes, check) for _ in range(count)]
    return told.decode(), _text(rest, pages).decode()


def _read_page(file: BinaryIO, page_bytes: int, check: Callable[[int], None]) -> int:
    crc, left = 0, page_bytes
    while left and (piece := file.read(min(left, _PIECE))):
        crc, left = zlib.crc32(piece, crc), left - len(piece)
        check(len(piece))
    return crc


def _rest(file: BinaryIO, offset: int, pixel_bytes: int) -> tuple[int, tuple[bytes, int]]:
    """CRC-32 of all but the pixels, and the checksum in it with its place in the file."""
    file.seek(0)
    head = file.read(offset)
    file.seek(0, os.SEEK_END)
    file.seek(min(offset + pixel_bytes, file.tell()))
    start, tail = file.tell(), file.read()
    found = [(m, 0) for m in _FIELD.finditer(head)]
    found += [(m, start - len(head)) for m in _FIELD.finditer(head + tail, len(head))]
    if len(found) != 1:
        raise OutputError(f"{file.name}: {len(found)} places for its checksum, expected 1")
    field, shift = found[0]
    whole = bytearray(head + tail)
    whole[slice(*field.span(1))] = NOTHING.encode()
    return zlib.crc32(whole), (field[1], field.start(1) + shift)


def _text(rest: int, pages: Sequence[int]) -> bytes:
    crc = zlib.crc32(b"".join(page.to_bytes(4, "little") for page in pages), rest)
    return f"{crc:08x}".encode()
