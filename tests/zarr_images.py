"""OME-Zarr images written with zarr alone, for the tests of reading them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from fm2s_stack.stack.base import Stack

PIXELS = np.random.default_rng(2).integers(1, 4000, (3, 2, 4, 16, 24), dtype=np.uint16)
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UNITS = {"t": "millisecond", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
STEPS = {"t": 50.0, "c": 1.0, "z": 2000.0, "y": 0.5, "x": 0.25}


def stored(axes: str) -> np.ndarray:
    """PIXELS with only `axes`, in their order."""
    kept = PIXELS[tuple(slice(None) if a in axes else 0 for a in "tczyx")]
    return np.einsum(f"{''.join(a for a in 'tczyx' if a in axes)}->{axes}", kept)


def write(folder: Path, axes: str = "tczyx", version: str = "0.5", **more: object) -> np.ndarray:
    """An OME-Zarr image written with zarr alone."""
    pixels = stored(axes)
    form = 2 if version.startswith("0.4") else 3
    group = zarr.open_group(str(folder), mode="w", zarr_format=form)
    chunks = tuple({"y": 8, "x": 12}.get(a, 1) for a in axes)
    group.create_array("s0", shape=pixels.shape, chunks=chunks, dtype="u2")[...] = pixels
    described = [
        {"name": a, "type": TYPES[a], **({"unit": UNITS[a]} if a in UNITS else {})} for a in axes
    ]
    scale = [{"type": "scale", "scale": [STEPS[a] for a in axes]}]
    multiscale = {
        "axes": described,
        "datasets": [{"path": "s0", "coordinateTransformations": scale}],
        "coordinateTransformations": [{"type": "scale", "scale": [2.0] * len(axes)}],
    }
    ome = {"multiscales": [multiscale], "version": version, **more}
    group.attrs.update(ome if form == 2 else {"ome": ome})
    return pixels


def change(folder: Path, edit: Callable[[dict], object]) -> None:
    """Edit the attributes of a group in place."""
    group = zarr.open_group(str(folder), mode="r+")
    attributes = json.loads(json.dumps(dict(group.attrs)))
    edit(attributes)
    group.attrs.put(attributes)


def pixels_of(stack: Stack) -> np.ndarray:
    return np.asarray(stack.array.compute(scheduler="synchronous"))
