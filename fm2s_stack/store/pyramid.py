"""The smaller resolutions of an image: means over blocks of level-0 pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.image import Shape5


def downsample(pixels: NDArray, factors: Sequence[Shape5]) -> list[NDArray]:
    """The image at each of several coarser resolutions.

    A pixel of the result is the mean over the ``factor`` block of `pixels` that it stands
    for; blocks cut by the end of the image average what is there. The sums are carried from
    level to level, so that every level is the mean of level 0, rounded once.

    Parameters
    ----------
    pixels
        Level 0, or a part of it that starts at a multiple of the last factor, axes tczyx.
    factors
        Level-0 pixels along each axis, each a multiple of the one before it.

    Returns
    -------
    list of ndarray
        Shape ``ceil(n / factor)``, dtype of `pixels`. Integers are rounded half to even.
        Floats are summed in float64; NaN is left out, and where a block has nothing else,
        comes back.

    Raises
    ------
    ValueError
        If a factor is not a multiple of the one before it.
    """
    images = [np.empty(_divided(pixels.shape, factor), pixels.dtype) for factor in factors]
    if not factors:
        return images
    t_step, _, z_step, _, _ = factors[-1]
    # A few planes at a time: their sums stay in the processor's cache, and memory small.
    for t, z in product(range(0, pixels.shape[0], t_step), range(0, pixels.shape[2], z_step)):
        slab = pixels[t : t + t_step, :, z : z + z_step]
        for image, factor, means in zip(images, factors, _levels(slab, factors), strict=True):
            n_t, _, n_z = means.shape[:3]
            first_t, first_z = t // factor[0], z // factor[2]
            image[first_t : first_t + n_t, :, first_z : first_z + n_z] = means
    return images


def _levels(pixels: NDArray, factors: Sequence[Shape5]) -> Iterator[NDArray]:
    sums, counts = _known(pixels)
    adder = _adder(pixels.dtype, factors)
    done: Sequence[int] = (1, 1, 1, 1, 1)
    for factor in factors:
        if any(new % old for new, old in zip(factor, done, strict=True)):
            raise ValueError(f"pyramid factor {factor} is no multiple of {tuple(done)} before it")
        step = [new // old for new, old in zip(factor, done, strict=True)]
        sums, done = _block_sums(sums, step, adder), factor
        if counts is not None:
            counts = _block_sums(counts, step, np.dtype(np.int64))
        sizes = _block_sizes(pixels.shape, factor) if counts is None else counts
        yield _means(sums, sizes, pixels.dtype)


def _known(pixels: NDArray) -> tuple[NDArray, NDArray | None]:
    """Pixels with zeros for NaN, and which are not NaN; None where all are numbers."""
    if np.issubdtype(pixels.dtype, np.floating):
        missing = np.isnan(pixels)
        if missing.any():
            return np.where(missing, 0, pixels), (~missing).astype(np.uint8)
    return pixels, None


def _divided(shape: Sequence[int], factor: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-length // n) for length, n in zip(shape, factor, strict=True))


def _adder(dtype: np.dtype, factors: Sequence[Shape5]) -> np.dtype:
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float64)
    largest = math.prod(factors[-1]) if factors else 1
    # 32768 pixels of 16 bit are the most that 32 bit can add up.
    return np.dtype(np.int32 if dtype.itemsize <= 2 and largest <= 2**15 else np.int64)


def _block_sums(values: NDArray, step: Sequence[int], adder: np.dtype) -> NDArray:
    for axis, n in enumerate(step):
        if n > 1:
            values = _sums_along(np.moveaxis(values, axis, 0), n, adder)
            values = np.moveaxis(values, 0, axis)
    return values


def _sums_along(values: NDArray, n: int, adder: np.dtype) -> NDArray:
    sums = values[::n].astype(adder)
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, as it should be
        for offset in range(1, n):
            part = values[offset::n]
            sums[: len(part)] += part
    return sums


def _block_sizes(shape: Sequence[int], factor: Sequence[int]) -> NDArray:
    """Pixels in each block; the shape has 1 along axes that are not reduced."""
    sizes = np.ones((1,) * len(shape), dtype=np.int64)
    for axis, (length, n) in enumerate(zip(shape, factor, strict=True)):
        if n > 1:
            along = np.minimum(n, length - np.arange(0, length, n))
            sizes = sizes * along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return sizes


def _means(sums: NDArray, counts: NDArray, dtype: np.dtype) -> NDArray:
    with np.errstate(invalid="ignore"):  # 0 / 0: a block of nothing but NaN
        means = sums / counts
    rounded: NDArray = np.rint(means) if np.issubdtype(dtype, np.integer) else means
    return rounded.astype(dtype)
