"""NGFF metadata of an output: multiscales, omero, and reading them back as an `Image`.

https://ngff.openmicroscopy.org/0.5/ (sections Multiscales and Omero) and /0.4/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.image import CANONICAL_AXES, Image, Scale, Shape5

if TYPE_CHECKING:
    import zarr

_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


def write_metadata(group: zarr.Group, name: str, image: Image, factors: Sequence[Shape5]) -> None:
    """Write multiscales and omero.

    Parameters
    ----------
    group
        The output's root, of zarr format 2 for NGFF 0.4 and 3 for 0.5.
    name
        Of the image.
    image
        Axes, scale and channels.
    factors
        Level-0 pixels that a pixel of each level stands for, along tczyx.
    """
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_multiscales_metadata

    write_multiscales_metadata(
        group,
        datasets=[_dataset(f"s{n}", image, factor) for n, factor in enumerate(factors)],
        fmt=FormatV04() if group.metadata.zarr_format == 2 else FormatV05(),
        axes=[_axis(name, image.scale) for name in image.axes],
        name=name,
        metadata={"omero": _omero(image)},
    )


def read_image(path: str | Path) -> Image:
    """What an output of this package is: the inverse of `write_metadata`.

    Raises
    ------
    OutputError
        If there is no such output.
    """
    import zarr

    from fm2s_stack.store.headers import read_timestamps

    try:
        group = zarr.open_group(str(path), mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        attributes = attributes.get("ome", attributes)
        multiscale = attributes["multiscales"][0]
        level0 = multiscale["datasets"][0]
        array = zarr.open_array(str(Path(path) / level0["path"]), mode="r")
        steps = level0["coordinateTransformations"][0]["scale"]
        names = tuple(channel["label"] for channel in attributes["omero"]["channels"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise OutputError(f"{path} is no OME-Zarr of fm2s-stack: {error!r}") from error
    axes = [axis["name"] for axis in multiscale["axes"]]
    lengths = dict(zip(axes, array.shape, strict=True))
    known = [axis["name"] for axis in multiscale["axes"] if "unit" in axis]
    return Image(
        axes="".join(axes),
        shape=_shape5([lengths.get(axis, 1) for axis in CANONICAL_AXES]),
        dtype=np.dtype(array.dtype),
        scale=Scale(**{n: s for n, s in zip(axes, steps, strict=True) if n in known}),
        channels=names,
        timestamps=read_timestamps(path),
    )


def _shape5(lengths: Sequence[int]) -> Shape5:
    t, c, z, y, x = lengths
    return t, c, z, y, x


def _step(axis: str, scale: Scale) -> float | None:
    """Physical step along an axis, None where it is not known or makes no sense."""
    step: float | None = getattr(scale, axis, None)
    return float(step) if step is not None and math.isfinite(step) and step > 0 else None


def _axis(axis: str, scale: Scale) -> dict[str, str]:
    entry = {"name": axis, "type": _KINDS[axis]}
    # A unit is a claim that the step is known.
    return {**entry, "unit": _UNITS[axis]} if _step(axis, scale) is not None else entry


def _dataset(path: str, image: Image, factor: Shape5) -> dict[str, Any]:
    pairs = [(_step(a, image.scale) or 1.0, factor[CANONICAL_AXES.index(a)]) for a in image.axes]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [s * n for s, n in pairs]}]
    if max(factor) > 1:
        # The centre of a coarse pixel is the middle of the fine ones it stands for.
        shift = [s * (n - 1) / 2 for s, n in pairs]
        transforms.append({"type": "translation", "translation": shift})
    return {"path": path, "coordinateTransformations": transforms}


def _omero(image: Image) -> dict[str, Any]:
    count = image.shape[1]
    labels = image.channels or tuple(f"Channel {number}" for number in range(count))
    return {
        "channels": [
            {
                "label": label,
                "color": "FFFFFF" if count == 1 else _COLORS[number % len(_COLORS)],
                "active": True,
                "window": _window(image.dtype),
            }
            for number, label in enumerate(labels)
        ],
        "rdefs": {"model": "greyscale" if count == 1 else "color"},
    }


def _window(dtype: np.dtype) -> dict[str, float]:
    """The whole range of the dtype, until the seal knows better."""
    low, high = 0.0, 1.0
    if np.issubdtype(dtype, np.integer):
        low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return {"min": low, "max": high, "start": low, "end": high}
