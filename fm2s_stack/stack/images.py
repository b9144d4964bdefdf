"""One image, or a sequence of files with one plane each: TIFF, PNG, JPEG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackUnreadable
from fm2s_stack.image import Image, Scale
from fm2s_stack.stack.axes import canonical_order, parse_axes, to_canonical
from fm2s_stack.stack.identity import identify_files
from fm2s_stack.stack.pages import dask_from_pages
from fm2s_stack.stack.plane_reader import StoredBox, StoredPlanes
from fm2s_stack.stack.planes import PlaneInfo, inspect_plane, read_planes
from fm2s_stack.stack.reader import OpenOptions, Recording


@dataclass(frozen=True)
class PlaneFiles:
    """A run of planes in many files, as a `PageSource`."""

    folder: str  #: what the names are relative to
    names: tuple[str, ...]  #: file of each plane
    pages: tuple[int, ...] | None  #: page of each plane in its file; None: the only one
    info: PlaneInfo  #: what every plane is
    digest: str  #: of the content, so that Dask need not hash every name

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        """What a Dask key has to tell apart."""
        places = repr((self.folder, self.names, self.pages)).encode()
        return type(self).__name__, self.digest, blake2b(places).hexdigest()

    @property
    def page_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.info.shape

    @property
    def dtype(self) -> np.dtype:
        """Pixel type, native byte order."""
        return self.info.dtype

    def read(self, pages: NDArray[np.int64]) -> NDArray[np.generic]:
        """Pixels of the planes numbered in `pages`, shape (n, y, x).

        Raises
        ------
        StackError
            Naming the file that is missing, damaged or not like the first.
        """
        wanted = [(self.names[i], self.pages[i] if self.pages else 0) for i in pages.tolist()]
        planes = np.empty((len(wanted), *self.page_shape), dtype=self.dtype)
        done = 0
        for name, run in groupby(wanted, key=lambda place: place[0]):
            numbers = [page for _, page in run]
            planes[done : done + len(numbers)] = read_planes(
                Path(self.folder, name), numbers, self.info
            )
            done += len(numbers)
        return planes

    def read_box(self, box: StoredBox) -> NDArray[np.generic]:
        """Pixels of a box of (planes, y, x), or of (y, x) where there is one plane."""
        *run, rows, columns = box
        planes = self.read(np.arange(len(self.names))[run[0] if run else slice(1)])
        cut = planes[:, rows, columns]
        return cut if run else cut[0]


def plane_files(
    files: Sequence[Path], info: PlaneInfo, digest: str, pages: Sequence[int] | None = None
) -> PlaneFiles:
    """A source of planes, one of each of `files` (or the page of `pages` in it)."""
    folder = files[0].parent
    names = tuple(f.name if f.parent == folder else str(f.absolute()) for f in files)
    return PlaneFiles(str(folder.absolute()), names, tuple(pages) if pages else None, info, digest)


def is_plane_sequence(files: Sequence[Path]) -> bool:
    """Whether the first and the last file have one plane each; no other is opened."""
    return all(inspect_plane(file).only for file in (files[0], files[-1]))


def ome_siblings(file: Path) -> set[str]:
    """Names of the files that the OME-XML of a TIFF gives its pages to; empty if it has none."""
    import tifffile

    with tifffile.TiffFile(file, is_ome=False) as tif:
        description = str(tif.pages.first.aspage().description)
    return set(re.findall(r'FileName="([^"]+)"', description)) if "<OME" in description else set()


def open_images(
    files: Sequence[Path], options: OpenOptions, first: Recording | None = None
) -> Recording:
    """One image, or a sequence of them.

    Only the first and the last file are opened; every other is checked when it is read.

    Parameters
    ----------
    files
        Files with one plane each, in order.
    options
        ``axes`` of the array (files, rows, columns), or (rows, columns) for one file;
        several files are frames unless it says otherwise.
    first
        The first file by itself, where its reader knows its pixel size and headers.

    Raises
    ------
    UnsupportedPixels
        If they are not grey.
    StackUnreadable
        If the first or last file is damaged, or they are not alike.
    """
    info, last = inspect_plane(files[0]), inspect_plane(files[-1])
    if (info.shape, info.dtype) != (last.shape, last.dtype):
        raise StackUnreadable(
            f"{files[-1]}: {last.shape[0]}x{last.shape[1]} {last.dtype}, but {files[0].name} has "
            f"{info.shape[0]}x{info.shape[1]} {info.dtype}; a sequence needs files that are alike"
        )
    name = files[0].name if len(files) == 1 else files[0].absolute().parent.name
    identity = identify_files(name, files)
    source = plane_files(files, info, identity.digest)
    numbers = np.arange(len(files), dtype=np.int64)[:, None, None]
    stored = dask_from_pages(source, numbers)[:, 0, 0]
    stored = stored[0] if len(files) == 1 else stored
    axes = _axes(options.axes, stored.ndim, files)
    array = to_canonical(stored, axes)
    image = Image(
        canonical_order(axes), array.shape, info.dtype, first.image.scale if first else Scale()
    )
    sequence = "sequence" if len(files) > 1 else "image"
    return Recording(
        f"{info.format} {sequence}",
        array,
        StoredPlanes(axes, source.read_box),
        image,
        identity,
        notes=_notes(info, options, files),
        headers=first.headers if first else {},
    )


def _axes(given: str | None, ndim: int, files: Sequence[Path]) -> str:
    return parse_axes(given, ndim, str(files[0])) if given else "tyx"[-ndim:]


def _notes(info: PlaneInfo, options: OpenOptions, files: Sequence[Path]) -> tuple[str, ...]:
    notes = []
    if len(files) > 1 and not options.axes:
        notes.append(
            f"{files[0].parent}: took its {len(files)} files for frames (TYX); give --axes ZYX "
            "if they are slices, CYX if they are channels"
        )
    if info.format == "JPEG":
        notes.append(
            f"{files[0]}: JPEG compression is lossy and has changed the noise; use the original"
        )
    return tuple(notes)
