"""What mends a sealed output: a second copy of everything in it that no unit brings again.

The group ``fm2s_stack/spare`` has, in its attribute ``root``, the document with the root's
attributes, and in the uint8 array ``files`` the bytes of the files that the root's key
``files`` lists (but those of the group itself), one after another, as they are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.store.document import attributes_of, is_sealed, parsed, text_of
from fm2s_stack.store.files import replacing
from fm2s_stack.store.integrity import StoredFile

SPARE = "fm2s_stack/spare"
#: the file of a group that has its attributes, by version of the zarr format
DOCUMENTS: Mapping[int, str] = {3: "zarr.json", 2: ".zattrs"}
_CHUNKS = (f"{SPARE}/files/c/0", f"{SPARE}/files/0")


def write_spare(path: str | Path, keys: Sequence[str]) -> None:
    """Copy files into the spare, in place of what is there.

    Parameters
    ----------
    path
        The output.
    keys
        Of every file beside those of units, in the order that the root will list them; those
        of the spare itself are passed over.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from fm2s_stack.store.side import side_group, store_side

    folder = Path(path) / SPARE
    try:
        if folder.exists():
            shutil.rmtree(folder)
        content = b"".join((Path(path) / key).read_bytes() for key in keys if not is_spare(key))
        side_group(path).create_group("spare")
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    store_side(path, "spare/files", np.frombuffer(content, dtype=np.uint8), plain=True)


def is_spare(key: str) -> bool:
    """Whether a file is the spare's."""
    return key.startswith(f"{SPARE}/")


def is_copy(key: str) -> bool:
    """Whether a file is the copy of the root's document, which no document can list."""
    return key in {f"{SPARE}/{name}" for name in DOCUMENTS.values()}


def keep_document(path: str | Path, document: Mapping[str, Any]) -> None:
    """Copy the root's document into the spare, where there is one; whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder = Path(path) / SPARE
    if folder.is_dir():
        with replacing(folder / DOCUMENTS[_version(document)]) as temporary:
            temporary.write_bytes(copy_of(document))


def copy_of(document: Mapping[str, Any]) -> bytes:
    """The bytes that `keep_document` writes."""
    attributes = {"root": document}
    if _version(document) == 2:
        return text_of(attributes).encode()
    return text_of({"attributes": attributes, "zarr_format": 3, "node_type": "group"}).encode()


def sealed_documents(path: str | Path) -> list[dict[str, Any]]:
    """Every whole document of a sealed output: of the root, of the copy; in this order."""
    root = Path(path)
    found = []
    for name in DOCUMENTS.values():
        found += [parsed(_bytes(root / name)), _copied(_bytes(root / SPARE / name))]
    whole = [document for document in found if document is not None and is_sealed(document)]
    return [document for n, document in enumerate(whole) if document not in whole[:n]]


def root_files(document: Mapping[str, Any]) -> dict[str, bytes]:
    """What the root's file and its copy must hold, by key."""
    name = DOCUMENTS[_version(document)]
    listed = attributes_of(document)["fm2s_stack"].get("files") or []
    has_copy = any(is_spare(key) for key, *_ in listed)
    root = {name: text_of(document).encode()}
    return {**root, f"{SPARE}/{name}": copy_of(document)} if has_copy else root


def spare_bytes(path: str | Path, files: Sequence[StoredFile], key: str) -> bytes:
    """The bytes that the spare has of a file; they may be damaged.

    Parameters
    ----------
    path
        The output.
    files
        As the root lists them.
    key
        Of the file.
    """
    copied = [file for file in files if not is_spare(file.key)]
    place = next(n for n, file in enumerate(copied) if file.key == key)
    start = sum(file.size for file in copied[:place])
    content = b"".join(_bytes(Path(path) / name) for name in _CHUNKS)
    return content[start : start + copied[place].size]


def _copied(content: bytes) -> dict[str, Any] | None:
    try:
        document = attributes_of(json.loads(content)).get("root")
        whole = isinstance(document, dict) and copy_of(document) == content
    except (ValueError, AttributeError, TypeError):
        return None
    return document if whole else None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _version(document: Mapping[str, Any]) -> int:
    return 3 if "zarr_format" in document else 2
