"""The state of an output: its attribute ``fm2s_stack``, its status, its removal.

The metadata files are edited as JSON rather than through zarr: that way each change is one
rename of a flushed file, and telling what stands at a path needs no heavy import.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fm2s_stack.errors import OutputError, OutputExists, OutputIncomplete
from fm2s_stack.store.document import KEY, attributes_of, checksum_of, text_of
from fm2s_stack.store.files import replacing
from fm2s_stack.store.provenance import jsonable
from fm2s_stack.store.spare import keep_document, root_files

ROOT_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

OutputStatus = Literal["absent", "empty", "complete", "incomplete", "foreign"]


def output_status(path: str | Path) -> OutputStatus:
    """What stands at a path.

    Returns
    -------
    str
        ``absent``: nothing; ``empty``: an empty folder; ``complete`` or ``incomplete``: an
        output of this package; ``foreign``: anything else.
    """
    folder = Path(path)
    if not folder.exists() and not folder.is_symlink():
        return "absent"
    if not folder.is_dir():
        return "foreign"
    if not any(folder.iterdir()):
        return "empty"
    try:
        status = read_attributes(folder).get("status")
    except OutputError:
        return "foreign"
    return "complete" if status == "complete" else "incomplete"


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attribute ``fm2s_stack`` of an output; `provenance.KEYS` documents its keys.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    """
    found = attributes_of(read_document(Path(path))).get(KEY)
    if not isinstance(found, dict):
        raise OutputError(f"{path} is an OME-Zarr or zarr that fm2s-stack did not write")
    return found


def set_attributes(path: str | Path, **changes: object) -> None:
    """Change keys of the attribute ``fm2s_stack``: all of them or, after a crash, none.

    Only one process may do this at a time.

    Parameters
    ----------
    path
        The output.
    **changes
        New values, made JSON-safe by `provenance.jsonable`.

    Raises
    ------
    OutputError
        If there is no output of this package at the path, or it cannot be written.
    """
    _change(Path(path), changes)


def seal(
    path: str | Path,
    provenance: Mapping[str, object],
    windows: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Turn the status to ``complete``: the last act on an output, and one rename.

    Parameters
    ----------
    path
        The output, every unit of it written and flushed.
    provenance
        Keys of the attribute ``fm2s_stack`` to set or change; ``checksum`` is added.
    windows
        Darkest and brightest grey level to show, one pair a channel, for the omero display
        range; None leaves what the creation put there.

    Raises
    ------
    OutputError
        If there is no output of this package at the path, or it cannot be written.
    """
    _change(Path(path), {**provenance, "status": "complete"}, windows)


def document_with(path: str | Path, changes: Mapping[str, object]) -> dict[str, Any]:
    """The root's document as `set_attributes` would write it; nothing is written.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    """
    folder = Path(path)
    document = read_document(folder)
    attributes = attributes_of(document)
    if not isinstance(attributes.get(KEY), dict):
        raise OutputError(f"{folder} is an OME-Zarr or zarr that fm2s-stack did not write")
    attributes[KEY].update({key: jsonable(value) for key, value in changes.items()})
    return document


def restore_document(path: str | Path, document: Mapping[str, Any]) -> None:
    """Put a whole document in the place of the root's, and of its copy.

    Parameters
    ----------
    path
        The output.
    document
        From `fm2s_stack.store.spare.sealed_documents`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        for key, content in reversed(root_files(document).items()):
            with replacing(Path(path) / key) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error


def metadata_is_intact(path: str | Path) -> bool:
    """Whether the file with the root's attributes is as the seal left it.

    Raises
    ------
    OutputError
        If it cannot be read.
    """
    document = read_document(Path(path))
    told = attributes_of(document).get(KEY)
    return isinstance(told, dict) and told.get("checksum") == checksum_of(document)


def require_complete(path: str | Path) -> None:
    """Refuse an output that is not sealed.

    Raises
    ------
    OutputIncomplete
        If a run left it unfinished.
    OutputError
        If there is no output of this package at the path.
    """
    if read_attributes(path).get("status") != "complete":
        raise OutputIncomplete(
            f"{path} is incomplete, its run was stopped: run the command that made it again,"
            " which continues it"
        )


def clear_output(path: str | Path) -> None:
    """Remove what stands at a path, for ``--overwrite``; only zarr and empty folders go.

    Interrupted at any instant it leaves something that reads as incomplete and can be removed
    again: the status changes first and the root's metadata go last.

    Raises
    ------
    OutputExists
        If a file, a link, or a folder with anything but zarr in it stands there.
    OutputError
        If it cannot be removed.
    """
    require_clearable(path)
    folder = Path(path)
    status = output_status(folder)
    if status == "absent":
        return
    if status == "complete":
        set_attributes(folder, status="incomplete")
    try:
        _remove_tree(folder)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error}; check permissions") from error


def require_clearable(path: str | Path) -> None:
    """Refuse what `clear_output` would not remove, without touching it.

    Raises
    ------
    OutputExists
        If a file, a link, or a folder with anything but zarr in it stands there.
    """
    folder = Path(path)
    status = output_status(folder)
    if status == "absent":
        return
    if folder.is_symlink() or not folder.is_dir():
        raise OutputExists(f"{path} is a file or a link, not a zarr: remove it, or choose another")
    if status == "foreign" and not _is_zarr(folder):
        raise OutputExists(
            f"{path} is a folder without zarr metadata, which --overwrite does not remove:"
            " remove it, or choose another name"
        )


def _remove_tree(folder: Path) -> None:
    metadata = [folder / name for name in ROOT_FILES]
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry not in metadata:
            entry.unlink()
    for file in metadata:
        file.unlink(missing_ok=True)
    folder.rmdir()


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ROOT_FILES)


def _metadata_file(folder: Path) -> Path:
    return folder / ("zarr.json" if (folder / "zarr.json").is_file() else ".zattrs")


def read_document(folder: Path) -> dict[str, Any]:
    """The file with the root's attributes.

    Raises
    ------
    OutputError
        If there is none, or it holds no JSON object.
    """
    file = _metadata_file(folder)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"{folder} is not an output of fm2s-stack: no {file.name} in it"
        ) from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{file} cannot be read: {error}; restore it or start anew") from error
    if not isinstance(document, dict):
        raise OutputError(f"{file} holds no JSON object; restore it or start anew")
    return document


def _change(
    folder: Path,
    changes: Mapping[str, object],
    windows: Sequence[tuple[float, float]] | None = None,
) -> None:
    document = document_with(folder, changes)
    attributes = attributes_of(document)
    if windows is not None:
        _set_windows(attributes, windows)
    attributes[KEY].pop("checksum", None)
    if attributes[KEY].get("status") == "complete":
        attributes[KEY]["checksum"] = checksum_of(document)
    try:
        if "checksum" in attributes[KEY]:
            keep_document(folder, document)
        with replacing(_metadata_file(folder)) as temporary:
            temporary.write_bytes(text_of(document).encode())
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error


def _set_windows(attributes: dict[str, Any], windows: Sequence[tuple[float, float]]) -> None:
    channels = attributes.get("ome", attributes)["omero"]["channels"]
    for channel, (start, end) in zip(channels, windows, strict=True):
        low, high = float(start), float(end)
        if not low < high:
            low, high = low, low + 1.0
        window = channel["window"]
        window.update(start=low, end=high)
        window.update(min=min(window["min"], low), max=max(window["max"], high))
