"""From what the user names (a file, a folder, a glob, a list file) to files in order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fm2s_stack.errors import StackNotFound, StackUnreadable, UsageError
from fm2s_stack.stack.numbering import natural_key, refuse_gaps

Kind = Literal["tiff", "image", "zarr", "bruker"]
PathLike = str | os.PathLike

SUFFIXES: dict[str, Kind] = {
    **dict.fromkeys((".ome.tif", ".ome.tiff", ".tif", ".tiff", ".btf", ".tf8", ".tf2"), "tiff"),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), "image"),
}
SIDECARS = (".xml", ".txt", ".json", ".csv", ".log", ".md", ".ini", ".env", ".db", ".pdf", ".html")
ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
READABLE = "TIFF, PNG, JPEG, OME-Zarr, zarr, or a folder, quoted glob or .txt list of images"
_SNIFF = 4096


@dataclass(frozen=True)
class Inputs:
    """The files of one recording, in order."""

    given: str  #: what the user named
    kind: Kind  #: which reader they are for
    files: tuple[Path, ...]  #: in reading order; one folder for zarr, the XML for Bruker
    notes: tuple[str, ...] = ()  #: what was left out, to be said aloud


def find_inputs(path: PathLike | Sequence[PathLike]) -> Inputs:
    """The files that `path` means, in order, and the kind of reader they need.

    Folders and globs are taken in natural order (``frame2`` before ``frame10``) and must be
    numbered without gaps. List files and sequences of paths are taken as they are.

    Parameters
    ----------
    path
        A file, a folder, a glob, a ``.txt`` file with one path a line (relative to its own
        folder; lines that start with ``#`` are comments), or a sequence of files.

    Raises
    ------
    StackNotFound
        If nothing is there.
    StackUnreadable
        If what is there is not one recording of a format we read, or a number is missing.
    UsageError
        If a list names a file twice or names none.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _named_files(str(path[0]) if path else "nothing", [Path(p) for p in path])
    here, given = Path(path), os.fspath(path)
    if here.is_dir():
        return _folder(here, given)
    if here.exists():
        return _list_file(here, given) if here.suffix.lower() == ".txt" else _file(here, given)
    if glob.has_magic(given):
        return _matches(given)
    raise StackNotFound(f"{given}: no such file or folder; check the path")


def image_suffix(name: str) -> str | None:
    """The longest suffix of ours that `name` ends in, in lower case; None if it has none."""
    lower = name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), None)


def is_zarr(folder: Path) -> bool:
    """Whether the folder is a zarr array or group, of zarr format 2 or 3."""
    return any((folder / mark).is_file() for mark in ZARR_MARKS)


def is_prairie_xml(file: Path) -> bool:
    """Whether the file begins as the XML of Prairie View does."""
    with file.open("rb") as stream:
        return b"<PVScan" in stream.read(_SNIFF)


def _file(file: Path, given: str) -> Inputs:
    name = file.name.lower()
    if name in ZARR_MARKS:
        return Inputs(given, "zarr", (file.parent,))
    if name.endswith(".companion.ome"):
        return Inputs(given, "tiff", (file,))
    if name.endswith(".xml") and is_prairie_xml(file):
        return Inputs(given, "bruker", (file,))
    suffix = image_suffix(name)
    kind = SUFFIXES[suffix] if suffix else _kind_by_content(file)
    if kind is None:
        raise StackUnreadable(f"{given}: not a format we read; give {READABLE}")
    return Inputs(given, kind, (file,))


def _kind_by_content(file: Path) -> Kind | None:
    with file.open("rb") as stream:
        head = stream.read(8)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return "image" if head == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff" else None


def _folder(folder: Path, given: str) -> Inputs:
    if is_zarr(folder):
        return Inputs(given, "zarr", (folder,))
    with os.scandir(folder) as entries:
        listed = [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".")]
    names = [name for name, is_folder in listed if not is_folder]
    folders = sorted((name for name, is_folder in listed if is_folder), key=natural_key)
    structure = _structure_files(folder, names)
    if len(structure) > 1:
        raise StackUnreadable(
            f"{given}: holds {len(structure)} recordings ({structure[0]}, {structure[1]}); "
            "give one of these files instead of the folder"
        )
    if structure:
        return _file(folder / structure[0], given)
    if not any(image_suffix(name) for name in names):
        raise _no_images(given, folder, folders)
    found = _in_order(names, given, folder)
    notes = (f"{given}: its {len(folders)} folder(s) were not read",) if folders else ()
    return replace(found, notes=notes + found.notes)


def _structure_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Files that say how the others belong together: Prairie XML, OME companion."""
    return sorted(
        name
        for name in names
        if name.lower().endswith(".companion.ome")
        or (name.lower().endswith(".xml") and is_prairie_xml(folder / name))
    )


def _no_images(given: str, folder: Path, folders: Sequence[str]) -> StackNotFound:
    if not folders:
        return StackNotFound(f"{given}: no image in this folder; expected {READABLE}")
    example = next((name for name in folders if is_zarr(folder / name)), folders[0])
    return StackNotFound(
        f"{given}: no image in this folder, only {len(folders)} folder(s); give one of them, "
        f"such as {folder / example}"
    )


def _matches(pattern: str) -> Inputs:
    found = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - absolute patterns too
    folders = [p for p in found if p.is_dir()]
    files = [str(p) for p in found if not p.is_dir()]
    if len(folders) == 1 and not files:
        return _folder(folders[0], str(folders[0]))
    if folders and not files:
        raise StackUnreadable(
            f"{pattern}: matches {len(folders)} folders ({folders[0]}, ...); give one at a time"
        )
    if not any(image_suffix(name) for name in files):
        raise StackNotFound(f"{pattern}: no image matches this pattern; expected {READABLE}")
    return _in_order(files, pattern, Path())


def _in_order(names: Sequence[str], given: str, folder: Path) -> Inputs:
    """Images among `names` in natural order, one suffix only, without gaps."""
    endings = tuple(SUFFIXES)
    images = sorted((n for n in names if n.lower().endswith(endings)), key=natural_key)
    kind = _one_kind(images, given)
    refuse_gaps(images, given)
    odd = [n for n in names if not n.lower().endswith(endings + SIDECARS)]
    left = f"{given}: {len(odd)} file(s) that are no images were not read ({', '.join(odd[:3])})"
    return Inputs(given, kind, tuple(folder / n for n in images), (left,) if odd else ())


def _one_kind(names: Iterable[str], given: str) -> Kind:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(image_suffix(name) or Path(name).suffix, name)
    if len(first) > 1:
        (one, a), (other, b), *_ = first.items()
        raise StackUnreadable(
            f"{given}: holds both {one} and {other} files ({a}, {b}); a recording has one kind: "
            f'give a quoted glob such as "*{one}"'
        )
    suffix, name = next(iter(first.items()))
    if suffix not in SUFFIXES:
        raise StackUnreadable(f"{given}: {name} is not a format we read; give {READABLE}")
    return SUFFIXES[suffix]


def _list_file(file: Path, given: str) -> Inputs:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise StackUnreadable(f"{given}: not a UTF-8 list of paths ({error.reason})") from error
    wanted = [line.strip() for line in lines]
    return _named_files(given, [file.parent / w for w in wanted if w and not w.startswith("#")])


def _named_files(given: str, files: Sequence[Path]) -> Inputs:
    """Files as somebody listed them: in that order, whatever their numbers."""
    if not files:
        raise UsageError(f"{given}: names no file; give one path a line")
    seen: set[str] = set()
    for file in files:
        if os.path.normpath(file) in seen:
            raise UsageError(f"{given}: names {file} twice; a frame can be in a recording once")
        seen.add(os.path.normpath(file))
        if not file.exists():
            raise StackNotFound(f"{given}: names {file}, which is not there")
    if len(files) == 1:
        return find_inputs(files[0])
    folder = next((file for file in files if file.is_dir()), None)
    if folder is not None:
        raise StackUnreadable(f"{given}: names the folder {folder}; a list may name files only")
    return Inputs(given, _one_kind(map(str, files), given), tuple(files))
