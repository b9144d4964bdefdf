"""Where a result goes: an OME-Zarr, or a TIFF or PNG exported from one kept beside it."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fm2s_stack.errors import OutputError, OutputExists, StackError, UsageError
from fm2s_stack.image import Image
from fm2s_stack.stack.inputs import find_inputs
from fm2s_stack.store.attributes import clear_output, require_clearable
from fm2s_stack.store.export import check_png, export_png, export_tiff

_KINDS: dict[str, Literal["zarr", "tiff", "png"]] = {
    ".zarr": "zarr",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".png": "png",
}


@dataclass(frozen=True)
class Target:
    """What the user named, and the OME-Zarr that is written."""

    path: Path  #: what the user named
    kind: Literal["zarr", "tiff", "png"]  #: by its suffix
    overwrite: bool  #: replace what stands there

    @property
    def zarr(self) -> Path:
        """The OME-Zarr: the target itself, or one beside it until the export is done."""
        if self.kind == "zarr":
            return self.path
        return self.path.with_name(f"{self.path.name}.unfinished.zarr")

    def check(self, source: str, image: Image) -> None:
        """Refuse a target that cannot be written, before any work.

        Raises
        ------
        OutputExists
            If something that `--overwrite` would not remove stands there.
        UsageError
            If it is the input itself, or one lies in the other.
        OutputError
            If the format cannot hold the image.
        """
        _refuse_input(self.path, Path(source))
        _refuse_part_of_input(self.path, source)
        if self.kind == "png":
            check_png(image, self.path)
        if self.kind != "zarr" and self.path.is_dir():
            raise OutputExists(f"{self.path} is a folder: give another name")
        if self.overwrite:
            require_clearable(self.zarr)

    def require_folder(self) -> None:
        """Refuse a place where nothing can be written.

        Raises
        ------
        UsageError
            If there is no such folder.
        OutputError
            If it cannot be written.
        """
        _require_folder(self.path)

    def export(self, check: Callable[[], None] | None = None) -> None:
        """Write the TIFF or PNG from the sealed OME-Zarr, and remove that.

        Parameters
        ----------
        check
            Called every second or so; raises to stop.
        """
        if self.kind == "tiff":
            export_tiff(self.zarr, self.path, overwrite=self.overwrite, check=check)
        elif self.kind == "png":
            export_png(self.zarr, self.path, overwrite=self.overwrite)
        if self.kind != "zarr":
            clear_output(self.zarr)


def find_target(path: str | Path, *, overwrite: bool) -> Target:
    """The target that a path names by its suffix.

    Raises
    ------
    UsageError
        If the suffix is none of ``.zarr``, ``.tif``, ``.tiff`` and ``.png``.
    """
    named = Path(path)
    kind = _KINDS.get(named.suffix.lower())
    if kind is None:
        raise UsageError(f"output {path}: expected a name ending in {', '.join(_KINDS)}")
    return Target(named, kind, overwrite)


def _require_folder(path: Path) -> None:
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{path}: {folder} is a file, not a folder; give another name")
    if not folder.is_dir():
        raise UsageError(f"{path}: the folder {folder} is not there; make it")
    by_effective_user = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=by_effective_user):
        raise OutputError(f"{path}: the folder {folder} cannot be written; check permissions")


def _refuse_input(target: Path, source: Path) -> None:
    to, of = target.resolve(), source.resolve()
    if to == of or to in of.parents:
        raise UsageError(f"output {target}: the input {source} is there; give another name")
    is_zarr = any((of / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))
    if of in to.parents and is_zarr:
        raise UsageError(f"output {target} lies inside the input {source}; give another place")


def _refuse_part_of_input(target: Path, source: str) -> None:
    """Refuse a file that is, or the next time would be, part of a folder, glob or list."""
    if target.is_file() and _is_part_of(target, source):
        raise UsageError(f"output {target}: it is part of the input {source}; give another name")
    to, of = target.absolute(), Path(source).absolute()
    is_matched = glob.has_magic(source) and to.match(str(of))
    if target.suffix.lower() != ".zarr" and (is_matched or (of.is_dir() and of == to.parent)):
        raise UsageError(
            f"output {target}: the next time it would be read as part of the input {source}; "
            "give another folder"
        )


def _is_part_of(target: Path, source: str) -> bool:
    try:
        files = find_inputs(source).files
    except StackError:  # a sequence of paths that the library was given goes by its first
        return False
    return any(file.exists() and file.samefile(target) for file in files)
