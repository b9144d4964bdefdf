"""Outputs whose creation was cut short, before they could be told to be ours.

zarr makes the folder, then writes the root's metadata into it, and flushes nothing: a kill or a
power cut in between leaves a folder with less in it than makes an output. A mark in the
journal, made before, tells that it is no one else's.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from fm2s_stack.errors import OutputError
from fm2s_stack.store.attributes import ROOT_FILES, read_document
from fm2s_stack.store.document import attributes_of
from fm2s_stack.store.files import replacing
from fm2s_stack.store.side import GROUP

_MARK = "creating.json"  # in the folder of the journal
_OURS = re.compile(rf"s\d+|{GROUP}|.*\.partial.*|" + "|".join(map(re.escape, ROOT_FILES)))


def mark_creation(journal: str | Path) -> None:
    """Tell, on the disk, that the output beside a journal is about to be made.

    Raises
    ------
    OutputError
        If the journal's folder is gone, or cannot be written.
    """
    try:
        with replacing(Path(journal) / _MARK) as temporary:
            temporary.write_text("{}", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{journal} cannot be written: {error}") from error


def is_half_made(output: str | Path, journal: str | Path) -> bool:
    """Whether a folder is what a creation that was cut short has left.

    That is: the mark is there, the root's metadata cannot be read or hold no attributes, and
    nothing is in the folder but what zarr puts there. So is what a run leaves whose output was
    removed under it.
    """
    folder = Path(output)
    if folder.is_symlink() or not folder.is_dir() or not (Path(journal) / _MARK).is_file():
        return False
    try:
        attributes = attributes_of(read_document(folder))
    except OutputError:
        attributes = {}
    return not attributes and all(_OURS.fullmatch(entry.name) for entry in folder.iterdir())


def remove_half_made(output: str | Path) -> None:
    """Remove a folder that `is_half_made`.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    try:
        shutil.rmtree(output)
    except OSError as error:
        raise OutputError(f"{output} cannot be removed: {error}; check permissions") from error
