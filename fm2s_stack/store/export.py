"""Other files from a sealed output: OME-TIFF, and PNG of a single plane.

OME-XML: https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/specification.html
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError, OutputExists
from fm2s_stack.image import CANONICAL_AXES, Image
from fm2s_stack.store.attributes import read_attributes, require_complete
from fm2s_stack.store.boxes import missing_keys
from fm2s_stack.store.document import KEY
from fm2s_stack.store.files import replacing
from fm2s_stack.store.ngff import read_image
from fm2s_stack.store.tiff_checksum import NAME, NOTHING, put_checksum

if TYPE_CHECKING:
    import zarr

Box = tuple[slice, ...]
_PNG_DTYPES = ("uint8", "uint16")


def export_tiff(
    zarr_path: str | Path,
    tif_path: str | Path,
    *,
    overwrite: bool = False,
    check: Callable[[], None] | None = None,
) -> None:
    """Copy level 0 of a sealed output into an OME-TIFF.

    BigTIFF, uncompressed, pages in the order of the axes, with pixel sizes, frame interval or
    frame times, channel names, and the provenance as JSON in a MapAnnotation, beside a
    checksum of the file. float16, which OME does not know, becomes float32; no other type changes.
    Memory holds a run of chunks at a time, whatever the size of the image. The file appears
    under its name only when it is complete.

    Parameters
    ----------
    zarr_path
        The output.
    tif_path
        The file to write.
    overwrite
        Replace a file that is there.
    check
        Called for every run of chunks; raises to stop, and no file is left.

    Raises
    ------
    OutputExists
        If `tif_path` is there and `overwrite` is not given.
    OutputIncomplete
        If the output was never sealed.
    OutputError
        If it cannot be read, or the file cannot be written.
    """
    target = _target(tif_path, overwrite)
    image, level0 = _open(zarr_path)
    dtype = np.dtype(np.float32) if image.dtype == np.float16 else image.dtype
    try:
        with replacing(target) as temporary:
            offset = _write_empty_tiff(temporary, image.with_dtype(dtype), _told(zarr_path))
            pages = [0] * image.planes
            with temporary.open("r+b") as file:
                for box, pixels in _runs(level0, image):
                    if check is not None:
                        check()
                    _write_run(file, offset, image, box, pixels.astype(dtype, copy=False), pages)
                put_checksum(file, offset, image.shape[3] * image.shape[4] * dtype.itemsize, pages)
            _target(tif_path, overwrite)
    except OSError as error:
        raise _failed(target, error) from error


def export_png(zarr_path: str | Path, png_path: str | Path, *, overwrite: bool = False) -> None:
    """Copy the one plane of a sealed output into a grey PNG, provenance in a tEXt chunk.

    Parameters
    ----------
    zarr_path
        The output: one plane of uint8 or uint16.
    png_path
        The file to write.
    overwrite
        Replace a file that is there.

    Raises
    ------
    OutputExists
        If `png_path` is there and `overwrite` is not given.
    OutputIncomplete
        If the output was never sealed.
    OutputError
        If it has several planes or another dtype, cannot be read, or the file cannot be
        written.
    """
    from PIL import Image as Picture
    from PIL.PngImagePlugin import PngInfo

    target = _target(png_path, overwrite)
    image, level0 = _open(zarr_path)
    check_png(image, target)
    plane = _read(level0, (slice(None),) * level0.ndim).reshape(image.shape[3:])
    info = PngInfo()
    info.add_text(KEY, _told(zarr_path))
    try:
        with replacing(target) as temporary:
            Picture.fromarray(plane).save(temporary, format="PNG", pnginfo=info)
            _target(png_path, overwrite)
    except OSError as error:
        raise _failed(target, error) from error


def check_png(image: Image, path: str | Path) -> None:
    """Refuse an image that a PNG cannot hold; asked before the work, not after it.

    Raises
    ------
    OutputError
        If there are several planes, or the dtype is not uint8 or uint16.
    """
    if image.planes > 1:
        raise OutputError(
            f"{path}: a PNG holds one plane, the image has {image.planes}: write .zarr or .tif"
        )
    if image.dtype.name not in _PNG_DTYPES:
        raise OutputError(
            f"{path}: a PNG holds uint8 or uint16, the image is {image.dtype}:"
            " write .zarr or .tif, or give --dtype uint16"
        )


def _target(path: str | Path, overwrite: bool) -> Path:
    target = Path(path)
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExists(f"{path} exists: give another name, or --overwrite to replace a file")
    return target


def _open(path: str | Path) -> tuple[Image, zarr.Array]:
    import zarr

    require_complete(path)
    image = read_image(path)
    array = zarr.open_array(str(Path(path) / "s0"), mode="r")
    missing = missing_keys(path, array, "s0")
    if missing:
        raise OutputError(
            f"{path}: {len(missing)} files are missing, the first {missing[0]}:"
            " restore them, or make the output again with --overwrite"
        )
    return image, array


def _read(level0: zarr.Array, box: Box) -> NDArray[np.generic]:
    try:
        return np.asarray(level0[box])
    except (ValueError, RuntimeError) as error:  # what zarr raises for damaged bytes
        raise OutputError(f"{level0.store_path}: {box} is damaged: {error}") from error


def _told(path: str | Path) -> str:
    left_out = ("files", "checksum")  # of the OME-Zarr, not of this file
    told = {key: value for key, value in read_attributes(path).items() if key not in left_out}
    return json.dumps(told)


def _failed(target: Path, error: OSError) -> OutputError:
    if isinstance(error, OutputError):
        return error
    return OutputError(f"{target} cannot be written: {error}")


def _write_empty_tiff(path: Path, image: Image, provenance: str) -> int:
    """Write every page's header and room for all pixels; return where the pixels start."""
    from tifffile import TiffWriter

    with TiffWriter(path, bigtiff=True, ome=True) as tif:
        place = tif.write(
            None,
            shape=image.real_shape,
            dtype=image.dtype,
            photometric="minisblack",
            metadata=_ome_metadata(image, provenance),
            returnoffset=True,
        )
    if place is None:
        raise OutputError(f"{path}: tifffile gave no place for the pixels")
    return int(place[0])


def _ome_metadata(image: Image, provenance: str) -> dict[str, Any]:
    notes = {KEY: provenance, NAME: NOTHING}
    metadata: dict[str, Any] = {"axes": image.axes.upper(), "MapAnnotation": notes}
    for axis in "xyz":
        size = getattr(image.scale, axis)
        if size is not None:
            metadata[f"PhysicalSize{axis.upper()}"] = size
            metadata[f"PhysicalSize{axis.upper()}Unit"] = "µm"
    if image.scale.t is not None:
        metadata |= {"TimeIncrement": image.scale.t, "TimeIncrementUnit": "s"}
    if image.channels:
        metadata["Channel"] = {"Name": [_printable(name) for name in image.channels]}
    if image.timestamps is not None:
        per_frame = image.planes // image.shape[0]
        times = [seconds for seconds in image.timestamps for _ in range(per_frame)]
        metadata["Plane"] = {"DeltaT": times, "DeltaTUnit": ["s"] * len(times)}
    return metadata


def _printable(name: str) -> str:
    """Without the characters that XML does not allow."""
    return "".join(letter if letter.isprintable() else " " for letter in name)


def _runs(level0: zarr.Array, image: Image) -> Iterator[tuple[Box, NDArray[np.generic]]]:
    """Boxes of whole chunk runs, full width, with their pixels; axes tczyx."""
    chunk = dict(zip(image.axes, level0.chunks, strict=True))
    sides = [chunk.get(axis, 1) for axis in CANONICAL_AXES[:4]]
    starts = (range(0, n, side) for n, side in zip(image.shape, sides, strict=False))
    for corner in product(*starts):
        ends = (min(a + n, m) for a, n, m in zip(corner, sides, image.shape, strict=False))
        box = (*(slice(a, b) for a, b in zip(corner, ends, strict=True)), slice(None))
        real = tuple(box[CANONICAL_AXES.index(axis)] for axis in image.axes)
        lengths = [len(range(*part.indices(n))) for part, n in zip(box, image.shape, strict=True)]
        yield box, _read(level0, real).reshape(lengths)


def _write_run(
    file: BinaryIO,
    offset: int,
    image: Image,
    box: Box,
    pixels: NDArray[np.generic],
    pages: list[int],
) -> None:
    """Write runs of rows into pages, and carry on each page's CRC-32: rows come in order."""
    _, channels, slices, rows, columns = image.shape
    for place in np.ndindex(pixels.shape[:3]):
        t, c, z = (part.start + n for part, n in zip(box, place, strict=False))
        page = (t * channels + c) * slices + z
        content = np.ascontiguousarray(pixels[place]).data
        file.seek(offset + (page * rows + box[3].start) * columns * pixels.dtype.itemsize)
        file.write(content)
        pages[page] = zlib.crc32(content, pages[page])
