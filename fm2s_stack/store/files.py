"""Files that are there whole or not at all, and folders that outlive a power cut."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fm2s_stack.store.processes import NOWHERE, is_alive, place_of_processes

ABANDONED = 24 * 3600.0  #: seconds without a write, after which a file from elsewhere is litter


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `target` when the block ends well.

    The temporary file stands beside `target` (a rename within one folder is atomic on local
    and network file systems alike), has its suffix, and is removed if the block raises. What
    killed processes left beside `target` under such names goes: of this machine before the block,
    since it may be what fills the disk, of others when the block ends well.

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
    writer = f"{place_of_processes()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    temporary = target.with_name(f".{target.stem}.{writer}.partial{target.suffix}")
    _sweep(target, None)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # Its age is told by the clock that stamps files, whatever ours says.
    with suppress(OSError):
        _sweep(target, target.stat().st_mtime)


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


def _sweep(target: Path, now: float | None) -> None:
    """Remove the temporary files of `target` whose writers are gone.

    Those of other machines go by their age; they are left where `now` is not known.
    """
    stem, suffix = re.escape(target.stem), re.escape(target.suffix)
    pattern = re.compile(rf"\.{stem}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{6}}\.partial{suffix}")
    # Litter that cannot be removed is no reason to fail.
    with suppress(OSError):
        for file in target.parent.iterdir():
            named = pattern.fullmatch(file.name)
            if named and _is_abandoned(file, named[1], int(named[2]), now):
                file.unlink()


def _is_abandoned(file: Path, place: str, process: int, now: float | None) -> bool:
    if place == place_of_processes() != NOWHERE:
        return not is_alive(process)
    return now is not None and now - file.stat().st_mtime > ABANDONED
