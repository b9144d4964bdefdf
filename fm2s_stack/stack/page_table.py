"""The table of pages of one TIFF file: where each lies, and what the first one says.

Everything that opening needs is in it, so that a saved table (`table_cache`) spares the walk.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated, StackUnreadable
from fm2s_stack.stack import ifd
from fm2s_stack.stack.ifd import Entry, PageFormat, TiffBytes
from fm2s_stack.stack.imagej_texts import imagej_texts

# SI 5 and later write one such line into the description of every page.
_SECONDS = re.compile(rb"(?:frameTimestamps_sec|Frame Timestamp\(s\))\s*=\s*([-+.\deE]+)")
_SECONDS_WITHIN = 1024
_SAMPLED_PAGES = 8
_MOST_SAMPLED_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class PageTable:
    """Pages of one file, in the order of its directories."""

    size: int  #: bytes of the file
    order: str  #: byte order of its samples, ``<`` or ``>``
    ifds: NDArray[np.int64]  #: offset of each page's directory
    starts: NDArray[np.int64]  #: offset of each page's first strip or tile
    counts: NDArray[np.int64]  #: bytes of the page if `raw`, else of its first strip or tile
    raw: NDArray[np.bool_]  #: whether the page is one run of plain samples
    formats: tuple[PageFormat, ...]  #: the different formats of pages
    format_of: NDArray[np.int64]  #: index into `formats` of each page
    segments: str  #: hash over the offset and byte count of every strip and tile
    seconds: NDArray[np.float64]  #: time of each page as ScanImage gives it; else empty
    resolution: tuple[float | None, float | None, int]  #: x, y pixels per unit, and the unit's tag
    texts: Mapping[str, str] = field(default_factory=dict)  #: text tags of the first page by name

    @property
    def description(self) -> str:
        """ImageDescription of the first page."""
        return self.texts.get("ImageDescription", "")


def scan(path: Path) -> PageTable:
    """Walk the page directories of a file.

    Raises
    ------
    StackTruncated
        If a directory, strip or tile does not lie inside the file.
    StackUnreadable
        If the file is no TIFF, its chain of directories loops, or a tag makes no sense.
    """
    with path.open("rb", buffering=0) as file:
        return _Walk(TiffBytes(file, path)).table()


class _Walk:
    def __init__(self, tiff: TiffBytes) -> None:
        self.tiff = tiff
        self.known: dict[tuple[Entry | None, ...], int] = {}
        self.formats: dict[PageFormat, int] = {}
        self.first: dict[int, Entry] = {}
        self.rows: list[tuple[int, int, int, bool, int]] = []
        self.descriptions: list[Entry | None] = []
        self.segments = hashlib.blake2b(digest_size=16)

    def table(self) -> PageTable:
        offset, seen = self.tiff.first, set[int]()
        if offset == 0:
            raise StackTruncated(
                f"{self.tiff.path}: has no page; the recording was not finished or is damaged"
            )
        while offset:
            if offset in seen:
                raise StackUnreadable(
                    f"{self.tiff.path}: the directory after page {len(self.rows) - 1} is that of "
                    "an earlier page; the file is damaged"
                )
            seen.add(offset)
            offset = self._page(offset)
        return self._collected()

    def _page(self, offset: int) -> int:
        page = len(self.rows)
        entries, following = self.tiff.directory(offset, page)
        self.first = self.first or entries
        raw_key = tuple(map(entries.get, ifd.FORMAT_CODES))
        number = self.known.get(raw_key)
        if number is None:
            found = ifd.page_format(self.tiff, entries, page)
            number = self.known[raw_key] = self.formats.setdefault(found, len(self.formats))
        start, count, raw = self._segments(entries, page, list(self.formats)[number])
        self.rows.append((offset, start, count, raw, number))
        self.descriptions.append(entries.get(ifd.DESCRIPTION))
        return following

    def _segments(
        self, entries: dict[int, Entry], page: int, form: PageFormat
    ) -> tuple[int, int, bool]:
        offsets, counts = self._runs(entries, page, form)
        self.segments.update(offsets.tobytes() + counts.tobytes())
        ends = offsets + counts
        # tifffile fills a strip of no bytes with zeros: nobody stored those.
        if offsets.min() <= 0 or counts.min() <= 0 or ends.min() < 0:
            raise StackTruncated(f"{self.tiff.path}: a strip or tile of page {page} was not stored")
        if ends.max() > self.tiff.size:
            raise StackTruncated(
                f"{self.tiff.path}: page {page} reaches byte {ends.max()}, but the file ends at "
                f"{self.tiff.size}; it is truncated: copy it again"
            )
        one_run = form.plain and len(offsets) == 1
        # tifffile leaves zeros where strips or tiles are missing.
        if len(offsets) != form.segments and form.samples == form.depth == 1 and not one_run:
            raise StackTruncated(
                f"{self.tiff.path}: page {page} has {len(offsets)} strips or tiles, "
                f"{form.segments} are needed; the file is damaged"
            )
        if not form.plain:
            return int(offsets[0]), int(counts[0]), False
        stored = int(counts.sum())
        if stored < form.page_bytes:
            raise StackTruncated(
                f"{self.tiff.path}: page {page} stores {stored} bytes, its "
                f"{form.shape[0]}x{form.shape[1]} samples of {form.bits} bit need {form.page_bytes}"
            )
        gapless = one_run or (stored == form.page_bytes and bool((offsets[1:] == ends[:-1]).all()))
        return int(offsets[0]), form.page_bytes if gapless else int(counts[0]), gapless

    def _runs(
        self, entries: dict[int, Entry], page: int, form: PageFormat
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        where = entries.get(ifd.STRIP_OFFSETS) or entries.get(ifd.TILE_OFFSETS)
        length = entries.get(ifd.STRIP_COUNTS) or entries.get(ifd.TILE_COUNTS)
        pairs = ((ifd.STRIP_OFFSETS, ifd.TILE_OFFSETS), (ifd.STRIP_COUNTS, ifd.TILE_COUNTS))
        twice = any(strips in entries and tiles in entries for strips, tiles in pairs)
        if where is None or twice:
            raise StackUnreadable(
                f"{self.tiff.path}: page {page} says {'twice' if twice else 'not'} where its "
                "pixels lie; the file is damaged"
            )
        offsets = self.tiff.integers(where, f"offsets of page {page}")
        if length is None and form.plain and len(offsets) == 1:
            return offsets, np.array([form.page_bytes])
        if length is None or length[1] != where[1]:
            raise StackUnreadable(
                f"{self.tiff.path}: page {page} has {where[1]} offsets and "
                f"{length[1] if length else 0} byte counts; the file is damaged"
            )
        return offsets, self.tiff.integers(length, f"byte counts of page {page}")

    def _collected(self) -> PageTable:
        planes = self.first.get(ifd.METAMORPH, (0, 1, b""))[1]
        if planes > len(self.rows):
            raise StackUnreadable(
                f"{self.tiff.path}: a MetaMorph STK of {planes} planes; save it as a plain TIFF"
            )
        ifds, starts, counts, raw, format_of = zip(*self.rows, strict=True)
        tiff, first = self.tiff, self.first
        unit = first.get(ifd.RESOLUTION_UNIT)
        return PageTable(
            size=tiff.size,
            order=tiff.order,
            ifds=np.array(ifds, np.int64),
            starts=np.array(starts, np.int64),
            counts=np.array(counts, np.int64),
            raw=np.array(raw, np.bool_),
            formats=tuple(self.formats),
            format_of=np.array(format_of, np.int64),
            segments=self.segments.hexdigest(),
            seconds=self._seconds(),
            resolution=(
                tiff.rational(first.get(ifd.X_RESOLUTION)),
                tiff.rational(first.get(ifd.Y_RESOLUTION)),
                int(tiff.integers(unit, "resolution unit")[0]) if unit else 1,
            ),
            texts={name: text for name, text in self._texts().items() if text},
        )

    def _texts(self) -> dict[str, str]:
        tags = {"ImageDescription": ifd.DESCRIPTION, "Software": ifd.SOFTWARE}
        tags |= {"Artist": ifd.ARTIST, "MicroManagerMetadata": ifd.MICROMANAGER}
        texts = {name: self.tiff.text(self.first.get(code), name) for name, code in tags.items()}
        texts |= imagej_texts(self.tiff, self.first)
        # Files of several `tifffile.imwrite` calls describe each series in its first page.
        page = shaped_pages(texts["ImageDescription"], list(self.formats)[self.rows[0][-1]].shape)
        while 0 < page < len(self.rows):
            text = texts[f"ImageDescription {page}"] = self._description(page)
            pages = shaped_pages(text, list(self.formats)[self.rows[page][-1]].shape)
            page = page + pages if pages else 0
        return texts

    def _description(self, page: int) -> str:
        return self.tiff.text(self.descriptions[page], f"description of page {page}")

    def _seconds(self) -> NDArray[np.float64]:
        found: list[float] = []
        for entry in self.descriptions:
            match = _SECONDS.search(self._head(entry)) if entry else None
            if match is None:
                return np.empty(0)
            found.append(_number(match[1]))
        return np.array(found)

    def _head(self, entry: Entry) -> bytes:
        kind, count, value = entry
        if kind != 2 or count <= len(value):
            return b""
        return self.tiff.raw((kind, min(count, _SECONDS_WITHIN), value), "description")


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def shaped_pages(description: str, page_shape: tuple[int, int]) -> int:
    """Pages of a series that tifffile wrote, from its ``{"shape": ...}``; 0 if it is not one."""
    shape = shaped_metadata(description).get("shape")
    if not isinstance(shape, list) or tuple(shape[-2:]) != page_shape:
        return 0
    return math.prod(shape[:-2])


def shaped_metadata(description: str) -> dict[str, object]:
    """What tifffile's own description says: ``shape`` (list of int) and perhaps ``axes``."""
    old = re.fullmatch(r"shape=\(([\d, ]+)\)", description)
    if old:
        return {"shape": [int(n) for n in old[1].split(",") if n.strip()]}
    if not description.startswith('{"shape":'):
        return {}
    try:
        found = json.loads(description)
    except ValueError:
        return {}
    lengths = found.get("shape")
    sane = isinstance(lengths, list) and all(type(n) is int and 0 < n < 2**40 for n in lengths)
    return found if sane else {}


def content_digest(path: Path, table: PageTable) -> bytes:
    """Hash over the size, the page table, the description and raw bytes of sampled pages."""
    digest = hashlib.blake2b(digest_size=32)
    digest.update(json.dumps([table.size, table.order, table.segments]).encode())
    for column in (table.ifds, table.starts, table.counts, table.format_of):
        digest.update(column.tobytes())
    for text in (repr(table.formats), *table.texts.values()):
        digest.update(text.encode("utf-8", "surrogatepass"))
    chosen = np.unique(np.linspace(0, len(table.ifds) - 1, _SAMPLED_PAGES).round().astype(int))
    with path.open("rb", buffering=0) as file:
        for page in chosen:
            file.seek(int(table.starts[page]))
            digest.update(file.read(min(int(table.counts[page]), _MOST_SAMPLED_BYTES)))
    return digest.digest()
