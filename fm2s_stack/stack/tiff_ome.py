"""OME-TIFF recordings: the file with the metadata, its members, and their pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable
from fm2s_stack.stack import ome
from fm2s_stack.stack.layout import Layout, axes_as_asked, page_numbers, relabelled
from fm2s_stack.stack.ome import Block, OmeFile
from fm2s_stack.stack.page_table import PageTable
from fm2s_stack.stack.pages import PageSource
from fm2s_stack.stack.reader import OpenOptions
from fm2s_stack.stack.tiff_pages import joined
from fm2s_stack.stack.tiff_series import page_source, pick

Load = Callable[[Path], PageTable]


@dataclass(frozen=True, eq=False)
class OmePlanes:
    """One image of an OME-TIFF."""

    layout: Layout  #: which page is which plane
    source: PageSource  #: pixels of the pages of all `files` in a row
    files: list[Path]  #: TIFF files in the order of their first plane
    xml: str  #: the metadata


def covers(paths: Sequence[Path], xml: str, load: Load) -> bool:
    """Whether the metadata of the first file names all the others, so that it describes them."""
    try:
        path, xml, document = _metadata(paths[0], xml, load)
        blocks = [block for image in document.images for block in image.blocks]
        renamed = _renamed(document, path)
        named = {_located(block, path, document, renamed).resolve() for block in blocks}
    except StackError:
        return False
    return {each.resolve() for each in paths} <= named


def open_planes(path: Path, xml: str, options: OpenOptions, load: Load) -> OmePlanes:
    """Find the pages of one image of an OME-TIFF.

    Parameters
    ----------
    path
        The file that was opened: a TIFF, or a companion file.
    xml
        The OME-XML in it.
    options
        Series and axes.
    load
        Gives the page table of a file.

    Raises
    ------
    StackTruncated
        If a member or a page is missing.
    StackUnreadable
        If the metadata is damaged, leads out of the folder or does not fit the pages.
    UsageError
        If the series or the axes asked for do not fit.
    """
    opened = path
    path, xml, document = _metadata(path, xml, load)
    if not document.images:
        raise StackUnreadable(f"{path}: its OME-XML describes no image")
    number, note = pick(len(document.images), options.series, str(opened))
    image = document.images[number]
    renamed = _renamed(document, path)
    files, numbers = ome.place(
        image,
        path,
        lambda block: _located(block, path, document, renamed),
        lambda file: len(load(file).ifds),
    )
    source, numbers = _pages(files, numbers, load)
    if source.page_shape != image.size:
        raise StackUnreadable(
            f"{path}: its OME-XML speaks of {image.size} rows and columns, its pages have "
            f"{source.page_shape}"
        )
    notes = [note] * bool(note)
    notes += [f"read as a member of {path.name}"] * (path != opened)
    notes += [f"named {renamed} in its own metadata: taken as this file"] * (renamed is not None)
    layout = Layout(
        "OME-TIFF", numbers, image.scale, image.channels, image.timestamps, tuple(notes)
    )
    if options.axes:
        layout = _renamed_axes(layout, options.axes, image.axes, source.page_shape, str(opened))
    return OmePlanes(layout, source, files, xml)


def _metadata(path: Path, xml: str, load: Load) -> tuple[Path, str, OmeFile]:
    document = ome.parse(xml, str(path))
    if document.metadata_file is None:
        return path, xml, document
    master = ome.sibling(path, document.metadata_file)
    if master.suffix.lower() in (".tif", ".tiff", ".tf2", ".tf8", ".btf"):
        xml = load(master).description
    else:
        xml = master.read_text("utf-8")
    document = ome.parse(xml, str(master))
    if document.metadata_file is not None:
        raise StackUnreadable(f"{path}: names {master.name} for its metadata, which has none")
    return master, xml, document


def _renamed(document: OmeFile, path: Path) -> str | None:
    """The one name the metadata has for a file that was renamed since; None if it was not."""
    if path.suffix.lower() == ".ome":
        return None
    blocks = [block for image in document.images for block in image.blocks]
    names = {block.file for block in blocks if block.file is not None}
    if len(names) != 1 or any(block.file is None for block in blocks):
        return None
    name = names.pop()
    return None if "/" in name or "\\" in name or (path.parent / name).exists() else name


def _located(block: Block, path: Path, document: OmeFile, renamed: str | None) -> Path:
    companion = path.suffix.lower() == ".ome"
    own = block.uuid is not None and block.uuid == document.uuid
    own = own or block.file is None or block.file in (renamed, path.name)
    if not own or (companion and block.file is not None):
        return ome.sibling(path, block.file or "")
    if companion:
        raise StackTruncated(f"{path}: names no file for its planes")
    return path


def _pages(
    files: list[Path], numbers: NDArray[np.int64], load: Load
) -> tuple[PageSource, NDArray[np.int64]]:
    """Source of the pages that `numbers` uses, and those numbers within it."""
    used, compact = np.unique(numbers, return_inverse=True)
    sources: dict[Path, PageSource] = {}
    counts: list[int] = []
    base = 0
    for file in files:
        table = load(file)
        here = used[(used >= base) & (used < base + len(table.ifds))] - base
        base += len(table.ifds)
        if len(here):
            sources[file] = page_source(file, table, here)
            counts.append(len(here))
    _check_agreement(sources)
    return joined(list(sources.values()), counts), compact.reshape(numbers.shape)


def _check_agreement(sources: dict[Path, PageSource]) -> None:
    (first, usual), *others = sources.items()
    for file, source in others:
        if (source.page_shape, source.dtype) != (usual.page_shape, usual.dtype):
            raise StackUnreadable(
                f"{file}: pages are {source.page_shape} {source.dtype}, those of {first} "
                f"{usual.page_shape} {usual.dtype}; files of one recording must agree"
            )


def _renamed_axes(
    layout: Layout, asked: str, stored: str, page_shape: tuple[int, int], path: str
) -> Layout:
    shape = dict(zip("tcz", layout.numbers.shape, strict=True))
    known = tuple(shape[a] for a in stored if shape[a] > 1)
    axes, lengths = axes_as_asked(asked, known, layout.numbers.size, page_shape, path)
    in_order = layout.numbers.transpose(["tcz".index(a) for a in stored]).ravel()
    return relabelled(layout, in_order[page_numbers(axes, lengths)])
