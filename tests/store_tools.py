"""Levels, units and outputs made by hand, for the tests of the store."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from fm2s_stack.image import Image, Scale
from fm2s_stack.plan import Level, Unit
from fm2s_stack.store.attributes import seal
from fm2s_stack.store.omezarr import OutputLayout


def ceil_div(n, d):
    return -(-n // d)


def layout_of(
    path, shape, dtype, *, axes="tczyx", version="0.5", count=2, zyx=False, depth=4, **image
):
    """A layout with `count` levels, chunks of 2 planes of 8x8 and files of `depth` planes."""
    levels = []
    for k in range(count):
        f = 2**k
        factor = (1, 1, f if zyx else 1, f, f)
        level_shape = tuple(ceil_div(n, d) for n, d in zip(shape, factor, strict=True))
        planes = max(depth // factor[2], 1)
        chunk = (2, 1, min(2, planes), 8, 8)
        side = [ceil_div(n, 8) * 8 for n in level_shape[3:]]
        shard = (depth, 1, planes, *side)
        if version == "0.4":
            levels.append(Level(level_shape, None, chunk, factor))
        else:
            levels.append(Level(level_shape, shard, chunk, factor))
    described = Image(axes, tuple(shape), np.dtype(dtype), **image)
    return OutputLayout(str(path), described, tuple(levels), version)


def units_of(shape, depth=4):
    """Units of `depth` frames and `depth` slices, whole planes."""
    t, c, z, y, x = shape
    boxes = product(range(0, t, depth), range(c), range(0, z, depth))
    return [
        Unit(n, (t0, min(t0 + depth, t)), c0, (z0, min(z0 + depth, z)), (0, y), (0, x))
        for n, (t0, c0, z0) in enumerate(boxes)
    ]


def box_of(pixels, unit):
    return pixels[
        slice(*unit.t), unit.c : unit.c + 1, slice(*unit.z), slice(*unit.y), slice(*unit.x)
    ]


def write_all(layout, pixels, depth=4):
    layout.create({})
    for unit in units_of(pixels.shape, depth):
        layout.write(unit, box_of(pixels, unit))
    return layout


def sealed(path: Path, pixels, **options):
    """A complete output of `pixels`."""
    layout = layout_of(path, pixels.shape, pixels.dtype, **options)
    write_all(layout, pixels)
    seal(path, {"command": ["fm2s-stack", "denoise"]})
    return layout


def random_pixels(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)
    return rng.normal(100, 50, size=shape).astype(dtype)


SCALE = Scale(z=2.0, y=0.5, x=0.25, t=0.1)


def block_mean(pixels, factor):
    """The documented definition, pixel by pixel, in exact arithmetic on Python numbers."""
    shape = tuple(ceil_div(n, f) for n, f in zip(pixels.shape, factor, strict=True))
    out = np.empty(shape, dtype=pixels.dtype)
    for place in np.ndindex(shape):
        where = tuple(slice(p * f, (p + 1) * f) for p, f in zip(place, factor, strict=True))
        block = pixels[where].ravel()
        if np.issubdtype(pixels.dtype, np.integer):
            total, count = sum(int(v) for v in block), len(block)
            low, rest = divmod(total, count)
            out[place] = low + (2 * rest > count or (2 * rest == count and low % 2))
        else:
            good = block[~np.isnan(block)].astype(np.float64)
            out[place] = good.mean() if len(good) else np.nan
    return out
