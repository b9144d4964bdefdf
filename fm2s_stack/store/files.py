"""Files that are there whole or not at all, and folders that outlive a power cut."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `target` when the block ends well.

    The temporary file stands beside `target` (a rename within one folder is atomic on local
    and network file systems alike), has its suffix, and is removed if the block raises.

    Parameters
    ----------
    target
        The final name; an existing file is replaced.

    Yields
    ------
    Path
        The temporary file, not created yet.

    Raises
    ------
    OSError
        Of the file system, from flushing or renaming.
    """
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.partial{target.suffix}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk.

    Raises
    ------
    OSError
        If the file is missing or the disk reports an error.
    """
    # Windows flushes only what is open for writing.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, where the platform can do that."""
    # Windows opens no folders, and some network file systems refuse to flush one.
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
