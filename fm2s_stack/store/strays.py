"""Files in an output that are no part of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from fm2s_stack.store.inventory import METADATA, array_keys

_OF_DESKTOPS = (".DS_Store", "._", ".nfs", "Thumbs.db", "desktop.ini")  # nobody's damage


def stray_keys(path: str | Path, known: Collection[str]) -> list[str]:
    """Keys of files among those of an output that are none of it.

    Parameters
    ----------
    path
        The output.
    known
        Keys of its files.
    """
    root = Path(path)
    there = [*array_keys(root), *(name for name in METADATA if (root / name).is_file())]
    strange = [key for key in there if key not in known]
    return [key for key in strange if not key.rpartition("/")[2].startswith(_OF_DESKTOPS)]


def strays_of_begun(
    path: str | Path, known: Collection[str], documents: Mapping[str, bytes]
) -> list[str]:
    """The same of an output that is being made: units that are in hand, and a seal, write too.

    Parameters
    ----------
    path
        The output.
    known
        Keys of what it was begun with, and of units that are done.
    documents
        Metadata files by their keys: those of arrays tell which files units may bring.
    """
    grids = [grid for key, text in documents.items() if (grid := _grid(key, text)) is not None]
    return [
        key
        for key in stray_keys(path, known)
        if not is_in_hand(key) and not any(_is_in(key, *grid) for grid in grids)
    ]


def is_in_hand(key: str) -> bool:
    """Whether a file is one that a writer has not finished, or a seal that was cut has left."""
    own = ("fm2s_stack/units/", "fm2s_stack/spare/")
    return ".partial" in key.rpartition("/")[2] or key.startswith(own)


def _grid(key: str, text: bytes) -> tuple[str, tuple[int, ...]] | None:
    """Beginning of the keys of an array's files, and how many there are along each axis."""
    folder, _, name = key.rpartition("/")
    if name not in ("zarr.json", ".zarray") or not folder:
        return None
    told = json.loads(text)
    if name == ".zarray":
        start, files = f"{folder}/", told["chunks"]
    elif told.get("node_type") == "array":
        start, files = f"{folder}/c/", told["chunk_grid"]["configuration"]["chunk_shape"]
    else:
        return None
    return start, tuple(-(-n // file) for n, file in zip(told["shape"], files, strict=True))


def _is_in(key: str, start: str, counts: tuple[int, ...]) -> bool:
    places = list(_numbers(key.removeprefix(start)))
    return (
        key == start + "/".join(map(str, places))
        and len(places) == len(counts)
        and all(place < count for place, count in zip(places, counts, strict=True))
    )


def _numbers(text: str) -> Iterator[int]:
    yield from (int(part) for part in text.split("/") if part.isascii() and part.isdigit())
