"""Noise that is smooth, from the quieter blocks of a plane.

Interpolated or filtered recordings have hardly any noise at the finest scales, where
`measure_image` looks: it then finds a part of the variance, and a correlation that does not end
within its reach. What varies even in the quieter blocks of a plane is mostly noise, of whatever
smoothness. Texture everywhere looks the same in one plane, and is then taken for noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.model import REACH

Float = NDArray[np.float64]

SIDE = 16  #: of a block, pixels
#: part of the blocks that is taken for noise alone. Of pure noise the quieter half has four fifths
#: of the variance; in images the structure that half of the blocks holds makes up for it.
QUIETEST = 0.5
FEWEST = 32  #: blocks that tell something
MANY = 4096  #: blocks that are looked at, at most
CLIPPED = 0.005  #: part of a block's pixels at the lowest value from which on it is left out
SMOOTH = 0.1  #: least correlation along both axes, at the largest lag, of noise called smooth


def with_smooth_noise(planes: NDArray, noise: NoiseModel) -> NoiseModel:
    """The noise of planes, measured again if it is smooth along both axes.

    Parameters
    ----------
    planes
        What `noise` was measured from, grey levels, shape (y, x) or (planes, y, x); NaN where
        pixels carry no light.
    noise
        What `measure_image` says.

    Returns
    -------
    NoiseModel
        `noise` itself where it is not smooth, was measured from differences of frames, or the
        quieter blocks do not vary more than it says; else its line raised to what they vary, with
        their correlation.
    """
    smooth = min(noise.correlation_rows[-1], noise.correlation_columns[-1]) > SMOOTH
    if noise.method != "spatial residuals" or not smooth:
        return noise
    blocks = _blocks(planes.reshape(-1, *planes.shape[-2:]))
    blocks = blocks[np.isfinite(blocks).all((1, 2))]
    lowest = float(np.fmin.reduce(planes, axis=None))
    blocks = blocks[(blocks <= lowest).mean((1, 2)) < CLIPPED]
    if len(blocks) < FEWEST:
        return noise
    left = _levelled(blocks)
    quiet = np.argsort((left**2).sum((1, 2)), kind="stable")[: int(QUIETEST * len(blocks))]
    covariance = _covariance(left[quiet])
    excess = float(covariance[0, REACH] / noise.variance(blocks[quiet]).mean())
    return noise if excess <= 1 else _louder(noise, excess, covariance / covariance[0, REACH])


def _louder(noise: NoiseModel, excess: float, correlation: Float) -> NoiseModel:
    return replace(
        noise,
        gain=excess * noise.gain,
        intercept=excess * noise.intercept,
        floor=excess * noise.floor,
        autocorrelation=tuple(tuple(map(float, row)) for row in correlation),
        notes=(*noise.notes, "the noise is smooth: measured in the quieter blocks"),
    )


def _blocks(planes: NDArray) -> Float:
    down, across = (side // SIDE for side in planes.shape[1:])
    whole = planes[:, : down * SIDE, : across * SIDE]
    blocks = whole.reshape(-1, down, SIDE, across, SIDE).swapaxes(2, 3).reshape(-1, SIDE, SIDE)
    return blocks[:: -(-len(blocks) // MANY) or 1].astype(float)


def _levelled(blocks: Float) -> Float:
    """Blocks without their mean and slopes."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    flat = blocks.reshape(len(blocks), -1)
    for change in (np.ones_like(x), y, x):
        unit = change.ravel() / np.linalg.norm(change)
        flat = flat - np.outer(flat @ unit, unit)
    return flat.reshape(blocks.shape)


def _covariance(blocks: Float) -> Float:
    """Mean products of pixels, laid out as `NoiseModel.autocorrelation`."""
    covariance = np.empty((REACH + 1, 2 * REACH + 1))
    for dy in range(REACH + 1):
        for dx in range(-REACH, REACH + 1):
            one = blocks[:, dy:, max(dx, 0) : SIDE + min(dx, 0)]
            other = blocks[:, : SIDE - dy, max(-dx, 0) : SIDE - max(dx, 0)]
            covariance[dy, REACH + dx] = (one * other).mean()
    return covariance
