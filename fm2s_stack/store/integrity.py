"""Sizes and checksums of stored files, and their flushing to the disk."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fm2s_stack.errors import OutputError
from fm2s_stack.store.files import sync_file, sync_folder

_PIECE = 2**22  # bytes read at a time

FileState = Literal["intact", "missing", "resized", "changed"]


@dataclass(frozen=True)
class StoredFile:
    """What a file of an output must be."""

    key: str  #: path relative to the output's folder, with slashes
    size: int  #: bytes
    crc32: int  #: CRC-32 of the bytes (ISO-HDLC, zlib's), unsigned 32 bits


def checksum(path: Path) -> int:
    """CRC-32 of a file's bytes (RFC 1952, section 8).

    Not crc32c: zarr ends every chunk and shard index with its own crc32c, after which that of
    the file depends on the lengths alone. Every shard of one length would have the same, and
    one in the place of another would pass.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
    return crc


def describe_file(root: str | Path, key: str) -> StoredFile:
    """What a file is now.

    Raises
    ------
    OSError
        If it is not there or cannot be read.
    """
    path = Path(root) / key
    return StoredFile(key, path.stat().st_size, checksum(path))


def flush_files(root: str | Path, keys: Sequence[str]) -> tuple[StoredFile, ...]:
    """Flush files and every folder that leads to them to the disk; what they are.

    Raises
    ------
    OutputError
        If one is not there, or the disk reports an error.
    """
    try:
        files = tuple(describe_file(root, key) for key in keys)
        for key in keys:
            sync_file(Path(root) / key)
    except FileNotFoundError as error:
        raise OutputError(f"{root} was removed or changed while it was written: {error}") from error
    except OSError as error:
        raise OutputError(f"{root} cannot be flushed to the disk: {error}; free space?") from error
    for folder in _folders(Path(root), keys):
        sync_folder(folder)
    return files


def is_there(root: str | Path, file: StoredFile) -> bool:
    """Whether a file exists with its size."""
    try:
        return (Path(root) / file.key).stat().st_size == file.size
    except OSError:
        return False


def state_of(root: str | Path, file: StoredFile) -> FileState:
    """Compare a file with what it must be, byte for byte by its checksum.

    Raises
    ------
    OSError
        If it is there and cannot be read.
    """
    path = Path(root) / file.key
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.size:
        return "resized"
    return "intact" if checksum(path) == file.crc32 else "changed"


def is_whole(content: bytes, file: StoredFile) -> bool:
    """Whether bytes are those of a file."""
    return len(content) == file.size and zlib.crc32(content) == file.crc32


def _folders(root: Path, keys: Iterable[str]) -> set[Path]:
    """Every folder from the root to the files."""
    found = {root}
    for key in keys:
        for parent in (root / key).parents:
            if parent in found:
                break
            found.add(parent)
    return found
