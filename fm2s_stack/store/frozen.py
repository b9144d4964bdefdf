"""A copy of what an output is begun with, so that damage to it is found and put back.

While an output is being made, ``frozen.zip`` in the folder of its journal holds the root's
document and every file that no unit brings: networks, raw headers, the arrays' metadata. It is
stored, not deflated, and a ZIP has the size and the CRC-32 of each file; one that does not pass
its own test counts for nothing. At the seal the output gets such a copy of its own
(`fm2s_stack.store.spare`), and this one goes with the journal.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fm2s_stack.errors import OutputError
from fm2s_stack.store.attributes import document_with, read_attributes
from fm2s_stack.store.document import KEY, attributes_of, text_of
from fm2s_stack.store.files import replacing, sync_folder
from fm2s_stack.store.integrity import StoredFile, state_of
from fm2s_stack.store.inventory import ROOTS
from fm2s_stack.store.journal import journal_folder
from fm2s_stack.store.side import GROUP

NAME = "frozen.zip"
_OWN = ("token", "terms", "weights_sha256")  # what only one job has


@dataclass(frozen=True)
class Frozen:
    """What an output was begun with."""

    path: Path  #: of the output
    contents: Mapping[str, bytes]  #: of every file that no unit brings, by key
    files: tuple[StoredFile, ...]  #: what they must be

    @property
    def root(self) -> str:
        """Key of the file with the root's attributes."""
        return next(name for name in ROOTS if name in self.contents)

    @property
    def told(self) -> dict[str, Any]:
        """The attribute ``fm2s_stack``."""
        found: dict[str, Any] = attributes_of(json.loads(self.contents[self.root]))[KEY]
        return found


def keep_frozen(path: str | Path, keys: Sequence[str], **changes: object) -> None:
    """Copy what an output is begun with into its journal, whole or not at all.

    Parameters
    ----------
    path
        The output.
    keys
        Of every file beside the root's document.
    **changes
        To the attribute ``fm2s_stack``, which `set_attributes` is about to make.

    Raises
    ------
    OutputError
        If it cannot be read or written.
    """
    folder = Path(path)
    root = next((name for name in ROOTS if (folder / name).is_file()), ROOTS[0])
    document = text_of(document_with(folder, changes)).encode()
    try:
        _write(folder, {root: document, **{key: (folder / key).read_bytes() for key in keys}})
    except OSError as error:
        raise OutputError(f"{path} cannot be copied into its journal: {error}") from error


def change_frozen(path: str | Path, **changes: object) -> None:
    """Change the attribute ``fm2s_stack`` in the copy, where there is one.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    kept = frozen_of(path)
    if kept is None:
        return
    document = text_of(document_with(kept.path, changes)).encode()
    try:
        _write(kept.path, {**kept.contents, kept.root: document})
    except OSError as error:
        raise OutputError(f"{path} cannot be copied into its journal: {error}") from error


def forget_frozen(path: str | Path) -> None:
    """Remove the copy, before an output is begun anew.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    file = journal_folder(path) / NAME
    try:
        if file.exists():
            file.unlink()
            sync_folder(file.parent)
    except OSError as error:
        raise OutputError(f"{file} cannot be removed: {error}; check permissions") from error


def frozen_of(path: str | Path) -> Frozen | None:
    """What the output at a path was begun with.

    Returns
    -------
    Frozen or None
        None where nothing was kept, the copy is damaged, or it is of something else than what
        stands there.
    """
    folder = Path(path)
    file = journal_folder(folder) / NAME
    if not file.is_file() or not folder.is_dir():
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            contents = {entry.filename: archive.read(entry) for entry in entries}
        kept = Frozen(folder, contents, tuple(map(_stored, entries)))
        return kept if _is_of_this(kept) else None
    except Exception:  # a damaged ZIP fails in every way
        return None


def restore_frozen(path: str | Path) -> list[str]:
    """Put back every file that is not what the output was begun with.

    Each is replaced as a whole, so that several processes may do it at a time.

    Returns
    -------
    list of str
        Keys of the files that were put back.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    kept = frozen_of(path)
    if kept is None:
        return []
    damaged = [file.key for file in kept.files if not _is_intact(kept.path, file)]
    try:
        for key in damaged:
            place = kept.path / key
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place) as temporary:
                temporary.write_bytes(kept.contents[key])
    except OSError as error:
        raise OutputError(f"{path}: {key} cannot be put back: {error}") from error
    return damaged


def read_begun(path: str | Path) -> dict[str, Any]:
    """The attribute ``fm2s_stack`` of an unfinished output, of the copy where there is one.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    """
    kept = frozen_of(path)
    return read_attributes(path) if kept is None else kept.told


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    with (
        replacing(journal_folder(folder) / NAME) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for key, content in contents.items():
            archive.writestr(zipfile.ZipInfo(key), content)


def _stored(entry: zipfile.ZipInfo) -> StoredFile:
    return StoredFile(entry.filename, entry.file_size, entry.CRC)


def _is_of_this(kept: Frozen) -> bool:
    """Whether what stands there is what was begun: another output may have been put there."""
    told = kept.told
    try:
        found = read_attributes(kept.path)
    except OutputError:
        side = [file for file in kept.files if file.key.startswith(f"{GROUP}/")]
        return any(_is_intact(kept.path, file) for file in side)
    return any(told.get(key) and told[key] == found.get(key) for key in _OWN)


def _is_intact(path: Path, file: StoredFile) -> bool:
    try:
        return state_of(path, file) == "intact"
    except OSError:
        return False
