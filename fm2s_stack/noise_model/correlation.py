"""The autocorrelation of the noise from what is left of it in tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model.line import BOOTSTRAPS
from fm2s_stack.noise_model.model import REACH, Kernel
from fm2s_stack.noise_model.tiles import LAGS, SIDE, lag_response

Float = NDArray[np.float64]

NEXT = [LAGS.index(lag) for lag in ((0, 1), (1, 0))]  #: along rows and along columns


class Correlation(NamedTuple):
    """How noise is correlated in space, and what that says of its variance."""

    kernel: Kernel  #: autocorrelation, as `NoiseModel.autocorrelation`
    error: float  #: larger standard error of the two lag-1 correlations
    inflation: float  #: variance, as a multiple of the mean square per degree of freedom


WHITE = Correlation(
    tuple(tuple(float((y, x) == (0, REACH)) for x in range(2 * REACH + 1)) for y in range(4)),
    0.0,
    1.0,
)


def correlate(
    sums: Float, weight: Float, cluster: NDArray[np.intp], basis: NDArray[np.float32], freedom: int
) -> Correlation:
    """Solve the sums of lagged products for the autocovariances that are behind them.

    Parameters
    ----------
    sums
        Products of residuals at each lag, of whole tiles of pure noise, shape (lags, tiles).
    weight
        Of each tile, 1 over its variance.
    cluster
        Of each tile, for the error.
    basis
        What was taken out of some tiles, for `lag_response`.
    freedom
        Degrees of freedom taken out of a tile.
    """
    each = np.stack([np.bincount(cluster, row * weight) for row in sums], axis=1)
    response = lag_response(basis)
    found = np.linalg.solve(response, each.sum(axis=0))
    if found[0] <= 0:
        return WHITE
    inflation = found[0] / (each[:, 0].sum() / (SIDE**2 - freedom))
    clusters = each[each[:, 0] > 0]
    even = np.full(len(clusters), 1 / len(clusters))
    draws = np.random.default_rng(0).multinomial(len(clusters), even, BOOTSTRAPS) @ clusters
    again = np.linalg.solve(response, draws.T)
    error = np.std(again[NEXT] / again[0], axis=1).max()
    return Correlation(_kernel(found / found[0]), float(error), float(inflation))


def kernel_of_product(rows: Float, columns: Float) -> Kernel:
    """The autocorrelation that is a product of those at lags 0 to REACH along both axes."""
    return tuple(
        tuple(float(columns[dy] * rows[abs(dx)]) for dx in range(-REACH, REACH + 1))
        for dy in range(REACH + 1)
    )


def _kernel(correlation: Float) -> Kernel:
    table = np.zeros((REACH + 1, 2 * REACH + 1))
    for (dy, dx), value in zip(LAGS, np.clip(correlation, -1, 1), strict=True):
        table[dy, REACH + dx] = value
        if dy == 0:
            table[0, REACH - dx] = value
    return tuple(tuple(map(float, row)) for row in table)
