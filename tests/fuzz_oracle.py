"""What tifffile, zarr and Pillow read from the same bytes, to hold against what the package read.

`faults` returns sentences; none: what was read is right. Planes are compared by content: the
pixels of the seeds are random, so that no two planes are alike.
"""

from __future__ import annotations

import json
import logging
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr

from fm2s_stack.stack.base import Stack

MOST_BYTES = 64 * 2**20  # of a series or array that is read for comparison
MOST_PAGES = 500
ANY_ORDER = ("OME-TIFF", "Bruker (Prairie View)")  # the metadata places each plane
LEFT_OUT = (
    "left out",
    "series",
    "dropped",
    "stopped",
    "unread",
    "speaks of",
    "not read",
    "no OME-XML",
)


def faults(opened: Path, stack: Stack, pixels: np.ndarray) -> list[str]:
    """What is wrong with `pixels` (t, c, z, y, x), read from `opened` as `stack`."""
    if opened.suffix == ".zarr":
        return list(_zarr_faults(opened, stack, pixels))
    if opened.suffix == ".png":
        from PIL import Image

        with Image.open(opened) as image:
            same = np.array_equal(np.asarray(image), pixels[0, 0, 0])
        return [] if same else ["Pillow reads other pixels"]
    return list(_tiff_faults(opened, stack, pixels))


def _planes(pixels: np.ndarray) -> Iterator[bytes]:
    """A key of each plane: its type, shape and bytes."""
    for plane in pixels.reshape(-1, *pixels.shape[-2:]):
        native = np.ascontiguousarray(plane.astype(plane.dtype.newbyteorder("=")))
        yield repr((native.dtype.str, native.shape)).encode() + native.tobytes()


def _tiff_faults(opened: Path, stack: Stack, pixels: np.ndarray) -> Iterator[str]:
    ours = list(_planes(pixels))
    stored: list[bytes] = []
    incomplete: dict[bytes, str] = {}
    for file in sorted(opened.parent.rglob("*.tif*")):
        for key, wrong in _pages(file, pixels.shape[-2:]):
            stored.append(key)
            if wrong:
                incomplete.setdefault(key, f"{file.name}: {wrong}")
    virtual = list(dict.fromkeys(_series_planes(opened, pixels.shape[-2:])))
    if len(stored) < len(virtual):  # planes without a directory
        stored += [key for key in virtual if key not in set(stored)]
    unknown = [i for i, key in enumerate(ours) if key not in {*stored, *virtual}]
    if unknown:
        yield f"planes {unknown[:5]} of {len(ours)} are no page that tifffile reads"
    yield from {incomplete[key] for key in ours if key in incomplete and key not in virtual}
    like_ours = Counter(stored) & Counter({key: 10**6 for key in stored if _is_like(key, ours)})
    if like_ours.total() > len(ours) and not _tells(stack, LEFT_OUT):
        yield f"{len(ours)} planes of {like_ours.total()} pages that are alike, and no note"
    order = [stored.index(key) for key in ours if stored.count(key) == 1]
    in_file_order = len(stack.image.axes) == 3 and stack.format not in ANY_ORDER
    in_file_order |= stack.format == "ScanImage TIFF" and pixels.shape[2] == 1
    if in_file_order and order != sorted(order):
        yield f"pages come in the order {order}"
    if len(order) == len(ours) and not unknown:
        yield from _order_faults(opened, stack, pixels)


def _order_faults(opened: Path, stack: Stack, pixels: np.ndarray) -> Iterator[str]:
    """Where tifffile names the same axes with the same lengths, every plane is at its place."""
    if opened.suffix not in (".tif", ".tiff"):
        return
    with suppress(Exception), tifffile.TiffFile(opened) as tiff:
        series = tiff.series[0]
        axes = series.axes.lower()
        if not set("yx") <= set(axes) <= set("tczyx") or series.nbytes > MOST_BYTES:
            return
        theirs = _canonical(series.asarray(), axes)
        # Its series decode every page as the first one is stored, which may give other pixels.
        alike = Counter(_planes(theirs)) == Counter(_planes(pixels))
        if theirs.shape == pixels.shape and alike and not _same(theirs, pixels):
            yield "tifffile has the planes in another order"


def _is_like(key: bytes, ours: list[bytes]) -> bool:
    return bool(ours) and key.split(b")")[0] == ours[0].split(b")")[0]


def _tells(stack: Stack, words: Iterable[str]) -> bool:
    return any(word in note for note in stack.notes for word in words)


def _pages(file: Path, shape: tuple[int, ...]) -> Iterator[tuple[bytes, str]]:
    """Key of each page of a file that decodes, and what it lacks."""
    with suppress(Exception), tifffile.TiffFile(file, is_ome=False) as tiff:
        number = 0
        while number < MOST_PAGES:
            try:
                page = tiff.pages[number].aspage()
            except IndexError:
                return
            except Exception:
                number += 1
                continue
            number += 1
            with suppress(Exception):
                if page.nbytes <= MOST_BYTES:
                    array = page.asarray().reshape(shape)
                    yield from ((key, _lacking(tiff, page)) for key in _planes(array))


def _lacking(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> str:
    """What a page's strips or tiles do not hold although tifffile gives pixels; "" if all is there.

    Decoded without the room that tifffile gives the decoders, so that nothing is padded.
    """
    decode = _DECODERS.get(int(page.compression))
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = math.prod(page.chunked)
    if len(segments) < expected and not page.is_contiguous:
        return f"{len(segments)} strips or tiles where {expected} are needed"
    held, ends = 0, []
    for offset, count in segments:
        tiff.filehandle.seek(offset)
        data = tiff.filehandle.read(count)
        held += _decoded_length(decode, data, page.nbytes)
        ends.append(data.rstrip(b"\0")[-2:])
    if int(page.compression) == _JPEG:
        return "" if set(ends) == {b"\xff\xd9"} else "a JPEG that ends early"
    if decode is None:
        return ""
    needed = page.imagelength * page.imagewidth * page.bitspersample // 8
    return f"its strips hold {held} bytes, {needed} are needed" if held < needed else ""


def _decoded_length(decode: Callable[[bytes], bytes] | None, data: bytes, if_damaged: int) -> int:
    """Bytes in a strip or tile; `if_damaged` where it fails, if only behind the last row."""
    if decode is None:
        return 0
    try:
        return len(decode(data))
    except Exception:
        return if_damaged


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MOST_BYTES)


_JPEG = 7
_DECODERS = {
    5: imagecodecs.lzw_decode,
    8: _inflated,
    32946: _inflated,
    50000: imagecodecs.zstd_decode,
    32773: imagecodecs.packbits_decode,
}


def _series_planes(file: Path, shape: tuple[int, ...]) -> Iterator[bytes]:
    """Planes of the series, which are more than the pages where planes have no directory."""
    with suppress(Exception), tifffile.TiffFile(file, is_ome=False) as tiff:
        yield from _imagej_planes(tiff, shape)
        for series in tiff.series:
            if series.nbytes <= MOST_BYTES:
                with suppress(Exception):
                    yield from _planes(series.asarray().reshape(-1, *shape))


def _imagej_planes(tiff: tifffile.TiffFile, shape: tuple[int, ...]) -> Iterator[bytes]:
    """As many planes behind each other as ImageJ's ``images`` says; tifffile goes by others."""
    page = tiff.pages.first
    text = page.tags[270].value
    text = text.decode() if isinstance(text, bytes) else str(text)
    said = re.match(r"ImageJ=.*^images=(\d+)$", text, re.DOTALL | re.MULTILINE)
    if said and page.is_contiguous and int(said[1]) * page.nbytes <= MOST_BYTES:
        order = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        tiff.filehandle.seek(page.dataoffsets[0])
        data = tiff.filehandle.read(int(said[1]) * page.nbytes)
        yield from _planes(np.frombuffer(data, order).reshape(-1, *shape))


def _zarr_faults(opened: Path, stack: Stack, pixels: np.ndarray) -> Iterator[str]:
    folder, axes = _level0(opened)
    array = zarr.open_array(str(folder), mode="r")
    if math.prod(array.shape) * array.dtype.itemsize > MOST_BYTES:
        return
    theirs = np.asarray(array[...])
    same = _same(_canonical(theirs, axes), pixels) if axes else theirs.size == pixels.size
    if not same:
        yield f"zarr reads other pixels ({theirs.dtype} {theirs.shape} {axes})"
    filled = _filled(folder, theirs)
    if filled.any() and not _tells(stack, ("chunk files are not there",)):
        yield f"{int(filled.sum())} pixels are stored nowhere, and no note"


def _level0(opened: Path) -> tuple[Path, str]:
    """Folder of the array, and its axes ("" where they cannot be told)."""
    node = zarr.open(str(opened), mode="r")
    if isinstance(node, zarr.Array):
        return opened, "".join(map(str, node.metadata.dimension_names or ()))
    attributes = dict(node.attrs)
    scales = attributes.get("ome", attributes)["multiscales"][0]
    names = [str(axis["name"]).lower() for axis in scales["axes"]]
    known = all(name in tuple("tczyx") for name in names)
    return opened / scales["datasets"][0]["path"], "".join(names) if known else ""


def _canonical(array: np.ndarray, axes: str) -> np.ndarray:
    if len(axes) != array.ndim:
        return array
    missing = [a for a in "tczyx" if a not in axes]
    return np.einsum(
        f"{''.join(missing)}{axes}->tczyx", array.reshape((1,) * len(missing) + array.shape)
    )


def _same(theirs: np.ndarray, ours: np.ndarray) -> bool:
    native = theirs.dtype.newbyteorder("=")
    return native == ours.dtype and theirs.astype(native).tobytes() == ours.tobytes()


def _filled(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """Which pixels are the fill value because nobody stored them: those that change with it.

    Writes another fill value into the metadata of the mutant.
    """
    for name in (".zarray", "zarr.json"):
        file = folder / name
        if file.is_file():
            document = json.loads(file.read_text())
            document["fill_value"] = 77 if document.get("fill_value") != 77 else 78
            file.write_text(json.dumps(document))
    again = np.asarray(zarr.open_array(str(folder), mode="r")[...])
    return ~((again == pixels) | ((again != again) & (pixels != pixels)))


@contextmanager
def logged() -> Iterator[list[str]]:
    """What tifffile and zarr log meanwhile: corruption that they read over."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("tifffile", "zarr")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
