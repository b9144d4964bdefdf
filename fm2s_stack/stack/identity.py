"""What identifies the content of many files, wherever they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from fm2s_stack.errors import StackTruncated
from fm2s_stack.stack.base import Identity
from fm2s_stack.stack.times import FileTimes

SAMPLED_FILES = 16
_PIECE = 64 * 1024


def identify_files(
    name: str, files: Sequence[Path], *, about: bytes = b"", sampled: Sequence[Path] | None = None
) -> Identity:
    """Identity over the sizes of all files, in order, and the bytes of sampled ones.

    Parameters
    ----------
    name
        What the recording is called; not part of the digest.
    files
        Every file, in an order that follows from the content. Their names are no content.
    about
        Further bytes that belong to the content, such as a shape or the table of chunk keys.
    sampled
        Files to read bytes of; default: up to 16 of `files`, evenly spread, first and last
        among them. Of each, the first and last 64 KiB count.

    Raises
    ------
    StackTruncated
        If a file is not there.
    """
    digest, statuses = blake2b(about, digest_size=20), [_status(file) for file in files]
    for status in statuses:
        digest.update(status.st_size.to_bytes(8, "little"))
    for file in _spread(files) if sampled is None else sampled:
        digest.update(_ends(file))
    return Identity(
        name,
        sum(status.st_size for status in statuses),
        max((status.st_mtime for status in statuses), default=0.0),
        digest.hexdigest(),
        FileTimes.of(files, statuses),
    )


def _status(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except FileNotFoundError as error:
        raise StackTruncated(f"{file}: the file is not there; restore it") from error


def _spread(files: Sequence[Path]) -> list[Path]:
    count = min(SAMPLED_FILES, len(files))
    return [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(_PIECE)
        stream.seek(max(len(head), file.stat().st_size - _PIECE))
        return head + stream.read(_PIECE)
