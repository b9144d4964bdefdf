"""From axes and lengths to the page number of each frame, channel and slice. Pure integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated, StackUnreadable, UsageError
from fm2s_stack.image import Scale

PAGE_AXES = "tcz"
_NAMES = {"t": "frames", "z": "slices", "c": "channels"}


@dataclass(frozen=True, eq=False)
class Layout:
    """What a format says about a flat run of pages."""

    format: str  #: for example ``"ImageJ TIFF"``
    numbers: NDArray[np.int64]  #: page number of each (frame, channel, slice)
    scale: Scale = field(default_factory=Scale)  #: physical steps
    channels: tuple[str, ...] = ()  #: one name a channel, or none
    timestamps: tuple[float, ...] | None = None  #: seconds, one a frame
    notes: tuple[str, ...] = ()  #: what was assumed or dropped


def page_numbers(axes: str, lengths: tuple[int, ...]) -> NDArray[np.int64]:
    """Page number of each (t, c, z) of pages stored in C order of `axes`.

    Parameters
    ----------
    axes
        Letters of ``tcz``, the slowest first, none repeated; absent ones have length one.
    lengths
        Pages along each, 1 or more.

    Returns
    -------
    array of int64, shape (t, c, z)
    """
    stored = np.arange(math.prod(lengths), dtype=np.int64).reshape(lengths)
    ordered = stored.transpose([axes.index(a) for a in PAGE_AXES if a in axes])
    return ordered[tuple(slice(None) if a in axes else None for a in PAGE_AXES)]


def relabelled(layout: Layout, numbers: NDArray[np.int64]) -> Layout:
    """The layout with the axes that the user gave: what still holds of the file's own is kept.

    Times stay where each frame begins with the same page, names where each channel does; the
    frame interval goes where the file's own frames are others.
    """
    own = layout.numbers
    same_frames = np.array_equal(own[:, 0, 0], numbers[:, 0, 0])
    same_channels = np.array_equal(own[0, :, 0], numbers[0, :, 0])
    keep_interval = same_frames or len(own) == 1
    return Layout(
        layout.format,
        numbers,
        layout.scale if keep_interval else replace(layout.scale, t=None),
        layout.channels if same_channels else (),
        layout.timestamps if same_frames else None,
    )


def guessed_axes(given: str, lengths: tuple[int, ...], path: str) -> tuple[str, str]:
    """Letters for axes of pages that the file does not name, and the note that says so.

    Parameters
    ----------
    given
        One letter an axis, either case; whatever is not of ``tcz`` is unknown.
    lengths
        Pages along each axis.
    path
        The file, for messages.

    Returns
    -------
    axes, note
        Letters of ``tcz``; unknown axes are frames, then slices, then channels.

    Raises
    ------
    UsageError
        If there are more than three axes, or one is named twice.
    """
    known = [a if a in PAGE_AXES else "" for a in given.lower()]
    named = [a for a in known if a]
    if len(lengths) > len(PAGE_AXES) or len(set(named)) < len(named):
        raise UsageError(f"{path}: axes {given} of lengths {lengths} are too many: give --axes")
    free = (a for a in "tzc" if a not in known)
    axes = "".join(a or next(free) for a in known)
    if all(known):
        return axes, ""
    what = " x ".join(f"{n} {_NAMES[a]}" for a, n in zip(axes, lengths, strict=True))
    return axes, f"the axes of the pages are not named: taken as {what} (--axes to change)"


def axes_as_asked(
    asked: str, known: tuple[int, ...], pages: int, page_shape: tuple[int, int], path: str
) -> tuple[str, tuple[int, ...]]:
    """The page axes that ``--axes`` names, and their lengths.

    Parameters
    ----------
    asked
        One letter a stored axis, either case, ending in YX.
    known
        Lengths of the page axes by the file's own metadata, those longer than one.
    pages
        Pages of the file.
    page_shape
        Rows and columns.
    path
        The file, for messages.

    Raises
    ------
    UsageError
        If the letters do not fit the stored shape.
    """
    letters = asked.strip().lower()
    flat = (pages,) if pages > 1 else ()
    fits = [lengths for lengths in (known, flat) if len(lengths) == len(letters) - 2]
    right = set(letters) <= set("tczyx") and len(set(letters)) == len(letters)
    if not (right and letters.endswith("yx") and fits):
        shapes = " or ".join(
            str((*lengths, *page_shape)) for lengths in dict.fromkeys((known, flat))
        )
        raise UsageError(
            f"--axes {asked}: the stored shape of {path} is {shapes}; give one letter an axis, of "
            "T, C, Z, Y and X, ending in YX"
        )
    return letters[:-2], fits[0]


def extended(
    axes: str, lengths: tuple[int, ...], pages: int, path: str
) -> tuple[str, tuple[int, ...]]:
    """Axes and lengths when what the first file has goes on over several files, frame by frame.

    Parameters
    ----------
    axes, lengths
        Of the first file, the slowest axis first; letters not of ``tcz`` are unknown.
    pages
        Pages of all files together.
    path
        The first file, for messages.

    Raises
    ------
    StackUnreadable
        If the pages of all files are no whole number of frames, or frames are not the slowest
        axis.
    """
    if not axes or math.prod(lengths) == pages:
        return axes, lengths
    if set(axes) <= set("cz"):  # a volume or a set of channels a file: a frame each
        axes, lengths = "t" + axes, (1, *lengths)
    step = math.prod(lengths[1:])
    if "t" in axes[1:] or pages % step:
        raise StackUnreadable(
            f"{path}: {pages} pages over all files do not continue {lengths} along "
            f"{axes.upper()}; a file may be missing; --axes TYX reads them as plain frames"
        )
    return axes, (pages // step, *lengths[1:])


def check_count(promised: int, pages: int, path: str) -> None:
    """Refuse a file with fewer pages than its header promises.

    Raises
    ------
    StackTruncated
        With both counts.
    """
    if pages < promised:
        raise StackTruncated(
            f"{path}: its header promises {promised} pages, {pages} are stored; it is truncated: "
            "copy it again"
        )
