"""What the user says of frames: where trials start, and which are to be left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fm2s_stack.errors import UsageError
from fm2s_stack.stack.frame_ranges import Bounds, FrameRanges

FrameList = str | os.PathLike[str] | Sequence[int | Bounds]

_ENTRY = re.compile(r"([0-9]{1,18})(?::([0-9]{1,18}))?")


def require_ascending(breaks: Sequence[int]) -> None:
    """Refuse first frames of trials that are not in order.

    Raises
    ------
    UsageError
        If a number is negative, or not larger than the one before it.
    """
    text = ",".join(map(str, breaks))
    for before, frame in zip((-1, *breaks), breaks, strict=False):
        if frame <= before:
            after = "negative" if frame < 0 else f"not after {before}"
            raise UsageError(
                f"--breaks {text}: {frame} is {after}; give the first frames of trials in "
                "ascending order, from 0"
            )


def require_breaks(breaks: Sequence[int], frames: int, path: str) -> None:
    """Refuse first frames of trials that the recording cannot have.

    Raises
    ------
    UsageError
        As `require_ascending`; or if the recording at `path`, of so many frames, ends before one.
    """
    require_ascending(breaks)
    beyond = next((frame for frame in breaks if frame >= frames), None)
    if beyond is not None:
        raise UsageError(f"--breaks: {beyond} is beyond the end: {_frames_of(path, frames)}")


def excluded_frames(given: FrameList, frames: int, path: str) -> FrameRanges:
    """The frames that a list names.

    Parameters
    ----------
    given
        A text file: frame numbers, or ranges such as ``500:510`` (end not included), one a line
        or separated by commas or blanks; what follows a ``#`` is a comment. Or the numbers and
        (first, one past the last) themselves.
    frames
        Of the whole recording.
    path
        Of it, for messages.

    Raises
    ------
    UsageError
        Naming file, line and value: if it cannot be read, is no such list, or names frames
        beyond the recording; if the recording has one frame, of which none can be left out.
    """
    entries = list(_entries(given))
    for where, text, (_, stop) in entries:
        if stop > frames:
            raise UsageError(f"{where}: {text} is beyond the end: {_frames_of(path, frames)}")
    if frames == 1:
        raise UsageError(
            f"{list_name(given)}: {path} has one frame, so there is none to leave out: frames are "
            "counted along t, and slices are selected with --slices"
        )
    return FrameRanges.of(run for _, _, run in entries)


def require_frame_list(file: str | os.PathLike[str]) -> None:
    """Refuse a file that is no list of frames, whatever the recording.

    Raises
    ------
    UsageError
        As `excluded_frames`.
    """
    list(_entries(file))


def _entries(given: FrameList) -> Iterator[tuple[str, str, Bounds]]:
    """Where each entry of a list is, its text, and the frames that it names."""
    if isinstance(given, str | os.PathLike):
        for number, line in enumerate(_lines(given), 1):
            where = f"{list_name(given)}, line {number}"
            for text in line.partition("#")[0].replace(",", " ").split():
                yield where, text, _run(where, text)
        return
    for entry in given:
        text = ":".join(map(str, entry)) if isinstance(entry, tuple | list) else str(entry)
        yield list_name(given), text, _run(list_name(given), text)


def _lines(file: str | os.PathLike[str]) -> list[str]:
    name = list_name(file)
    try:
        return Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not a UTF-8 list of frames ({error.reason})") from error
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror or error}") from error


def _run(where: str, text: str) -> Bounds:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise UsageError(f"{where}: {text} is no frame, such as 500, and no range, such as 500:510")
    first = int(match[1])
    stop = first + 1 if match[2] is None else int(match[2])
    if stop <= first:
        raise UsageError(
            f"{where}: {text} holds no frame; give first:end with the end not included"
        )
    return first, stop


def list_name(given: FrameList) -> str:
    """What a list of excluded frames is called in messages."""
    is_file = isinstance(given, str | os.PathLike)
    return f"--exclude-frames {os.fspath(given)}" if is_file else "--exclude-frames"  # type: ignore[arg-type]


def _frames_of(path: str, frames: int) -> str:
    last = f"frames 0 to {frames - 1}" if frames > 1 else "one frame, 0"
    return f"{path} has {last}"
