"""The page directories of a TIFF file, read strictly.

tifffile walks the same chain, but ends it with a log line where a truncated file ends it, and
takes the shape of later pages from the first. A recording that lost pages must be an error, and
every page must be known to lie inside the file, so the chain is walked here and pages are
decoded by tifffile. After TIFF 6.0 (Adobe 1992), section 2, and the BigTIFF design of libtiff.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated, StackUnreadable

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
)
DESCRIPTION, STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_COUNTS = 270, 273, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, SOFTWARE, ARTIST = 282, 283, 296, 305, 315
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 317, 322, 323, 324, 325
SAMPLE_FORMAT = 339
DEPTH, METAMORPH, MICROMANAGER = 32997, 33629, 51123
FAX = (2, 3, 4)  # compressions of one-bit images; tifffile makes zeros and ones of any type
FORMAT_CODES: tuple[int, ...] = (
    *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES),
    *(STRIP_ROWS, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT, DEPTH),
)
_ONE_EACH_SAMPLE = (BITS, SAMPLE_FORMAT)

# Bytes of a value by its type: TIFF 6.0 page 15; 13 and 16 to 18 are IFD and BigTIFF types.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_INTEGERS = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic TIFF and BigTIFF
_MOST_TAGS = 4096
_READ_AHEAD = 1024

Entry = tuple[int, int, bytes]  # type, count, value or offset as stored


@dataclass(frozen=True)
class PageFormat:
    """What pages must share to be one stack, and how their bytes are stored."""

    shape: tuple[int, int]  #: rows, columns
    bits: int  #: bits of a sample as stored
    kind: int  #: SampleFormat: 1 unsigned, 2 signed, 3 float, 5 and 6 complex
    samples: int  #: values of a pixel; more than one is colour
    photometric: int  #: PhotometricInterpretation: 0 and 1 are grey, 3 has a colour table
    plain: bool  #: uncompressed strips of whole bytes without predictor
    thumbnail: bool  #: a reduced image or mask beside the recording
    depth: int  #: planes inside one page (SGI ImageDepth)
    # These are not in the repr, which identities of inputs are hashed over: outputs remember those.
    segment_rows: int = field(repr=False)  #: rows of a strip or tile
    segment_columns: int = field(repr=False)  #: columns of a strip (those of the page) or tile
    compression: int = field(repr=False)  #: code of the compression; 1: none

    @property
    def page_bytes(self) -> int:
        """Bytes of the samples of a page, unpacked to whole bytes."""
        return self.shape[0] * self.shape[1] * self._pixel_bytes

    @property
    def segments(self) -> int:
        """Strips or tiles that cover a page of one sample a pixel."""
        down = math.ceil(self.shape[0] / self.segment_rows)
        return down * math.ceil(self.shape[1] / self.segment_columns)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all strips or tiles of a page, unpacked, with what tiles have over its edge."""
        return self.segments * self.segment_rows * self.segment_columns * self._pixel_bytes

    @property
    def _pixel_bytes(self) -> int:
        size = max(1, 1 << max(0, (self.bits - 1).bit_length() - 3))
        return self.samples * self.depth * size


class TiffBytes:
    """An open TIFF file of either size and byte order, that never reads past its end.

    Parameters
    ----------
    file
        Open for reading, unbuffered.
    path
        Its name, for messages.

    Raises
    ------
    StackUnreadable
        If the first bytes are not those of a TIFF.
    StackTruncated
        If it is empty, ends within its header, or a read would pass its end.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.size = file.seek(0, 2)
        head = self.at(0, min(16, self.size), "header")
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        magic = int.from_bytes(head[2:4], "little" if self.order == "<" else "big")
        self._check_header(head, magic)
        self.big = magic == 43
        self.word = struct.Struct(self.order + ("Q" if self.big else "I"))
        self.number = struct.Struct(self.order + ("Q" if self.big else "H"))
        self.entry = "HHQ8s" if self.big else "HHI4s"
        self.entry_size = 20 if self.big else 12
        self.first = self.word.unpack_from(head, 8 if self.big else 4)[0]

    def _check_header(self, head: bytes, magic: int) -> None:
        if not head:
            raise StackTruncated(f"{self.path}: the file is empty (0 bytes); copy it again")
        begun = len(head) < 4 and any(start.startswith(head) for start in _STARTS)
        if begun or (head[:4] in _STARTS and len(head) < (8 if magic == 42 else 16)):
            raise StackTruncated(
                f"{self.path}: the file ends at byte {len(head)}, within the header of a TIFF; it "
                "is truncated: copy it again"
            )
        if head[:4] not in _STARTS:
            raise StackUnreadable(
                f"{self.path}: begins with {head[:4]!r}, not as a TIFF; give a TIFF, OME-Zarr or "
                "image"
            )

    def at(self, offset: int, length: int, what: str) -> bytes:
        """Exactly `length` bytes from `offset`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise StackTruncated(
                f"{self.path}: the {what} would lie at bytes {offset} to {offset + length}, but "
                f"the file ends at {self.size}; it is truncated or damaged: copy it again"
            )
        self.file.seek(offset)
        data = self.file.read(length)
        if len(data) != length:
            raise StackTruncated(f"{self.path}: the {what} ends early at byte {offset + len(data)}")
        return data

    def directory(self, offset: int, page: int) -> tuple[dict[int, Entry], int]:
        """Entries of the directory at `offset` by tag (the first of a tag), and the next offset."""
        what = f"directory of page {page}"
        data = self.at(offset, min(_READ_AHEAD, max(0, self.size - offset)), what)
        head, word = self.number.size, self.word.size
        if len(data) < head:
            self.at(offset, head, what)
        count = self.number.unpack_from(data)[0]
        if not 0 < count <= _MOST_TAGS:
            raise StackUnreadable(
                f"{self.path}: the {what} at byte {offset} claims {count} tags; the file is damaged"
            )
        length = head + count * self.entry_size + word
        if length > len(data):
            data = self.at(offset, length, what)
        flat = struct.unpack_from(self.order + self.entry * count, data, head)
        entries: dict[int, Entry] = {}
        for i in range(0, 4 * count, 4):
            entries.setdefault(flat[i], flat[i + 1 : i + 4])
        return entries, self.word.unpack_from(data, length - word)[0]

    def raw(self, entry: Entry, what: str) -> bytes:
        """Bytes of the values of an entry."""
        kind, count, value = entry
        length = _SIZES.get(kind, 1) * count
        if length <= len(value):
            return value[:length]
        return self.at(self.word.unpack(value)[0], length, what)

    def integers(self, entry: Entry, what: str) -> NDArray[np.int64]:
        """Values of an entry of unsigned integers of 16 bits or more, which tifffile reads too."""
        if entry[0] not in _INTEGERS or entry[1] < 1:
            raise StackUnreadable(
                f"{self.path}: the {what} have type {entry[0]} and count {entry[1]}, not integers"
            )
        values = np.frombuffer(self.raw(entry, what), self.order + _INTEGERS[entry[0]])
        return values.astype(np.int64)

    def rational(self, entry: Entry | None) -> float | None:
        """Value of an entry that is one fraction; None if absent or not finite."""
        if entry is None or entry[0] != 5 or entry[1] < 1:
            return None
        above, below = struct.unpack(self.order + "II", self.raw(entry, "resolution")[:8])
        return above / below if below else None

    def text(self, entry: Entry | None, what: str) -> str:
        """Value of an entry as text, UTF-8 or else Latin-1, up to its trailing zeros."""
        if entry is None or entry[0] not in (1, 2, 7):
            return ""
        data = self.raw(entry, what).rstrip(b"\0")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")


def page_format(tiff: TiffBytes, entries: dict[int, Entry], page: int) -> PageFormat:
    """What the tags of a page say about its pixels.

    Raises
    ------
    StackUnreadable
        If rows or columns are missing or zero, also those of strips or tiles, or a tag has several
        values where one is meant.
    """

    def first(code: int, default: int) -> int:
        if code not in entries:
            return default
        values = tiff.integers(entries[code], f"tag {code} of page {page}")
        if len(values) > 1 and code not in _ONE_EACH_SAMPLE:
            raise StackUnreadable(
                f"{tiff.path}: tag {code} of page {page} has {len(values)} values, expected one; "
                "the file is damaged"
            )
        return int(values[0])

    width, height = first(WIDTH, 0), first(HEIGHT, 0)
    if width < 1 or height < 1:
        raise StackUnreadable(
            f"{tiff.path}: page {page} has {height} rows and {width} columns; no y and x to denoise"
        )
    bits = first(BITS, 1)
    if BITS in entries and len(set(tiff.integers(entries[BITS], "bits per sample"))) > 1:
        bits = 0
    plain = (first(COMPRESSION, 1), first(PREDICTOR, 1), first(FILL_ORDER, 1)) == (1, 1, 1)
    tiled = TILE_WIDTH in entries
    rows = first(TILE_HEIGHT, 0) if tiled else min(first(STRIP_ROWS, height), height)
    columns = first(TILE_WIDTH, 0) if tiled else width
    if rows < 1 or columns < 1:
        raise StackUnreadable(
            f"{tiff.path}: page {page} has strips or tiles of {rows} rows and {columns} columns; "
            "the file is damaged"
        )
    return PageFormat(
        shape=(height, width),
        bits=bits,
        kind=first(SAMPLE_FORMAT, 1),
        samples=first(SAMPLES, 1),
        photometric=first(PHOTOMETRIC, 1),
        plain=plain and bits in (8, 16, 32, 64) and not tiled,
        thumbnail=bool(first(SUBFILE, 0) & 0b101),
        depth=first(DEPTH, 1),
        segment_rows=rows,
        segment_columns=columns,
        compression=first(COMPRESSION, 1),
    )
