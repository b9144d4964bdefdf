"""The noise of a movie, from the differences of consecutive frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model import tiles as cutting
from fm2s_stack.noise_model.chosen import Clean, Looked
from fm2s_stack.noise_model.correlation import WHITE, Correlation, correlate
from fm2s_stack.noise_model.defects import Limits, clipping_limits, defective_pixels, mended
from fm2s_stack.noise_model.guides import clipped, guides
from fm2s_stack.noise_model.model import NoiseModel
from fm2s_stack.noise_model.registration import align, overlap, shift_between
from fm2s_stack.noise_model.summary import summarize
from fm2s_stack.noise_model.units import Numbers, as_numbers

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

BLUR = 0.7  #: of the level whose changes are taken out, pixels
CHANGES = 4  #: taken out of each tile: brightness, contrast and two shifts
STRUCTURE = 0.01  #: error of the correlations that what moves makes
BOUNDS = (0.005, 0.95)  #: of the distribution of pure noise that the line rests on
SYSTEMATIC = 0.03  #: of the variances, beside what scatters
RESPONSES = 16  #: tiles from which the effect of taking changes out is computed


@dataclass(frozen=True)
class Look:
    """What the tiles of one pair of frames say; arrays of shape (tiles,)."""

    level: Float  #: mean level
    sums: Float32  #: products of residuals at each lag, shape (lags, tiles)
    count: Float32  #: pixels used
    low: Float32  #: pixels at the lowest level
    high: Float32  #: pixels at the highest level
    basis: Float32  #: of some whole tiles


def measure_movie(pairs: NDArray, *, offset: float | None = None) -> NoiseModel:
    """Measure the noise from pairs of consecutive frames.

    Half the mean square of the difference of two frames is the variance of the noise, wherever
    the scene did not change (photon transfer). Frames are registered to whole pixels; in tiles of
    8 x 8 pixels changes of brightness and contrast and small shifts are fitted and taken out; the
    line of variance against level goes through the tiles that pass for pure noise. Activity,
    motion and bleaching are in most tiles small after that, and the others are left out. Clipped
    and defective pixels are left out.

    Parameters
    ----------
    pairs
        Pairs of consecutive frames spread over the recording, shape (pairs, 2, y, x), y and x 8
        or more; integers or finite floats, in grey levels.
    offset
        Grey level of darkness, where metadata tells it.

    Returns
    -------
    NoiseModel
        In the grey levels of `pairs`.

    Raises
    ------
    NoiseUnknown
        If there is nothing to measure: frames too small, constant or all the same.
    """
    pairs = _required(pairs)
    different = np.array([not np.array_equal(first, second) for first, second in pairs])
    if not different.any():
        raise NoiseUnknown("noise: consecutive frames are identical; there is none to measure")
    alike = int((~different).sum())
    notes = (f"{alike} pair(s) of identical frames left out",) if alike else ()
    numbers = as_numbers(pairs[different])
    defects = defective_pixels(numbers.frames) | numbers.missing
    limits = clipping_limits(numbers.frames, ~defects)
    looks = [_look(pair, defects, limits) for pair in numbers.frames]
    looked = replace(_gathered(looks, numbers, limits), notes=notes)
    return summarize(looked, partial(_correlation, looks), offset)


def _required(pairs: NDArray) -> NDArray:
    if pairs.ndim != 4 or pairs.shape[1] != 2 or min(pairs.shape) < 1:
        raise NoiseUnknown(f"noise: pairs of shape {pairs.shape}, expected (pairs, 2, y, x)")
    if min(pairs.shape[2:]) < cutting.SIDE:
        rows, columns = pairs.shape[2:]
        raise NoiseUnknown(
            f"noise: frames of {rows} x {columns} pixels are too small to measure; "
            f"{cutting.SIDE} x {cutting.SIDE} or more are needed"
        )
    return pairs


def _look(pair: Float32, defects: NDArray[np.bool_], limits: Limits) -> Look:
    first, second = (mended(frame, defects) for frame in pair)
    shift = shift_between(first, second)
    good = ~defects & align(~defects, shift) & overlap(defects.shape, shift)
    second = align(second, shift)
    mean = (first + second) / 2
    smooth = ndimage.gaussian_filter(mean, BLUR)
    changes = [smooth, *np.gradient(smooth)]
    left = cutting.residual((second - first) * np.float32(np.sqrt(0.5)), changes, good)
    whole = np.flatnonzero(left.used == cutting.SIDE**2)
    some = whole[:: max(1, len(whole) // RESPONSES)][:RESPONSES]
    return Look(
        level=_mean(mean, good, left.used),
        sums=cutting.lag_sums(left.values),
        count=left.used,
        low=_count_at(pair, good, limits.low),
        high=_count_at(pair, good, limits.high),
        basis=left.basis[..., some],
    )


def _mean(field: NDArray, good: NDArray[np.bool_], count: Float32) -> Float:
    total = cutting.cut(field * good).sum((0, 1), dtype=float)
    return np.asarray(total / np.maximum(count, 1))


def _count_at(pair: NDArray, good: NDArray[np.bool_], level: float | None) -> Float32:
    """Pixels of each tile at a level, in both frames."""
    down, across = cutting.grid(good.shape)
    if level is None:
        return np.zeros(down * across, np.float32)
    at = ((pair == level) & good).sum(0).astype(np.float32)
    return np.asarray(cutting.cut(at).sum((0, 1)), np.float32)


def _gathered(looks: list[Look], numbers: Numbers, limits: Limits) -> Looked:
    level = np.stack([look.level for look in looks])
    count = np.stack([look.count for look in looks])
    square = np.stack([look.sums[0] for look in looks]).astype(float)
    shape = cutting.grid(numbers.frames.shape)
    high = np.stack([look.high for look in looks])
    clear = ~clipped(high, 2 * count, shape)
    used = (count > cutting.SIDE**2 / 2) & (square > 0) & clear
    return Looked(
        level=level,
        guide=guides(level, used, shape),
        variance=square / np.maximum(count - CHANGES, 1.0),
        count=count,
        used=used,
        low=np.stack([look.low for look in looks]),
        grid=shape,
        units=numbers.units,
        limits=limits,
        method="frame differences",
        frames=numbers.frames,
        systematic=SYSTEMATIC,
        bounds=BOUNDS,
    )


def _correlation(looks: list[Look], usable: NDArray[np.bool_], clean: Clean) -> Correlation:
    """The correlation from the whole tiles of pure noise."""
    whole = np.stack([look.count for look in looks])[clean.plane, clean.tile] == cutting.SIDE**2
    basis = np.concatenate([look.basis for look in looks], axis=-1)[..., :RESPONSES]
    if not whole.any():
        return WHITE
    sums = np.stack([look.sums for look in looks], axis=1)
    each = sums[:, clean.plane[whole], clean.tile[whole]].astype(float)
    found = correlate(each, clean.weight[whole], clean.cluster[whole], basis, CHANGES)
    return found._replace(error=float(np.hypot(found.error, STRUCTURE)))
