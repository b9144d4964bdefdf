"""Differences of two frames in small tiles, freed of what changed in the scene.

Tiles are kept last, shape (side, side, tiles): sums over a tile then run along memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.noise_model.model import REACH

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

SIDE = 8  #: of a tile, pixels: smaller than a cell, so that most tiles brighten as a whole
#: (rows, columns) apart; the half plane, as the autocorrelation is symmetric
LAGS = tuple(
    (dy, dx) for dy in range(REACH + 1) for dx in range(-REACH, REACH + 1) if dy > 0 or dx >= 0
)


class Residual(NamedTuple):
    """What the tiles of one field hold when smooth changes are taken out."""

    values: Float32  #: shape (SIDE, SIDE, tiles), 0 where a pixel is not used
    basis: Float32  #: orthonormal changes taken out, shape (changes, SIDE, SIDE, tiles)
    used: Float32  #: pixels used, shape (tiles,)


def cut(field: NDArray) -> NDArray:
    """A field (y, x) in whole tiles, shape (SIDE, SIDE, tiles); what is left over is dropped."""
    down, across = grid(field.shape)
    tiles = field[: down * SIDE, : across * SIDE].reshape(down, SIDE, across, SIDE)
    return np.ascontiguousarray(tiles.transpose(1, 3, 0, 2)).reshape(SIDE, SIDE, -1)


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Tiles of a field, down and across."""
    return shape[-2] // SIDE, shape[-1] // SIDE


def residual(field: Float32, changes: list[Float32], good: NDArray[np.bool_]) -> Residual:
    """The tiles of a field without what is linear in some changes, tile by tile.

    Least squares on each tile of its own (Gram-Schmidt): a cell that brightens, a slope of the
    illumination and a small shift, which is linear in the gradient, leave it; noise stays but for
    one degree of freedom a change.

    Parameters
    ----------
    field
        What is measured, shape (y, x).
    changes
        Fields like it, beside a constant.
    good
        Pixels to use.
    """
    weight = cut(good.astype(np.float32))
    values = cut(field) * weight
    basis: list[Float32] = []
    for change in (weight, *(cut(change) * weight for change in changes)):
        left = change
        for unit in basis:
            left = left - unit * _dot(unit, left)
        size, whole = np.sqrt(_dot(left, left)), np.sqrt(_dot(change, change))
        # What rounding leaves of a change that the others span is no direction.
        unit = left * (size > 1e-3 * whole) / np.maximum(size, np.float32(1e-30))
        basis.append(unit)
        values = values - unit * _dot(unit, values)
    return Residual(values, np.stack(basis), weight.sum((0, 1)))


def lag_sums(values: Float32) -> Float32:
    """Sums of products of pixels each lag apart in a tile, shape (lags, tiles)."""
    sums = np.empty((len(LAGS), values.shape[-1]), np.float32)
    for row, (dy, dx) in enumerate(LAGS):
        left = values[: SIDE - dy, max(0, -dx) : SIDE - max(0, dx)]
        right = values[dy:, max(0, dx) : SIDE - max(0, -dx)]
        sums[row] = _dot(left, right)
    return sums


def lag_response(basis: Float32) -> Float:
    """What the sums of a tile expect of each autocovariance, shape (lags, lags).

    With the changes U and ``G = 1 - U U'``, noise of covariance C leaves residuals of covariance
    ``G C G``; C is a sum over lags of autocovariance times shift matrix. Entry [k, j] is the sum
    of lag k for an autocovariance of 1 at lag j alone, the mean over the tiles given.

    Parameters
    ----------
    basis
        Of a few whole tiles, shape (changes, SIDE, SIDE, tiles).
    """
    shifts = np.stack([_shift_matrix(lag) for lag in LAGS])
    both = np.stack([s if lag == (0, 0) else s + s.T for s, lag in zip(shifts, LAGS, strict=True)])
    response = np.zeros((len(LAGS), len(LAGS)))
    for tile in range(basis.shape[-1]):
        units = basis[..., tile].reshape(len(basis), -1).astype(float)
        keep = np.eye(SIDE**2) - units.T @ units
        left = keep @ both @ keep
        response += shifts.reshape(len(LAGS), -1) @ left.reshape(len(LAGS), -1).T
    return np.asarray(response / basis.shape[-1])


def around(values: Float, used: NDArray[np.bool_], shape: tuple[int, int]) -> Float:
    """Mean of the tiles around each, without itself; NaN where none is used; shape (tiles,)."""
    weight = used.reshape(shape).astype(float)
    kernel = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], float)
    total = ndimage.convolve(weight * values.reshape(shape), kernel, mode="constant")
    count = ndimage.convolve(weight, kernel, mode="constant")
    with np.errstate(invalid="ignore"):
        mean: Float = (total / count).ravel()
        return mean


def _dot(one: Float32, other: Float32) -> Float32:
    return np.asarray(np.einsum("ijt,ijt->t", one, other), np.float32)


def _shift_matrix(lag: tuple[int, int]) -> Float:
    """1 at [p, q] where pixel q of a tile lies a lag after pixel p."""
    rows, columns = (np.eye(SIDE, k=step) for step in lag)
    return np.asarray(np.kron(rows, columns), float)
