"""What a sealed output must hold, told by whichever of its two records of that is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fm2s_stack.errors import OutputError
from fm2s_stack.store.attributes import read_attributes
from fm2s_stack.store.document import KEY, attributes_of
from fm2s_stack.store.frozen import frozen_of
from fm2s_stack.store.integrity import StoredFile, is_whole, state_of
from fm2s_stack.store.spare import root_files, sealed_documents, spare_bytes
from fm2s_stack.store.unit_table import read_units

TABLE = "fm2s_stack/units/"  #: where the table of units is

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sealed:
    """What a sealed output must hold."""

    path: Path  #: of the output
    document: Mapping[str, Any]  #: the root's, whole
    rows: tuple[Row, ...] | None  #: of the table of units; None: it is lost

    @classmethod
    def of(cls, path: Path, document: Mapping[str, Any]) -> Sealed:
        """What a document, from `whole_document`, tells of an output."""
        return cls(path, document, unit_rows(path, side_files(document)))

    @property
    def told(self) -> Mapping[str, Any]:
        """The attribute ``fm2s_stack``."""
        found: Mapping[str, Any] = attributes_of(self.document)[KEY]
        return found

    @property
    def side(self) -> list[StoredFile]:
        """The files that are no unit's, but for those with the root's document."""
        return side_files(self.document)

    @property
    def keys(self) -> set[str]:
        """Of every file that belongs to it."""
        units = {file.key for row in self.rows or () for file in files_of(row)}
        return {*root_files(self.document), *(file.key for file in self.side), *units}


def files_of(row: Row) -> list[StoredFile]:
    """The files of a unit."""
    return [StoredFile(*file) for file in row["files"]]


def whole_document(path: Path) -> dict[str, Any] | None:
    """The root's document of a complete output, of the root or of its copy.

    Of two that differ, both whole, it is the one whose list of files fits those that are there.

    Returns
    -------
    dict or None
        None where the output is being made.

    Raises
    ------
    OutputError
        If both are damaged, tell of no files, or there is no output of this package.
    """
    found = sealed_documents(path)
    if is_being_made(path, found):
        return None
    if not found:
        read_attributes(path)  # raises where nothing of ours is there
        raise OutputError(
            f"{path}: the metadata of its root are damaged, and no copy of them is whole; restore "
            "it from a backup, or make it anew with --overwrite"
        )
    if any("files" not in attributes_of(document)[KEY] for document in found):
        raise OutputError(
            f"{path} was made by a version of fm2s-stack that kept no checksums of files: there is "
            "nothing to compare it with"
        )
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda document: _fitting(path, document))


def is_being_made(path: Path, sealed: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether a run, or a repair, has begun an output and not sealed it.

    Parameters
    ----------
    path
        The output.
    sealed
        Whole documents of it, which a repair leaves where they are.
    """
    if not sealed and frozen_of(path) is not None:
        return True  # whatever became of its root
    try:
        told = read_attributes(path)
    except OutputError:
        return False
    tokens = {attributes_of(document)[KEY].get("token") for document in sealed}
    begun = told.get("status") == "incomplete" and "checksum" not in told
    return begun and tokens <= {told.get("token")}


def _fitting(path: Path, document: Mapping[str, Any]) -> int:
    return sum(_is_intact(path, file) for file in side_files(document))


def _is_intact(path: Path, file: StoredFile) -> bool:
    try:
        return state_of(path, file) == "intact"
    except OSError:
        return False


def side_files(document: Mapping[str, Any]) -> list[StoredFile]:
    """The files that a root's document lists: all but those of units and its own."""
    return [StoredFile(*file) for file in attributes_of(document)[KEY].get("files") or ()]


def unit_rows(path: Path, side: Sequence[StoredFile]) -> tuple[Row, ...] | None:
    """The table of units, of the copy where it is damaged; None where that is, too.

    Parameters
    ----------
    path
        The output.
    side
        From `side_files`.
    """
    with TemporaryDirectory(prefix="fm2s-stack-") as folder:
        for file in side:
            if not file.key.startswith(TABLE):
                continue
            content = whole_bytes(path, side, file)
            if content is None:
                return None
            place = Path(folder) / file.key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return tuple(read_units(folder))


def whole_bytes(path: Path, side: Sequence[StoredFile], file: StoredFile) -> bytes | None:
    """The bytes of a file of the root's list, or of their copy; None where both are damaged."""
    try:
        content = (path / file.key).read_bytes()
    except OSError:
        content = b""
    for found in (content, spare_bytes(path, side, file.key)):
        if is_whole(found, file):
            return found
    return None
