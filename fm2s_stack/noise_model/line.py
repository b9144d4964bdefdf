"""A straight line through variances of tiles, some of which hold more than noise.

What a scene adds to a variance is never negative. So a tile far above the line is left out, and
the bounds and the bias of leaving out are those of the distribution that pure noise has: the mean
square of many pixels is about gamma distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

Float = NDArray[np.float64]

Bounds = tuple[float, float]  # quantiles of pure noise

ROUNDS = 40  #: of reweighting at most
BOOTSTRAPS = 200
SHAPES = np.geomspace(1.0, 2000.0, 80)  #: of gamma distributions with mean 1


@dataclass(frozen=True)
class Tiles:
    """One entry of each array is one tile of one pair of frames, shape (tiles,)."""

    level: Float  #: mean of its pixels
    variance: Float  #: mean square of its residuals, per degree of freedom
    guide: Float  #: its level as told by other pixels, whose noise is not that of the tile
    cluster: NDArray[np.intp]  #: neighbours in place and time, which may share what disturbs

    def __getitem__(self, which: NDArray) -> Tiles:
        return Tiles(
            self.level[which], self.variance[which], self.guide[which], self.cluster[which]
        )


class Line(NamedTuple):
    """``variance = slope * level + height`` and what it rests on."""

    slope: float  #: variance per grey level
    height: float  #: variance at level 0
    kept: NDArray[np.bool_]  #: tiles that pass for pure noise
    expected: Float  #: variance that the line expects of each tile
    bias: float  #: by which a kept tile lies above the line for pure noise, relative


class Spread(NamedTuple):
    """Gamma distribution of mean 1 between two quantiles."""

    low: float  #: lower bound
    high: float  #: upper bound
    bias: float  #: mean between the bounds, less 1


def fit_line(tiles: Tiles, bounds: Bounds) -> Line:
    """The line through the tiles that pass for pure noise.

    Levels are noisy, and their noise is correlated with that of the variances wherever noise is
    skewed, as that of few photons is. Least squares would be biased by both; with the guide as an
    instrumental variable (Wald, Ann. Math. Stat. 11, 1940) the line is not.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the guides do not differ.
    """
    slope, height = _start(tiles)
    least = 0.2 * float(np.percentile(tiles.variance, 5)) + 1e-12 * float(tiles.variance.max())
    for _ in range(ROUNDS):
        line = _classify(tiles, slope, height, least, bounds)
        weight = line.kept / line.expected**2
        before = slope, height
        slope, height = solve(normal_sums(tiles, weight, line))
        at = abs(slope) * np.ptp(tiles.guide) + abs(height)
        if abs(slope - before[0]) * np.ptp(tiles.guide) + abs(height - before[1]) < 1e-5 * at:
            break
    return _classify(tiles, slope, height, least, bounds)


def fit_constant(tiles: Tiles, bounds: Bounds) -> Line:
    """The same without a slope: one variance at all levels."""
    height = float(np.percentile(tiles.variance, 30))
    for _ in range(ROUNDS):
        line = _classify(tiles, 0.0, height, 1e-3 * height, bounds)
        if not line.kept.any():
            break
        before, height = height, float(tiles.variance[line.kept].mean() / (1 + line.bias))
        if abs(height - before) < 1e-5 * height:
            break
    return _classify(tiles, 0.0, height, 1e-3 * height, bounds)


def normal_sums(tiles: Tiles, weight: Float, line: Line) -> Float:
    """Sums of the normal equations in each cluster, shape (clusters, 6)."""
    variance = tiles.variance - line.bias * line.expected
    rows = (
        weight * tiles.guide * tiles.level,
        weight * tiles.guide,
        weight * tiles.level,
        weight,
        weight * tiles.guide * variance,
        weight * variance,
    )
    return np.stack([np.bincount(tiles.cluster, row) for row in rows], axis=1)


def solve(sums: Float) -> tuple[float, float]:
    """Slope and height from the sums of `normal_sums`, shape (..., clusters, 6)."""
    a, b, c, d, e, f = sums.sum(axis=0)
    slope, height = np.linalg.solve([[a, b], [c, d]], [e, f])
    return float(slope), float(height)


def bootstrap(tiles: Tiles, line: Line) -> Float:
    """Slopes and heights of draws of the clusters with replacement, shape (draws, 2)."""
    sums = normal_sums(tiles, line.kept / line.expected**2, line)
    sums = sums[sums[:, 3] > 0]
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), BOOTSTRAPS) @ sums
    a, b, c, d, e, f = draws.T
    inverse = a * d - b * c
    solvable = np.abs(inverse) > 1e-9 * np.abs(a * d)
    found = np.stack([e * d - b * f, a * f - c * e])[:, solvable] / inverse[solvable]
    return np.asarray(found.T)


def _start(tiles: Tiles) -> tuple[float, float]:
    """A line through the lower third of the variances around each of some guides."""
    order = np.argsort(tiles.guide, kind="stable")
    groups = np.array_split(order, min(16, max(2, len(order) // 8)))
    level = np.array([tiles.level[group].mean() for group in groups])
    variance = np.array([np.percentile(tiles.variance[group], 30) for group in groups])
    safe = np.maximum(variance, 1e-3 * variance.max() + 1e-30)
    table = np.stack([level, np.ones_like(level)], axis=1) / safe[:, None]
    slope, height = np.linalg.lstsq(table, variance / safe, rcond=None)[0]
    return float(slope), float(height)


def _classify(tiles: Tiles, slope: float, height: float, least: float, bounds: Bounds) -> Line:
    expected = np.maximum(slope * tiles.guide + height, least)
    ratio = 1 + (tiles.variance - slope * tiles.level - height) / expected
    spread = _spread(ratio, bounds)
    kept = (ratio > spread.low) & (ratio < spread.high)
    return Line(slope, height, kept, expected, spread.bias)


def _spread(ratio: Float, bounds: Bounds) -> Spread:
    """The distribution whose lower half is as wide as that of the ratios, which nothing adds to."""
    below = ratio[ratio < 1]
    width = float(np.sqrt(np.mean((below - 1) ** 2))) if below.size else 0.0
    shape = float(np.interp(-width, -_lower_widths(), SHAPES))
    low, high = (float(gammaincinv(shape, part)) for part in bounds)
    inside = float(gammainc(shape + 1, high) - gammainc(shape + 1, low))
    return Spread(low / shape, high / shape, inside / (bounds[1] - bounds[0]) - 1)


def _lower_widths() -> Float:
    """Root mean square distance from 1 of what lies below 1, for each of `SHAPES`."""
    part = [gammainc(SHAPES + power, SHAPES) for power in range(3)]
    square = (SHAPES + 1) / SHAPES * part[2] - 2 * part[1] + part[0]
    return np.asarray(np.sqrt(square / part[0]))
