"""What OME-XML says: which page of which file is which plane, sizes, times, channel names.

The OME model 2016-06, and the OME-TIFF specification's ``TiffData``
(https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html). Unlike tifffile,
which fills planes of a missing file with zeros, a plane without a page is an error here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackTruncated, StackUnreadable
from fm2s_stack.image import Scale
from fm2s_stack.stack.axes import micrometres, seconds


@dataclass(frozen=True)
class Block:
    """One ``TiffData``: consecutive pages of a file, and the plane of the first."""

    file: str | None  #: name beside the metadata; None: the file with the metadata
    uuid: str | None  #: identifier of that file
    page: int  #: directory in the file, from 0
    count: int | None  #: pages; None: all that follow
    first: dict[str, int]  #: index along t, c, z


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` element."""

    axes: str  #: page axes, the slowest first, all of ``tcz``
    lengths: tuple[int, ...]  #: planes along `axes`
    size: tuple[int, int]  #: rows, columns
    blocks: tuple[Block, ...]  #: where the planes are
    scale: Scale  #: physical steps
    channels: tuple[str, ...]  #: names; empty unless all have one
    timestamps: tuple[float, ...] | None  #: seconds, one a frame


@dataclass(frozen=True)
class OmeFile:
    """An OME-XML document."""

    uuid: str | None  #: identifier of the file it lies in
    metadata_file: str | None  #: name of the file that has the metadata instead of this one
    images: tuple[OmeImage, ...]  #: series


def is_ome(description: str) -> bool:
    """Whether this text is OME-XML, or was before its end was lost."""
    return re.search(r"<(\w+:)?OME\b", description[:2000]) is not None


def parse(xml: str, path: str) -> OmeFile:
    """Read an OME-XML document.

    Raises
    ------
    StackUnreadable
        If it is not well formed, or lacks what the model requires.
    """
    try:
        root = ElementTree.fromstring(xml)
        images = tuple(
            _image(pixels) for image in _all(root, "Image") for pixels in _all(image, "Pixels")
        )
    except (ElementTree.ParseError, KeyError, ValueError, RecursionError) as error:
        raise StackUnreadable(
            f"{path}: its OME-XML is damaged ({type(error).__name__}: {error}); "
            "--axes TYX reads the pages as they come"
        ) from error
    elsewhere = next((e.get("MetadataFile") for e in _all(root, "BinaryOnly")), None)
    return OmeFile(root.get("UUID"), elsewhere, images)


def _all(node: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (child for child in node if child.tag.rpartition("}")[2] == name)


def _image(pixels: ElementTree.Element) -> OmeImage:
    get = pixels.attrib
    order = get["DimensionOrder"].lower()
    if sorted(order) != sorted("xyczt") or order[:2] != "xy":
        raise ValueError(f"DimensionOrder {order!r}")
    axes = order[:1:-1]
    lengths = tuple(_positive(get["Size" + a.upper()]) for a in axes)
    names = [c.get("Name", "") for c in _all(pixels, "Channel")]
    channels = lengths[axes.index("c")]
    times = _times(pixels, lengths[axes.index("t")])
    step = seconds(get.get("TimeIncrement"), get.get("TimeIncrementUnit", "s"))
    if step is None and times and len(times) > 1 and times[-1] > times[0]:
        step = (times[-1] - times[0]) / (len(times) - 1)
    sizes = {
        a: micrometres(get.get(f"PhysicalSize{a}"), get.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "ZYX"
    }
    return OmeImage(
        axes=axes,
        lengths=lengths,
        size=(_positive(get["SizeY"]), _positive(get["SizeX"])),
        blocks=tuple(_block(data) for data in _all(pixels, "TiffData"))
        or (Block(None, None, 0, None, {}),),
        scale=Scale(z=sizes["Z"], y=sizes["Y"], x=sizes["X"], t=step),
        channels=tuple(names) if len(names) == channels and all(names) else (),
        timestamps=times,
    )


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value < 2**40:
        raise ValueError(f"size {text}")
    return value


def _block(data: ElementTree.Element) -> Block:
    get = data.attrib
    uuid = next(_all(data, "UUID"), None)
    given = get.get("PlaneCount", get.get("NumPlanes", "1" if "IFD" in get else None))
    return Block(
        file=None if uuid is None else uuid.get("FileName"),
        uuid=None if uuid is None else (uuid.text or "").strip(),
        page=int(get.get("IFD", 0)),
        count=None if given is None else int(given),
        first={a: int(get.get("First" + a.upper(), 0)) for a in "tcz"},
    )


def _times(pixels: ElementTree.Element, frames: int) -> tuple[float, ...] | None:
    found: dict[int, float] = {}
    for plane in _all(pixels, "Plane"):
        first = plane.get("TheC", "0") == "0" and plane.get("TheZ", "0") == "0"
        if first and "DeltaT" in plane.attrib:
            unit = seconds(1, plane.get("DeltaTUnit", "s")) or math.nan
            found[int(plane.get("TheT", 0))] = float(plane.attrib["DeltaT"]) * unit
    times = tuple(found.get(t, math.nan) for t in range(frames)) if len(found) == frames else ()
    return times if times and all(map(math.isfinite, times)) else None


def sibling(metadata: Path, name: str) -> Path:
    """The file that `metadata` names beside itself.

    Raises
    ------
    StackUnreadable
        If the name leads out of the folder, also through a link.
    StackTruncated
        If there is no such file.
    """
    folder = metadata.resolve().parent
    # A name from Windows leads out on Windows, whatever it is here.
    parts = name.replace("\\", "/").split("/")
    path = (folder / name).resolve() if "\0" not in name else folder
    if ".." in parts or Path(name).is_absolute() or ":" in name or not path.is_relative_to(folder):
        raise StackUnreadable(
            f"{metadata}: names the file {name!r}, which leads out of its folder; not followed"
        )
    if not path.is_file():
        raise StackTruncated(
            f"{metadata}: its planes lie partly in {name!r}, which is not there; put it beside it"
        )
    return path


def place(
    image: OmeImage,
    path: Path,
    locate: Callable[[Block], Path],
    count_pages: Callable[[Path], int],
) -> tuple[list[Path], NDArray[np.int64]]:
    """Files of an image, and the page number of each plane over them in a row.

    Parameters
    ----------
    image
        From `parse`.
    path
        The file with the metadata, for messages.
    locate
        The file of a block.
    count_pages
        Pages of a file.

    Returns
    -------
    files : list of Path
        In the order of their first plane.
    numbers : array of int64, shape (t, c, z)

    Raises
    ------
    StackTruncated
        If a plane has no page, or a page is not there.
    """
    placed = [(block, locate(block)) for block in image.blocks]
    files = list(dict.fromkeys(file for _, file in placed))
    pages = {file: count_pages(file) for file in files}
    bases = dict(zip(files, np.cumsum([0, *pages.values()]).tolist(), strict=False))
    total = math.prod(image.lengths)
    if total > sum(pages.values()):
        raise StackTruncated(
            f"{path}: its OME-XML promises {total} planes, its {len(files)} file(s) hold "
            f"{sum(pages.values())} pages; a file is truncated or missing"
        )
    where = np.full(total, -1, np.int64)
    for block, file in placed:
        start = _index(image, block, path)
        rest = pages[file] - block.page
        count = min(rest, total - start) if block.count is None else block.count
        if block.page < 0 or count < 0 or count > rest or start + count > total:
            raise StackTruncated(
                f"{path}: its OME-XML places {count} planes from page {block.page} of {file.name}, "
                f"which has {pages[file]} pages"
            )
        where[start : start + count] = bases[file] + block.page + np.arange(count)
    numbers = where.reshape(image.lengths).transpose([image.axes.index(a) for a in "tcz"])
    if (where < 0).any():
        t, c, z = np.argwhere(numbers < 0)[0]
        raise StackTruncated(
            f"{path}: {int((where < 0).sum())} planes have no page, first that of frame {t}, "
            f"channel {c}, slice {z}; the recording was stopped or a file is missing"
        )
    return files, numbers


def _index(image: OmeImage, block: Block, path: Path) -> int:
    at = [block.first.get(a, 0) for a in image.axes]
    if any(not 0 <= i < n for i, n in zip(at, image.lengths, strict=True)):
        raise StackUnreadable(f"{path}: its OME-XML places planes at {block.first}, out of range")
    return int(np.ravel_multi_index(at, image.lengths))
