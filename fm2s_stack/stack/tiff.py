"""Opening recordings in TIFF files: plain, ImageJ, OME, ScanImage, Micro-Manager, tifffile's."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from fm2s_stack.errors import Fm2sError, StackError, StackNotFound, StackUnreadable
from fm2s_stack.image import Image, Scale
from fm2s_stack.stack import imagej, ome, scanimage, tiff_ome
from fm2s_stack.stack.base import Identity
from fm2s_stack.stack.layout import (
    Layout,
    axes_as_asked,
    extended,
    guessed_axes,
    page_numbers,
    relabelled,
)
from fm2s_stack.stack.page_table import PageTable, content_digest, shaped_metadata, shaped_pages
from fm2s_stack.stack.pages import PageSource, dask_from_pages
from fm2s_stack.stack.plane_reader import PagePlanes
from fm2s_stack.stack.reader import OpenOptions, Recording, cannot_read, one_line
from fm2s_stack.stack.table_cache import load_table
from fm2s_stack.stack.tiff_ome import Load
from fm2s_stack.stack.tiff_pages import joined
from fm2s_stack.stack.tiff_series import Series, choose_series
from fm2s_stack.stack.times import FileTimes


def open_tiff(paths: Sequence[Path], options: OpenOptions) -> Recording:
    """Open one TIFF file, or several whose pages continue one recording.

    Parameters
    ----------
    paths
        TIFF files in their order, or one ``.companion.ome``. Members that an OME file names are
        found beside it.
    options
        Axes, series and cache folder as the user gave them.

    Returns
    -------
    Recording
        With a lazy array, shape (t, c, z, y, x), native byte order. No pixels are read but a few
        sampled pages for the identity.

    Raises
    ------
    StackNotFound
        If a file is not there.
    StackTruncated
        If pages, bytes or member files are missing.
    StackUnreadable
        If a file is damaged or may not be read, or its pages do not make one stack.
    UnsupportedPixels
        If pixels are colour, complex, one bit or 64-bit integers.
    UsageError
        If the axes or the series asked for do not fit the file.
    """
    try:
        return _open([Path(path) for path in paths], options)
    except Fm2sError:
        raise
    except FileNotFoundError as error:
        raise StackNotFound(f"{error.filename}: no such file") from error
    except OSError as error:
        raise cannot_read(paths[0], error) from error
    except Exception as error:  # damaged files fail in every way
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise StackUnreadable(f"{paths[0]}: cannot be read as TIFF ({reason})") from error


def _open(paths: list[Path], options: OpenOptions) -> Recording:
    load = functools.cache(functools.partial(load_table, cache_dir=options.cache_dir))
    if paths[0].suffix.lower() == ".ome":
        return _open_ome(paths[0], paths[0].read_text("utf-8"), options, load)
    xml = load(paths[0]).description
    notes: tuple[str, ...] = ()
    if not ome.is_ome(xml) and paths[0].name.lower().endswith((".ome.tif", ".ome.tiff")):
        notes = (f"{paths[0]}: is named as OME-TIFF but has no OME-XML: read as pages",)
    if ome.is_ome(xml) and (len(paths) == 1 or tiff_ome.covers(paths, xml, load)):
        try:
            return _open_ome(paths[0], xml, options, load)
        except StackError as error:
            if len(paths) > 1 or not options.axes:
                raise
            notes = (f"the OME metadata is not used: {error}",)
    return _open_pages(paths, options, load, notes)


def _open_pages(
    paths: list[Path], options: OpenOptions, load: Load, notes: tuple[str, ...]
) -> Recording:
    tables = [load(path) for path in paths]
    series = [choose_series(p, t, options.series) for p, t in zip(paths, tables, strict=True)]
    _check_agreement(series)
    layout = _layout(series, options)
    counts = [one.count for one in series]
    chosen = dict.fromkeys(note for one in series for note in one.notes)
    return _recording(
        replace(layout, notes=(*notes, *chosen, *layout.notes)),
        joined([one.source for one in series], counts),
        identity_of(paths, tables),
        tables[0].texts,
        _breaks(layout, counts),
    )


def _open_ome(path: Path, xml: str, options: OpenOptions, load: Load) -> Recording:
    found = tiff_ome.open_planes(path, xml, options, load)
    tables = [load(file) for file in found.files]
    headers = {"OME-XML": found.xml} | dict(tables[0].texts)
    return _recording(found.layout, found.source, identity_of(found.files, tables), headers, ())


def _recording(
    layout: Layout,
    source: PageSource,
    identity: Identity,
    headers: Mapping[str, str],
    breaks: tuple[int, ...],
) -> Recording:
    numbers = layout.numbers
    axes = "".join(a for a, n in zip("tcz", numbers.shape, strict=True) if n > 1) + "yx"
    along_z = numbers.shape[0] == 1 and numbers.shape[2] > 1
    image = Image(
        axes=axes,
        shape=(*numbers.shape, *source.page_shape),
        dtype=source.dtype,
        scale=layout.scale,
        channels=layout.channels,
        timestamps=layout.timestamps,
    )
    array = dask_from_pages(source, numbers, along_z=along_z)
    planes = PagePlanes(source, numbers)
    return Recording(layout.format, array, planes, image, identity, breaks, layout.notes, headers)


def _layout(series: list[Series], options: OpenOptions) -> Layout:
    first, pages = series[0], sum(one.count for one in series)
    path = str(first.path)
    name, axes, lengths, notes, scale = _described(first)
    if options.axes:
        known = lengths if math.prod(lengths) == pages else ()
        axes, lengths = axes_as_asked(options.axes, known, pages, first.source.page_shape, path)
        numbers = page_numbers(axes, lengths)
        if name == "ScanImage TIFF":
            with suppress(StackUnreadable):  # its own interleaving may not fit the pages
                return relabelled(_scanimage_layout(series, pages), numbers)
        return Layout(name, numbers, scale)
    if name == "ScanImage TIFF":
        return _scanimage_layout(series, pages)
    if len(series) > 1:
        axes, lengths = extended(axes, lengths, pages, path)
    if math.prod(lengths) != pages or (pages > 1 and not axes):
        if axes:
            notes = (f"the header speaks of {math.prod(lengths)} pages, there are {pages}",)
        axes, lengths = "q", (pages,)
    named, guess = guessed_axes(axes, lengths, path)
    return Layout(
        name, page_numbers(named, lengths), scale, notes=(*notes, guess) if guess else notes
    )


def _scanimage_layout(series: list[Series], pages: int) -> Layout:
    times = np.concatenate([one.seconds for one in series])
    return scanimage.layout(series[0].table, pages, times, str(series[0].path))


def _described(series: Series) -> tuple[str, str, tuple[int, ...], tuple[str, ...], Scale]:
    """Format, page axes and lengths as the header has them, notes, and scale."""
    description = series.description
    if imagej.is_imagej(description):
        axes, lengths = imagej.dimensions(description)
        return "ImageJ TIFF", axes, lengths, imagej.notes(description), imagej.scale(series.table)
    if scanimage.is_scanimage(series.table):
        return "ScanImage TIFF", "", (), (), Scale()
    shape = series.source.page_shape
    if shaped_pages(description, shape):
        said = shaped_metadata(description)
        letters, sizes = str(said.get("axes", "")), [int(str(n)) for n in said["shape"]]  # type: ignore[attr-defined]
        letters = letters if len(letters) == len(sizes) else "q" * len(sizes)
        pairs = [(a, n) for a, n in zip(letters, sizes[:-2], strict=False) if n > 1]
        return "TIFF", "".join(a for a, _ in pairs), tuple(n for _, n in pairs), (), Scale()
    return "TIFF", "", (), (), Scale()


def _check_agreement(series: list[Series]) -> None:
    first = series[0]
    first_channels = _channels(first)
    for one in series[1:]:
        here, there = one.source, first.source
        if (here.page_shape, here.dtype) != (there.page_shape, there.dtype):
            raise StackUnreadable(
                f"{one.path}: pages are {here.page_shape} {here.dtype}, those of {first.path} "
                f"{there.page_shape} {there.dtype}; files of one recording must agree"
            )
        if _channels(one) != first_channels:
            raise StackUnreadable(
                f"{one.path}: saves the channels {_channels(one)}, {first.path} {first_channels}; "
                "files of one recording must agree"
            )


def _channels(series: Series) -> tuple[str, ...]:
    if not scanimage.is_scanimage(series.table):
        return ()
    return scanimage.setup(scanimage.header(series.table)).channels


def _breaks(layout: Layout, counts: list[int]) -> tuple[int, ...]:
    starts = np.cumsum(counts[:-1])
    last = layout.numbers.max(axis=(1, 2))
    frames = [int(np.argmax(last >= start)) for start in starts if (last >= start).any()]
    return tuple(sorted({frame for frame in frames if frame}))


def identity_of(paths: Sequence[Path], tables: Sequence[PageTable]) -> Identity:
    """Identity over all files: sizes, page tables and sampled pages; never names or times."""
    digest, statuses = hashlib.blake2b(digest_size=32), [path.stat() for path in paths]
    for path, table in zip(paths, tables, strict=True):
        digest.update(content_digest(path, table))
    return Identity(
        name=paths[0].name,
        size=sum(table.size for table in tables),
        mtime=max(status.st_mtime for status in statuses),
        digest=digest.hexdigest(),
        times=FileTimes.of(paths, statuses),
    )
