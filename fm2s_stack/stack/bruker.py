"""Bruker recordings: TIFF files whose structure and times are in a Prairie View XML."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from fm2s_stack.errors import StackTruncated, StackUnreadable, UsageError
from fm2s_stack.image import Image, Scale
from fm2s_stack.stack.identity import identify_files
from fm2s_stack.stack.images import plane_files
from fm2s_stack.stack.inside import refuse_link_out
from fm2s_stack.stack.pages import dask_from_pages
from fm2s_stack.stack.plane_reader import PagePlanes
from fm2s_stack.stack.planes import PlaneInfo, inspect_plane
from fm2s_stack.stack.prairie_xml import (
    PrairieFile,
    PrairieFrame,
    PrairieScan,
    PrairieSequence,
    Values,
    read_prairie_xml,
)
from fm2s_stack.stack.reader import OpenOptions, Recording

_MOST_TEXT = 16 * 2**20  # bytes; that of 100,000 frames can be gigabytes


@dataclass(frozen=True)
class _Order:
    """The frames of the XML as volumes: ``frames[t][z]``."""

    frames: list[list[PrairieFrame]]
    values: Values  #: settings of the scan, over them those of its first sequence
    breaks: tuple[int, ...] = ()  #: frames at which a cycle starts
    notes: tuple[str, ...] = ()


def open_bruker(xml: Path, options: OpenOptions) -> Recording:
    """A recording by its Prairie XML, of which structure, scale and times come.

    Cycles of a time series follow each other, with a break at each; in a series of z-stacks
    each cycle is one time. The TIFFs' own OME-XML is not followed.

    Parameters
    ----------
    xml
        The XML with the root ``PVScan``; the TIFFs lie beside it.
    options
        ``axes`` must be left out: the XML tells.

    Raises
    ------
    StackTruncated
        If a file or channel that the XML names is not there.
    StackUnreadable
        If the XML is damaged, mixes kinds of recordings, or names files out of its folder.
    """
    if options.axes:
        raise UsageError(f"--axes {options.axes}: the XML of {xml} gives the axes; leave it out")
    scan = read_prairie_xml(xml)
    order = _order(xml, scan)
    files = [_channels(xml, frame) for volume in order.frames for frame in volume]
    paths = _paths(xml, files)
    info = _inspect(paths[0], files)
    identity = identify_files(xml.stem, list(dict.fromkeys(paths)))
    source = plane_files(paths, info, identity.digest, [f.page for row in files for f in row])
    n_t, n_z, n_c = len(order.frames), len(order.frames[0]), len(files[0])
    numbers = np.arange(len(paths), dtype=np.int64).reshape(n_t, n_z, n_c).transpose(0, 2, 1)
    array = dask_from_pages(source, numbers, along_z=n_t == 1)
    times, time_notes = _timestamps(xml, order)
    interval, interval_notes = _interval(xml, order, times)
    text, text_notes = _whole_text(xml)
    image = Image(
        axes="".join(a for a, n in zip("tcz", (n_t, n_c, n_z), strict=True) if n > 1) + "yx",
        shape=array.shape,
        dtype=info.dtype,
        scale=_scale(order, interval),
        channels=tuple(f.name or f"Ch{f.channel}" for f in files[0]),
        timestamps=times,
    )
    return Recording(
        format="Bruker (Prairie View)",
        array=array,
        planes=PagePlanes(source, numbers),
        image=image,
        identity=identity,
        breaks=order.breaks,
        notes=order.notes + time_notes + interval_notes + text_notes,
        headers=_headers(scan) | text,
    )


def _order(xml: Path, scan: PrairieScan) -> _Order:
    sequences, values = scan.sequences, scan.values | scan.sequences[0].values
    kinds = list(dict.fromkeys(_is_zstack(xml, s) for s in sequences))
    if len(kinds) > 1:
        types = ", ".join(dict.fromkeys(s.type for s in sequences))
        raise StackUnreadable(f"{xml}: mixes {types}; a recording has one kind of sequence")
    if kinds[0]:
        return _volumes(xml, sequences, values)
    starts = np.cumsum([len(s.frames) for s in sequences])[:-1]
    frames = [[frame] for sequence in sequences for frame in sequence.frames]
    return _Order(frames, values, tuple(starts.tolist()))


def _is_zstack(xml: Path, sequence: PrairieSequence) -> bool:
    if "line" in sequence.type.lower():
        raise StackUnreadable(f"{xml}: a {sequence.type}: line scans are no planes to denoise")
    return "zseries" in sequence.type.lower()


def _volumes(xml: Path, sequences: Sequence[PrairieSequence], values: Values) -> _Order:
    volumes, notes = [list(s.frames) for s in sequences], []
    depth = len(volumes[0])
    if len(volumes) > 1 and len(volumes[-1]) < depth:
        notes.append(f"{xml}: dropped the last volume: it has {len(volumes[-1])} of {depth} slices")
        volumes.pop()
    uneven = next((i for i, v in enumerate(volumes) if len(v) != depth), None)
    if uneven is not None:
        raise StackTruncated(
            f"{xml}: cycle {uneven + 1} has {len(volumes[uneven])} slices, the first has {depth}; "
            "a recording needs volumes that are alike"
        )
    depths = [_depths(volume, values) for volume in volumes]
    turned = [
        volume[::-1] if _is_opposite(depths[0], here) else volume
        for volume, here in zip(volumes, depths, strict=True)
    ]
    both_ways = any(s.attributes.get("bidirectionalZ", "").lower() == "true" for s in sequences)
    if both_ways and len(volumes) > 1 and depths[0] is None:
        notes.append(f"{xml}: z went both ways but has no positions; slices kept as recorded")
    return _Order(turned, values, notes=tuple(notes))


def _is_opposite(first: list[float] | None, here: list[float] | None) -> bool:
    """Whether z was recorded the other way than in the first volume."""
    return bool(first and here and (here[-1] - here[0]) * (first[-1] - first[0]) < 0)


def _depths(volume: Sequence[PrairieFrame], values: Values) -> list[float] | None:
    """Recorded z of each frame, micrometres (all z devices added); None if one lacks it.

    A frame gives what differs from the settings of the scan.
    """
    key = "positionCurrent_ZAxis"
    depths = [_number(frame.values.get(key, values.get(key))) for frame in volume]
    return [d for d in depths if d is not None] if None not in depths else None


def _channels(xml: Path, frame: PrairieFrame) -> list[PrairieFile]:
    if not frame.files:
        raise StackTruncated(f"{xml}: a frame has no files; the recording is not complete")
    return sorted(frame.files, key=lambda f: (len(f.channel), f.channel))


def _paths(xml: Path, files: Sequence[Sequence[PrairieFile]]) -> list[Path]:
    """The file of each plane; every one is there, in the folder, and has its channel."""
    with os.scandir(xml.absolute().parent) as entries:
        there = {entry.name: entry.is_symlink() for entry in entries}
    expected = [f.channel for f in files[0]]
    for row in files:
        if [f.channel for f in row] != expected:
            raise StackTruncated(
                f"{xml}: the frame of {row[0].file} has channels {[f.channel for f in row]}, the "
                f"first has {expected}"
            )
        for plane in row:
            if plane.file in ("", ".", "..") or any(c in plane.file for c in "/\\:"):
                raise StackUnreadable(f"{xml}: names {plane.file!r}, a path out of its folder")
            if plane.file not in there:
                raise StackTruncated(
                    f"{xml}: names {plane.file}, which is not there; restore it from the microscope"
                )
            if there[plane.file]:
                refuse_link_out(xml.parent / plane.file, xml.resolve().parent)
    return [xml.parent / plane.file for row in files for plane in row]


def _inspect(first: Path, files: Sequence[Sequence[PrairieFile]]) -> PlaneInfo:
    """What each plane is; files of one page where the XML names each file once."""
    info = inspect_plane(first, files[0][0].page)
    pages = {plane.page for row in files for plane in row}
    return PlaneInfo(info.format, info.shape, info.dtype, only=pages == {0})


def _timestamps(xml: Path, order: _Order) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Seconds from the first frame on; relative times start anew in each cycle."""
    firsts = [volume[0] for volume in order.frames]
    single = not order.breaks and len(order.frames[0]) == 1
    for key in ("absoluteTime", "relativeTime") if not single else ("relativeTime", "absoluteTime"):
        times = [_number(frame.times.get(key)) for frame in firsts]
        known = [t for t in times if t is not None]
        if len(known) == len(times) and all(a < b for a, b in pairwise(known)):
            return tuple(t - known[0] for t in known), ()
    return None, (f"{xml}: frame times are missing or do not increase; left out",)


def _interval(
    xml: Path, order: _Order, times: tuple[float, ...] | None
) -> tuple[float | None, tuple[str, ...]]:
    """Seconds from frame to frame: the frame period, unless the frames' times contradict it."""
    steps = _steps(times or (), order.breaks)
    measured = median(steps) if steps else None
    values = order.values | order.frames[0][0].values
    period = _number(values.get("framePeriod")) if len(order.frames[0]) == 1 else None
    if period is None or period <= 0 or measured is None:
        return measured or period or None, ()
    if abs(measured - period) <= 0.01 * period:
        return period, ()
    return measured, (
        f"{xml}: frames are {measured:.6g} s apart by their times, {period:.6g} s by framePeriod; "
        "took the times",
    )


def _steps(times: Sequence[float], breaks: Sequence[int]) -> list[float]:
    return [b - a for i, (a, b) in enumerate(pairwise(times), 1) if i not in set(breaks)]


def _scale(order: _Order, interval: float | None) -> Scale:
    values = order.values | order.frames[0][0].values
    x, y, z = (_number(values.get(f"micronsPerPixel_{a}Axis")) for a in "XYZ")
    depths = _depths(order.frames[0], order.values) or []
    steps = [abs(b - a) for a, b in pairwise(depths)]
    z = median(steps) if steps and median(steps) > 0 else z
    return Scale(z=z if len(order.frames[0]) > 1 else None, y=y or None, x=x or None, t=interval)


def _headers(scan: PrairieScan) -> dict[str, str]:
    about = {"version": scan.version, "date": scan.date, **scan.values}
    return {"Prairie View": "\n".join(f"{key} = {value}" for key, value in about.items())}


def _whole_text(xml: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The XML as it is, bytes that are no UTF-8 escaped; left out aloud where it is long."""
    with xml.open("rb") as stream:
        content = stream.read(_MOST_TEXT + 1)
    if len(content) > _MOST_TEXT:
        size = xml.stat().st_size / 2**20
        return {}, (f"{xml}: {size:.0f} MB of text; only its settings are kept with the output",)
    return {xml.name: content.decode("utf-8", "surrogateescape")}, ()


def _number(text: str | None) -> float | None:
    """A finite number, or the sum of several joined by commas; None if it is neither."""
    try:
        value = math.fsum(float(part) for part in (text or "").split(","))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
