"""The noise of planes that have no time axis, from the finest detail of each.

Optics transmit little at the finest scales, noise is there as everywhere: the residuals of a
filter that keeps only those are mostly noise (Immerkaer, Computer Vision and Image Understanding
64, 1996, with steeper filters). Correlated noise is weaker there; its correlation along rows is
seen in what is fine across rows, and the other way round, if it is a product of both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model.chosen import Clean, Looked, clean_of, fit_usable
from fm2s_stack.noise_model.correlation import Correlation, kernel_of_product
from fm2s_stack.noise_model.defects import (
    Limits,
    clipping_limits,
    defective_pixels,
)
from fm2s_stack.noise_model.guides import clipped, guides
from fm2s_stack.noise_model.line import BOOTSTRAPS
from fm2s_stack.noise_model.model import REACH, NoiseModel
from fm2s_stack.noise_model.summary import summarize
from fm2s_stack.noise_model.tiles import SIDE, cut, grid
from fm2s_stack.noise_model.units import Numbers, as_numbers

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

FINE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)  #: keeps the power of white noise
# Higher than for movies: overlapping filters make few independent values in a tile, and the
# distribution of their mean square is less well known.
BOUNDS = (0.005, 0.99)  #: of the distribution of pure noise that the line rests on
SYSTEMATIC = 0.1  #: of the variances: detail that is no noise, noise that is no product
STRUCTURE = 0.02  #: error of the correlations that structure makes
NOTE = "measured within planes: fine structure counts as noise, and smooth noise is not seen"


@dataclass(frozen=True)
class Look:
    """What the tiles of one plane say; arrays of shape (tiles,) or (lags, tiles)."""

    level: Float  #: mean level
    count: Float32  #: pixels used
    square: Float  #: mean square of the detail that is fine along both axes
    rows: Float  #: mean products of detail fine across rows at lags 0 to REACH along them
    columns: Float  #: the same across and along columns
    low: Float32  #: pixels at the lowest level
    high: Float32  #: pixels at the highest level


def measure_image(planes: NDArray, *, offset: float | None = None) -> NoiseModel:
    """Measure the noise of single planes from their finest detail.

    Less certain than `measure_movie`: fine structure counts as noise, and only noise whose
    correlation is a product of one along rows and one along columns is measured rightly.

    Parameters
    ----------
    planes
        One plane (y, x) or several (planes, y, x), 8 x 8 pixels or more; integers or finite
        floats, in grey levels.
    offset
        Grey level of darkness, where metadata tells it.

    Returns
    -------
    NoiseModel
        In the grey levels of `planes`.

    Raises
    ------
    NoiseUnknown
        If there is nothing to measure: planes too small or constant.
    """
    numbers = as_numbers(_required(planes)[:, None])
    defects = defective_pixels(numbers.frames) | numbers.missing
    limits = clipping_limits(numbers.frames, ~defects)
    looks = [_look(plane, defects, limits) for plane in numbers.frames[:, 0]]
    looked = _gathered(looks, numbers, limits)
    return summarize(looked, partial(_correlation, looked, looks), offset)


def _required(planes: NDArray) -> NDArray:
    planes = planes[None] if planes.ndim == 2 else planes
    if planes.ndim != 3 or not len(planes):
        raise NoiseUnknown(f"noise: planes of shape {planes.shape}, expected (planes, y, x)")
    if min(planes.shape[1:]) < SIDE:
        rows, columns = planes.shape[1:]
        raise NoiseUnknown(
            f"noise: planes of {rows} x {columns} pixels are too small to measure; "
            f"{SIDE} x {SIDE} or more are needed"
        )
    return planes


def _look(field: Float32, defects: NDArray[np.bool_], limits: Limits) -> Look:
    across = ndimage.convolve1d(field, FINE, axis=0)
    along = ndimage.convolve1d(field, FINE, axis=1)
    good = _clear_of(defects)
    weight = cut(good.astype(np.float32))
    count = weight.sum((0, 1))
    most = np.maximum(count, 1)
    detail = cut(ndimage.convolve1d(across, FINE, axis=1)) * weight
    return Look(
        level=np.asarray((cut(field) * weight).sum((0, 1), dtype=float) / most),
        count=count,
        square=np.asarray((detail**2).sum((0, 1), dtype=float) / most),
        rows=_products(cut(across), weight),
        columns=_products(cut(along).swapaxes(0, 1), weight.swapaxes(0, 1)),
        low=_count_at(field, good, limits.low),
        high=_count_at(field, good, limits.high),
    )


def _clear_of(defects: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose filters meet neither a defect nor the edge, shape (y, x)."""
    reach = len(FINE) // 2
    near = ndimage.binary_dilation(defects, np.ones((len(FINE), len(FINE)), bool))
    near[:reach] = near[-reach:] = True
    near[:, :reach] = near[:, -reach:] = True
    return np.asarray(~near)


def _products(detail: Float32, weight: Float32) -> Float:
    """Mean products at lags 0 to REACH along the second axis, shape (lags, tiles)."""
    means = []
    for lag in range(REACH + 1):
        both = weight[:, : SIDE - lag] * weight[:, lag:]
        product = detail[:, : SIDE - lag] * detail[:, lag:] * both
        means.append(product.sum((0, 1), dtype=float) / np.maximum(both.sum((0, 1)), 1))
    return np.stack(means)


def _count_at(plane: Float32, good: NDArray[np.bool_], level: float | None) -> Float32:
    at = good & (plane == level) if level is not None else np.zeros_like(good)
    return np.asarray(cut(at.astype(np.float32)).sum((0, 1)), np.float32)


def _gathered(looks: list[Look], numbers: Numbers, limits: Limits) -> Looked:
    level, count, square, low, high = (
        np.stack([getattr(look, name) for look in looks])
        for name in ("level", "count", "square", "low", "high")
    )
    shape = grid(numbers.frames.shape)
    used = (count >= SIDE) & (square > 0) & ~clipped(high, count, shape)
    return Looked(
        level=level,
        guide=guides(level, used, shape),
        variance=square,
        count=count,
        used=used,
        low=low,
        grid=shape,
        units=numbers.units,
        limits=limits,
        method="spatial residuals",
        frames=numbers.frames,
        systematic=SYSTEMATIC,
        bounds=BOUNDS,
        notes=(NOTE,),
    )


def _correlation(
    looked: Looked, looks: list[Look], usable: NDArray[np.bool_], clean: Clean
) -> Correlation:
    """The correlation along both axes, and by how much the finest detail falls short.

    The tiles are chosen by the same detail that is correlated: those of little detail along both
    axes would be those where it happens to be smooth along one.
    """
    each = []
    for name in ("rows", "columns"):
        products = np.stack([getattr(look, name) for look in looks], axis=1)
        pure = _clean_by(products[0], looked, usable)
        chosen = products[:, pure.plane, pure.tile] * pure.weight
        each.append(np.stack([np.bincount(pure.cluster, row) for row in chosen]))
    rows, columns = (_normal(one.sum(axis=1)) for one in each)
    error = max(_error(one.T.astype(float)) for one in each)
    seen = _seen(rows) * _seen(columns)
    error = float(np.hypot(error, STRUCTURE))
    return Correlation(kernel_of_product(rows, columns), error, 1 / max(seen, 0.02))


def _clean_by(variance: Float, looked: Looked, usable: NDArray[np.bool_]) -> Clean:
    usable = usable & (variance > 0)
    return clean_of(usable, fit_usable(replace(looked, variance=variance), usable))


def _normal(products: Float) -> Float:
    return np.asarray(np.clip(products / max(products[0], 1e-300), -1, 1))


def _error(products: Float) -> float:
    """Standard error of the correlation at lag 1, from draws of the clusters."""
    clusters = products[products[:, 0] > 0]
    even = np.full(len(clusters), 1 / len(clusters))
    draws = np.random.default_rng(0).multinomial(len(clusters), even, BOOTSTRAPS) @ clusters
    return float(np.std(draws[:, 1] / draws[:, 0]))


def _seen(correlation: Float) -> float:
    """Part of the power of noise of a correlation that the filter keeps."""
    own = np.correlate(FINE, FINE, "full")[len(FINE) - 1 :][: REACH + 1]
    return float(own[0] + 2 * own[1:] @ correlation[1:])
