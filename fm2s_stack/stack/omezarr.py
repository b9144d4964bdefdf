"""OME-Zarr 0.4 and 0.5 images (level 0), and plain zarr arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable, UsageError
from fm2s_stack.image import Image, Scale
from fm2s_stack.stack.axes import canonical_order, parse_axes, to_canonical
from fm2s_stack.stack.inputs import ZARR_MARKS
from fm2s_stack.stack.ngff import parse_multiscale, refuse_others
from fm2s_stack.stack.plane_reader import StoredPlanes
from fm2s_stack.stack.reader import OpenOptions, Recording
from fm2s_stack.stack.zarr_array import box_reader, lazy_array, stored_values
from fm2s_stack.stack.zarr_folder import ZarrArray, inspect_array, open_node

OUR_ATTRIBUTE = "fm2s_stack"


def open_zarr(folder: Path, options: OpenOptions) -> Recording:
    """An OME-Zarr image or a plain zarr array, zarr format 2 or 3.

    Chunks that are not there read as the fill value, as zarr has it, and a note tells how
    many; those of a finished output of ours, which stores all, are refused.

    Parameters
    ----------
    folder
        Of the image group or of the array.
    options
        ``axes`` replaces what the metadata says and is needed for a plain array that does
        not name its dimensions; ``series`` chooses among several multiscales.

    Raises
    ------
    StackUnreadable
        If the group is no single image (plate, labels, collection), or damaged.
    StackTruncated
        If it is an output of ours that is unfinished or lacks chunks.
    UsageError
        If axes are needed, or there is no such series.
    """
    node = open_node(folder)
    if hasattr(node, "shape"):
        return _open_plain(folder, options)
    return _open_image(folder, dict(node.attrs), options)


def _open_plain(folder: Path, options: OpenOptions) -> Recording:
    if options.series:
        raise UsageError(f"--series {options.series}: {folder} has one series; leave it out")
    array = inspect_array(folder)
    axes, assumed = _plain_axes(folder, array, options.axes)
    return _recording(f"zarr {array.zarr_format} array", folder, array, axes, notes=assumed)


def _plain_axes(folder: Path, array: ZarrArray, given: str | None) -> tuple[str, tuple[str, ...]]:
    if given:
        return parse_axes(given, len(array.shape), str(folder)), ()
    axes = "".join(_LETTERS.get(name.strip().lower(), "?") for name in array.dimension_names)
    known = "?" not in axes and set("yx") <= set(axes) and len(set(axes)) == len(axes)
    if known and len(axes) == len(array.shape):
        return axes, ()
    if len(array.shape) == 2:
        return "yx", (f"{folder}: took its two axes for YX",)
    above = folder.absolute().parent
    hint = f", or open {above}" if any((above / mark).is_file() for mark in ZARR_MARKS) else ""
    raise UsageError(
        f"{folder}: a zarr array of shape {array.shape} that does not name its axes; give "
        f"--axes, such as {'TCZYX'[-len(array.shape) :]}{hint}"
    )


_LETTERS = {
    **dict.fromkeys(("t", "time", "frame", "frames"), "t"),
    **dict.fromkeys(("c", "ch", "channel", "channels"), "c"),
    **dict.fromkeys(("z", "depth", "slice", "slices", "plane", "planes"), "z"),
    **dict.fromkeys(("y", "row", "rows", "height"), "y"),
    **dict.fromkeys(("x", "col", "cols", "column", "columns", "width"), "x"),
}


def _open_image(folder: Path, attributes: Mapping[str, Any], options: OpenOptions) -> Recording:
    ours = attributes.get(OUR_ATTRIBUTE)
    if isinstance(ours, dict) and ours.get("status") != "complete":
        raise StackTruncated(
            f"{folder}: an unfinished output of fm2s-stack (status {ours.get('status')!r}); run "
            "its command again to complete it"
        )
    ome = attributes["ome"] if isinstance(attributes.get("ome"), dict) else attributes
    refuse_others(folder, ome)
    found = parse_multiscale(folder, ome, options.series)
    array = inspect_array(folder / found.level0, folder)
    if ours is not None and array.missing:
        raise StackTruncated(
            f"{folder}: {array.missing} chunk files of a finished output are missing, the first "
            f"is {found.level0}/{array.first_missing[0]}; restore them or run `fm2s-stack verify`"
        )
    axes = parse_axes(options.axes, len(array.shape), str(folder)) if options.axes else found.axes
    if len(axes) != len(array.shape):
        raise StackUnreadable(
            f"{folder}: names {len(axes)} axes ({axes}) for an array of {len(array.shape)} "
            f"({array.shape}); give --axes"
        )
    kept, kept_notes = _stored_headers(folder) if ours is not None else ({}, ())
    return _recording(
        f"OME-Zarr {found.version}",
        folder,
        array,
        axes,
        scale=found.scale,
        channels=found.channels,
        timestamps=_timestamps(folder),
        notes=found.notes + kept_notes,
        headers=_with_earlier({"attributes.json": json.dumps(attributes)}, kept),
    )


def _recording(
    form: str,
    folder: Path,
    array: ZarrArray,
    axes: str,
    *,
    scale: Scale | None = None,
    channels: Sequence[str] = (),
    timestamps: Sequence[float] | None = None,
    notes: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Recording:
    if 0 in array.shape:
        raise StackUnreadable(f"{folder}: holds no pixels (shape {array.shape})")
    identity = array.identity(folder.absolute().name)
    pixels = to_canonical(lazy_array(array, identity.digest, axes), axes)
    said = list(notes)
    if channels and len(channels) != pixels.shape[1]:
        said.append(f"{folder}: ignored {len(channels)} names for {pixels.shape[1]} channels")
        channels = ()
    if timestamps is not None and len(timestamps) != pixels.shape[0]:
        said.append(f"{folder}: ignored {len(timestamps)} times for {pixels.shape[0]} frames")
        timestamps = None
    said += _chunk_notes(folder, array)
    image = Image(
        axes=canonical_order(axes),
        shape=pixels.shape,
        dtype=array.dtype,
        scale=scale or Scale(),
        channels=tuple(channels),
        timestamps=tuple(timestamps) if timestamps is not None else None,
    )
    planes = StoredPlanes(axes, box_reader(array, identity.digest))
    return Recording(form, pixels, planes, image, identity, (), tuple(said), headers or {})


def _chunk_notes(folder: Path, array: ZarrArray) -> list[str]:
    notes, first = [], ", ".join(array.first_missing)
    if array.missing:
        dots = ", ..." if array.missing > len(array.first_missing) else ""
        notes.append(
            f"{folder}: {array.missing} of {array.missing + len(array.files)} chunk files are not "
            f"there ({first}{dots}) and read as the fill value; right if the writer leaves out "
            "empty chunks, else restore them"
        )
    if array.beyond:
        notes.append(
            f"{folder}: {array.beyond} chunk files lie beyond its shape {array.shape} and are not "
            "read; its metadata may be damaged"
        )
    return notes


def _timestamps(folder: Path) -> tuple[float, ...] | None:
    """Seconds a frame, where the group is an output of ours that has them."""
    stored = folder / OUR_ATTRIBUTE / "timestamps"
    if not any((stored / mark).is_file() for mark in ZARR_MARKS):
        return None
    return tuple(stored_values(stored, folder).astype(np.float64).ravel().tolist())


def _stored_headers(folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Raw headers of the source of an output of ours, and notes on those that are damaged.

    The arrays of UTF-8 bytes are numbered; the attribute ``names`` lists what each is.
    """
    stored = folder / OUR_ATTRIBUTE / "headers"
    if not stored.is_dir():
        return {}, ()
    try:
        names = open_node(stored).attrs.get("names")
    except StackError as error:
        return {}, (f"its raw headers are left out: {error}",)
    if not isinstance(names, list):
        return {}, (f"{stored}: its raw headers are left out: the list of their names is damaged",)
    found: dict[str, str] = {}
    notes: list[str] = []
    for number, name in enumerate(map(str, names)):
        try:
            content = stored_values(stored / str(number), folder).astype(np.uint8)
            found[name] = content.tobytes().decode("utf-8", "surrogateescape")
        except (StackError, ValueError, TypeError) as error:
            notes.append(f"the raw header {name} is left out: {error}")
    return found, tuple(notes)


def _with_earlier(headers: dict[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """Headers and those of earlier runs, whose names are marked where they are the same."""
    both = dict(headers)
    for name, text in kept.items():
        while name in both:
            name = f"earlier {name}"
        both[name] = text
    return both
