"""Which pages of one TIFF file make one stack, whether we can read them, and their source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated, StackUnreadable, UnsupportedPixels, UsageError
from fm2s_stack.stack import imagej
from fm2s_stack.stack.ifd import FAX, PageFormat
from fm2s_stack.stack.layout import check_count
from fm2s_stack.stack.page_table import PageTable, shaped_metadata, shaped_pages
from fm2s_stack.stack.pages import PageSource
from fm2s_stack.stack.tiff_pages import DecodedPages, RawPages

_PALETTE = 3
_LARGE_PAGE = 64 * 2**20
_MOST_COMPRESSION = 5000
_UNUSED = 2**20
_KINDS = {1: "u", 2: "i", 3: "f"}
_KIND_NAMES = {1: "uint", 2: "int", 3: "float", 5: "complex int", 6: "complex"}


@dataclass(frozen=True, eq=False)
class Series:
    """Equally shaped pages of one file."""

    path: Path  #: the file
    table: PageTable  #: all its pages
    pages: NDArray[np.int64]  #: pages of `table` that belong to the series
    source: PageSource  #: their pixels
    count: int  #: pages of `source`: more than `pages` where planes have no directory
    notes: tuple[str, ...] = ()  #: what was chosen or left out

    @property
    def description(self) -> str:
        """ImageDescription of the first page of the series."""
        first = int(self.pages[0])
        later = self.table.texts.get(f"ImageDescription {first}", "")
        return later if first else self.table.description

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Time of each page as ScanImage gives it; else empty."""
        times = self.table.seconds
        return times[self.pages] if len(times) and self.count == len(self.pages) else np.empty(0)


def choose_series(path: Path, table: PageTable, wanted: int | None) -> Series:
    """The pages to read of a file whose pages are one series, or several.

    Parameters
    ----------
    path, table
        The file and its pages.
    wanted
        Index of the series; None: the first, with a note if there are more.

    Raises
    ------
    UsageError
        If there is no such series.
    StackTruncated
        If there are fewer pages than the header promises.
    StackUnreadable
        If pages of different shapes are mixed.
    UnsupportedPixels
        If the pixels are not grey levels of a type we read.
    """
    kept = np.array([not table.formats[i].thumbnail for i in table.format_of])
    pages = np.flatnonzero(kept if kept.any() else ~kept)
    notes = [] if len(pages) == len(kept) else [f"{int((~kept).sum())} thumbnail(s) are left out"]
    groups = _groups(path, table, pages)
    if wanted is None and _is_one_stack(table, groups):
        chosen, note = pages, f"{len(groups)} series of equal pages are taken as one stack"
        note += f" (--series 0 to {len(groups) - 1} for one of them)"
    else:
        number, note = pick(len(groups), wanted, str(path))
        chosen = groups[number]
    form = table.formats[table.format_of[chosen[0]]]
    stored = pixel_type(form, table, path)
    notes += [note] * bool(note) + _colour_notes(form)
    planes = _planes_without_directory(path, table, chosen)
    if planes is not None:
        source: PageSource = RawPages(path, planes, form.shape, stored)
        return Series(path, table, chosen, source, len(planes), tuple(notes))
    notes += _unused_notes(table)
    return Series(path, table, chosen, page_source(path, table, chosen), len(chosen), tuple(notes))


def _is_one_stack(table: PageTable, groups: list[NDArray[np.int64]]) -> bool:
    """Whether series are the frames of a movie that was written a frame at a time.

    tifffile makes a series of every `write`; that is a stack where all pages are alike and
    no series names its axes.
    """
    alike = len({_key(table.formats[table.format_of[page]]) for group in groups for page in group})
    return len(groups) > 1 and alike == 1 and "axes" not in shaped_metadata(table.description)


def pick(count: int, wanted: int | None, path: str) -> tuple[int, str]:
    """Index of the series to read, and the note if there are others.

    Raises
    ------
    UsageError
        If there is no such series.
    """
    if wanted is not None and not 0 <= wanted < count:
        raise UsageError(f"--series {wanted}: {path} has {count} series, 0 to {count - 1}")
    if wanted is None and count > 1:
        note = f"holds {count} series or positions: taking the first (--series 0 to {count - 1})"
        return 0, note
    return wanted or 0, ""


def page_source(path: Path, table: PageTable, pages: NDArray[np.int64]) -> PageSource:
    """Source of some pages of a file, all of one shape and type.

    Raises
    ------
    UnsupportedPixels
        If the pixels are not grey levels of a type we read.
    StackUnreadable
        If the pages differ.
    """
    first = table.formats[table.format_of[pages[0]]]
    for number in np.unique(table.format_of[pages]):
        if _key(table.formats[number]) != _key(first):
            page = int(pages[np.argmax(table.format_of[pages] == number)])
            raise _mixed(path, page, table.formats[number], int(pages[0]), first)
        pixel_type(table.formats[number], table, path)  # how it is stored may differ
    stored = pixel_type(first, table, path)
    if table.raw[pages].all():
        return RawPages(path, table.starts[pages], first.shape, stored)
    return DecodedPages(path, table.ifds[pages], first.shape, stored.newbyteorder("="))


def pixel_type(form: PageFormat, table: PageTable, path: Path) -> np.dtype:
    """Pixel type of pages as stored, or unpacked to whole bytes.

    Raises
    ------
    UnsupportedPixels
        If pixels are colour, complex, one bit, or integers of more than 32 bits.
    StackUnreadable
        If the page claims more pixels than the file can hold.
    """
    grey = form.photometric in (0, 1)
    grey = grey or (form.photometric == _PALETTE and imagej.is_imagej(table.description))
    if form.samples > 1 or not grey:
        raise UnsupportedPixels(
            f"{path}: pixels are colour ({form.samples} value(s) each, PhotometricInterpretation "
            f"{form.photometric}), expected grey levels; convert to one channel first (frames of a "
            "movie: write them with photometric minisblack)"
        )
    kind, bits = _KINDS.get(form.kind), form.bits
    most = {"u": 2 <= bits <= 32, "i": bits in (8, 16, 32), "f": bits in (16, 24, 32, 64)}
    if kind is None or not most[kind]:
        name = f"{_KIND_NAMES.get(form.kind, f'of sample format {form.kind}')} {bits or 'mixed'}"
        raise UnsupportedPixels(
            f"{path}: pixels are {name} bit, expected integers of 8 to 32 bits or floats of 16 to "
            "64; convert them first"
        )
    if form.compression in FAX:
        raise UnsupportedPixels(
            f"{path}: pixels of {bits} bit are in fax compression ({form.compression}), which has "
            "black and white alone; the file is damaged"
        )
    if form.depth > 1:
        raise StackUnreadable(
            f"{path}: a page holds {form.depth} slices (ImageDepth); save one slice a page"
        )
    claimed = form.decoded_bytes * len(table.ifds)
    if form.decoded_bytes > _LARGE_PAGE and claimed > _MOST_COMPRESSION * table.size:
        raise StackUnreadable(
            f"{path}: claims {len(table.ifds)} page(s) of {form.shape[0]}x{form.shape[1]} in "
            f"strips or tiles of {form.segment_rows}x{form.segment_columns}, and has {table.size} "
            "bytes; it is damaged"
        )
    size = next(n for n in (1, 2, 4, 8) if 8 * n >= bits)
    return np.dtype(f"{table.order}{kind}{size}")


def _colour_notes(form: PageFormat) -> list[str]:
    if form.photometric == _PALETTE:
        return ["the colour table of the pages is left out; their values are the grey levels"]
    if form.photometric == 0:
        return ["zero is meant as white: values are kept as stored"]
    return []


def _unused_notes(table: PageTable) -> list[str]:
    beyond = table.size - int(table.starts[0] + table.counts[0])
    if len(table.ifds) > 1 or not table.raw[0] or beyond < max(_UNUSED, int(table.counts[0])):
        return []
    return [f"the file has one page directory, and {beyond} bytes after that page: planes unread?"]


def _key(form: PageFormat) -> tuple[object, ...]:
    return (form.shape, form.bits, form.kind, form.samples, form.depth)


def _groups(path: Path, table: PageTable, pages: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    heads = [int(name.split()[1]) for name in table.texts if name.startswith("ImageDescription ")]
    if heads:
        return _shaped_groups(path, table, pages, heads)
    keys = list(dict.fromkeys(_key(form) for form in table.formats))
    key_of = np.array([keys.index(_key(form)) for form in table.formats])[table.format_of[pages]]
    cuts = np.flatnonzero(np.diff(key_of)) + 1
    groups = np.split(pages, cuts)
    if len(groups) > len(set(key_of.tolist())):
        page, first = int(groups[1][0]), int(pages[0])
        odd, usual = (table.formats[table.format_of[p]] for p in (page, first))
        raise _mixed(path, page, odd, first, usual)
    return groups


def _shaped_groups(
    path: Path, table: PageTable, pages: NDArray[np.int64], heads: list[int]
) -> list[NDArray[np.int64]]:
    groups = [group for group in np.split(pages, np.searchsorted(pages, heads)) if len(group)]
    for group in groups:
        name = f"ImageDescription {group[0]}" if group[0] else "ImageDescription"
        shape = table.formats[table.format_of[group[0]]].shape
        check_count(shaped_pages(table.texts.get(name, ""), shape), len(group), str(path))
    return groups


def _mixed(
    path: Path, page: int, odd: PageFormat, first: int, usual: PageFormat
) -> StackUnreadable:
    def text(form: PageFormat) -> str:
        kind = _KIND_NAMES.get(form.kind, "kind ?")
        return f"{form.shape[0]}x{form.shape[1]} {kind}{form.bits} x{form.samples}"

    return StackUnreadable(
        f"{path}: page {page} (from 0) is {text(odd)}, page {first} is {text(usual)}; pages of one "
        "stack must agree: split the file"
    )


def _planes_without_directory(
    path: Path, table: PageTable, pages: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Offsets of planes that follow each other after the only directory; None: there are none.

    ImageJ writes stacks over 4 GB so, tifffile ``contiguous`` series.
    """
    form = table.formats[table.format_of[pages[0]]]
    description = table.description
    if imagej.is_imagej(description):
        promised = imagej.promised_pages(description)
    else:
        promised = shaped_pages(description, form.shape)
    if promised <= len(pages) or len(table.ifds) > 1:
        if len(pages) < promised:
            check_count(promised, len(pages), str(path))
        return None
    room = (table.size - int(table.starts[0])) // form.page_bytes
    if not table.raw[0] or room < promised:
        raise StackTruncated(
            f"{path}: its header promises {promised} pages, "
            f"{max(1, room) if table.raw[0] else 1} are stored; it is truncated: copy it again"
        )
    steps: NDArray[np.int64] = np.arange(promised, dtype=np.int64) * form.page_bytes
    return steps + int(table.starts[0])
