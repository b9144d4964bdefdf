"""`open_stack`: from a path to a `Stack`, whatever the format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fm2s_stack.errors import Fm2sError, StackUnreadable, UnsupportedPixels, UsageError
from fm2s_stack.stack.base import Bounds, Stack
from fm2s_stack.stack.frame_list import FrameList, excluded_frames, list_name, require_breaks
from fm2s_stack.stack.inputs import Inputs, PathLike, find_inputs
from fm2s_stack.stack.reader import OpenOptions, Recording, cannot_read

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float16", "float32", "float64")


def open_stack(
    path: PathLike | Sequence[PathLike],
    *,
    axes: str | None = None,
    series: int | None = None,
    channel: Sequence[str | int] = (),
    frames: Bounds | None = None,
    slices: Bounds | None = None,
    breaks: Sequence[int] = (),
    exclude_frames: FrameList = (),
    cache_dir: PathLike | None = None,
) -> Stack:
    """Open a recording lazily; no pixels are read beyond a few sampled pages.

    Parameters
    ----------
    path
        A TIFF, PNG or JPEG file, an OME-Zarr or zarr array, a Prairie View (Bruker) folder
        or XML, a folder, a glob, a ``.txt`` list of files, or a sequence of files.
    axes
        One letter an axis of the stored array, such as ``"TYX"``, where the file does not
        say or is wrong.
    series
        Which series of a file with several, from 0.
    channel
        Channels to keep, by index from 0 or by name; empty: all.
    frames, slices
        First and one past the last to keep, as a Python slice; None: all.
    breaks
        First frames of trials, ascending, by source index: neighbours are not taken across
        them, as they are not across the files and cycles of the input.
    exclude_frames
        Frames that are kept out of every measurement, training and neighbourhood and come out
        as they are, by source index: a text file, or frames and (first, one past the last); see
        `fm2s_stack.stack.frame_list.excluded_frames`.
    cache_dir
        Folder of page tables; None: the user's cache folder.

    Returns
    -------
    Stack
        With a Dask array of shape (t, c, z, y, x) in the input's dtype, native byte order.

    Raises
    ------
    StackNotFound
        If nothing is there.
    StackUnreadable, StackTruncated
        If it is damaged, incomplete, of a format we do not read, or may not be read.
    UnsupportedPixels
        If pixels are not grey, complex, boolean or 64-bit integers.
    UsageError
        If an option does not fit the input or the selection is empty.
    """
    folder = None if cache_dir is None else Path(cache_dir)
    options = OpenOptions(axes=axes, series=series, cache_dir=folder)
    try:
        inputs = find_inputs(path)
        found = _read(inputs, options)
    except Fm2sError:
        raise
    except OSError as error:  # no permission, a file removed meanwhile, a lost network disk
        raise cannot_read(path, error) from error
    _refuse_pixels(inputs.given, found)
    stack = Stack(
        path=os.fspath(inputs.given),
        format=found.format,
        array=found.array,
        planes=found.planes,
        image=found.image,
        identity=found.identity,
        channel_indices=tuple(range(found.array.shape[1])),
        breaks=found.breaks,
        notes=inputs.notes + found.notes,
        headers=found.headers,
        asked=_asked(options),
    )
    selected = stack.select(frames=frames, slices=slices, channels=tuple(map(str, channel)))
    length = stack.image.shape[0]
    starts = tuple(map(int, breaks))
    require_breaks(starts, length, stack.path)
    return _without(_split(selected, starts), exclude_frames, length)


def _split(stack: Stack, breaks: tuple[int, ...]) -> Stack:
    """The stack with the trials that were named; a note if that makes none."""
    split = stack.split_at(breaks)
    if not breaks or split.cuts:
        return split
    text = ",".join(map(str, breaks))
    return _with_note(split, f"--breaks {text}: no trial more than there is without it")


def _without(stack: Stack, given: FrameList, frames: int) -> Stack:
    """The stack without the frames of a list, and a note how many those are."""
    if not isinstance(given, str | os.PathLike) and len(given) == 0:
        return stack
    left = stack.without(excluded_frames(given, frames, stack.path), list_name(given))
    name = f" {Path(given).name}" if isinstance(given, str | os.PathLike) else ""
    if not left.excluded:
        return _with_note(left, f"--exclude-frames{name}: names none of the frames selected")
    count, length = left.excluded.count, left.image.shape[0]
    return _with_note(left, f"--exclude-frames{name}: {count} of {length} frames stay as they are")


def _with_note(stack: Stack, note: str) -> Stack:
    return replace(stack, notes=(*stack.notes, note))


def _asked(options: OpenOptions) -> dict[str, str]:
    """The options given that change what is read."""
    given = {"axes": options.axes, "series": options.series}
    return {name: str(value) for name, value in given.items() if value is not None}


def _read(inputs: Inputs, options: OpenOptions) -> Recording:
    if inputs.kind == "zarr":
        from fm2s_stack.stack.omezarr import open_zarr

        return open_zarr(inputs.files[0], options)
    if inputs.kind == "tiff":
        return _read_tiff(inputs, options)
    if options.series:
        raise UsageError(f"--series {options.series}: {inputs.given} has one series; leave it out")
    if inputs.kind == "bruker":
        from fm2s_stack.stack.bruker import open_bruker

        return open_bruker(inputs.files[0], options)
    from fm2s_stack.stack.images import open_images

    return open_images(inputs.files, options)


def _read_tiff(inputs: Inputs, options: OpenOptions) -> Recording:
    from fm2s_stack.stack.images import is_plane_sequence, ome_siblings, open_images
    from fm2s_stack.stack.tiff import open_tiff

    files = inputs.files
    if len(files) == 1 or not is_plane_sequence(files):
        return open_tiff(files, options)
    siblings = ome_siblings(files[0])
    if siblings == {file.name for file in files}:
        return open_tiff(files[:1], options)
    # OME-XML of a sequence that was renamed or cut tells of files that are not these.
    first = open_tiff(files[:1], replace(options, axes=None)) if len(siblings) < 2 else None
    return open_images(files, options, first)


def _refuse_pixels(given: str, found: Recording) -> None:
    if 0 in found.array.shape:
        raise StackUnreadable(f"{given}: holds no pixels (shape {found.array.shape})")
    dtype = np.dtype(found.array.dtype)
    if dtype.name not in INTEGERS + FLOATS:
        raise UnsupportedPixels(
            f"{given}: pixels are {dtype}, expected integers of 8 to 32 bits or floats of 16 to "
            "64; convert them first"
        )
