"""Which files an output has beside those of its units, and litter among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from fm2s_stack.store.side import GROUP
from fm2s_stack.store.spare import is_copy

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
ROOTS = ("zarr.json", ".zattrs")  #: the file that holds the attributes, zarr 3 and 2


def side_keys(path: str | Path, unit_keys: Collection[str]) -> list[str]:
    """Keys of all that an output needs beside the files of units.

    The file with the root's attributes and its copy are left out: they tell of the others, and
    have a checksum of their own in them.

    Parameters
    ----------
    path
        The output.
    unit_keys
        Keys of the files of units, some of which are among the networks.
    """
    root = Path(path)
    keys = [".zgroup"] if (root / ".zgroup").is_file() else []
    for level in sorted(root.glob("s[0-9]*")):
        keys += [f"{level.name}/{name}" for name in METADATA if (level / name).is_file()]
    keys += [key for key in _walk(root, GROUP) if key not in unit_keys and not is_copy(key)]
    return keys


def array_keys(path: str | Path) -> Iterator[str]:
    """Keys of every file in the levels and beside them that lies in the output now."""
    root = Path(path)
    for folder in (*sorted(root.glob("s[0-9]*")), root / GROUP):
        yield from _walk(root, folder.name)


def sweep_partial(path: str | Path) -> None:
    """Remove what writers that were killed have left. Nobody may be writing."""
    # zarr names them KEY.UUID.partial, our own rename .STEM.WRITER.partial.SUFFIX.
    with suppress(FileNotFoundError):
        for file in Path(path).rglob("*.partial*"):
            with suppress(OSError):
                file.unlink()


def _walk(root: Path, folder: str) -> Iterator[str]:
    for file in sorted((root / folder).rglob("*")):
        if file.is_file():
            yield file.relative_to(root).as_posix()
