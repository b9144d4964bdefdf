"""What every reader takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fm2s_stack.errors import StackUnreadable
from fm2s_stack.image import Image
from fm2s_stack.stack.base import Identity

if TYPE_CHECKING:
    import dask.array as da

    from fm2s_stack.stack.plane_reader import PlaneReader


@dataclass(frozen=True)
class OpenOptions:
    """What the user says about an input."""

    axes: str | None = None  #: one letter an axis of the stored array, such as ``"TYX"``
    series: int | None = None  #: which series of a file with several
    cache_dir: Path | None = None  #: folder of page tables; None: the user's cache folder


@dataclass(frozen=True)
class Recording:
    """What a reader found: the whole source, nothing selected."""

    format: str  #: what it was read as, for example ``"ScanImage TIFF"``
    array: da.Array  #: lazy pixels, ``tczyx``
    planes: PlaneReader  #: one plane by itself
    image: Image  #: axes, scale, channels, dtype
    identity: Identity  #: of the content
    breaks: tuple[int, ...] = ()  #: frames at which a new file, trial or cycle starts
    notes: tuple[str, ...] = ()  #: what was assumed or dropped, to be said aloud
    headers: Mapping[str, str] = field(default_factory=dict)  #: raw metadata by name


def cannot_read(path: object, error: OSError) -> StackUnreadable:
    """What to raise where the system refuses: no permission, a lost disk.

    Parameters
    ----------
    path
        What was being read, where the error names no file.
    error
        As the system gave it; raise ``from`` it.
    """
    return StackUnreadable(f"{error.filename or path}: cannot be read: {error.strerror or error}")


def one_line(error: BaseException, most: int = 200) -> str:
    """What a library raised, as part of one line: no breaks, nothing unprintable, cut at `most`.

    Parameters
    ----------
    error
        Whatever decoders raise on damaged bytes, which their messages may quote.
    most
        Characters.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:most]
