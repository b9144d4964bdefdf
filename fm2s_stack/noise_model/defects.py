"""Pixels that tell nothing of the noise: dead, hot, constant, clipped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float32 = NDArray[np.float32]

STANDING_OUT = 6.0  #: deviations by which a defect exceeds all but one of its neighbours
PILE = 1.5  #: a clipped level holds this many times the pixels of any of the levels beside it
LOOKED_AT = 2**20  #: values among which clipped levels are looked for
AROUND = 31  #: side of the window that tells how large noise is, pixels
NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


class Limits(NamedTuple):
    """Grey levels at which values are clipped; None where they are not."""

    low: float | None
    high: float | None


def defective_pixels(pairs: NDArray) -> NDArray[np.bool_]:
    """Single pixels that stand out from their neighbours in the mean of all frames.

    Optics blur every true structure over its neighbours. One of the eight neighbours may be
    defective too.

    Parameters
    ----------
    pairs
        Frames, shape (pairs, 2, y, x); or planes, (planes, 1, y, x).

    Returns
    -------
    ndarray of bool, shape (y, x)
        True at defects, and in rows and columns that are constant from end to end in all frames.
    """
    mean = pairs.mean(axis=(0, 1), dtype=np.float64)
    error = _error_of(mean, pairs)
    upper = ndimage.rank_filter(mean, -2, footprint=NEIGHBOURS, mode="reflect")
    lower = ndimage.rank_filter(mean, 1, footprint=NEIGHBOURS, mode="reflect")
    single = (mean > upper + STANDING_OUT * error) | (mean < lower - STANDING_OUT * error)
    return np.asarray(single | constant_lines(pairs))


def _error_of(mean: NDArray[np.float64], pairs: NDArray) -> NDArray[np.float64]:
    """Standard error of the mean of all frames, shape (y, x)."""
    if pairs.shape[1] == 2:
        square = ((pairs[:, 1].astype(np.float32) - pairs[:, 0]) ** 2).mean(axis=0) / 2
        around, share = ndimage.uniform_filter(square, AROUND), 1 / (2 * len(pairs))
    else:
        square = (mean - ndimage.median_filter(mean, 3)) ** 2
        # Here the defects are in the squares; a median is blind to them.
        around, share = np.full_like(square, np.median(ndimage.uniform_filter(square, 5))), 1.0
    own = ndimage.median_filter(square, 5) if len(pairs) > 1 else np.zeros_like(square)
    # Of one square the median is 0.45 of the mean.
    return np.asarray(np.sqrt(np.maximum(own, around) * share) * 1.5)


def mended(frame: Float32, defects: NDArray[np.bool_]) -> Float32:
    """The frame with defects replaced by the median around them."""
    if not defects.any():
        return frame
    mended = frame.copy()
    y, x = np.nonzero(defects)
    padded = np.pad(np.where(defects, np.nan, frame), 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))[y, x].reshape(len(y), -1)
    windows = np.where(np.isnan(windows).all(axis=1, keepdims=True), 0, windows)
    mended[y, x] = np.nanmedian(windows, axis=1)
    return mended


def constant_lines(pairs: NDArray) -> NDArray[np.bool_]:
    """Rows and columns of one value in every frame, as registration leaves; shape (y, x)."""
    first = pairs[0, 0]
    still = (pairs == first).all(axis=(0, 1))
    rows = still.all(axis=1) & (first == first[:, :1]).all(axis=1)
    columns = still.all(axis=0) & (first == first[:1]).all(axis=0)
    return np.asarray(rows[:, None] | columns[None])


def clipping_limits(pairs: NDArray, good: NDArray[np.bool_]) -> Limits:
    """The lowest and highest value where pixels pile up at them.

    Parameters
    ----------
    pairs
        Frames, shape (pairs, 2, y, x).
    good
        Pixels to look at, shape (y, x).
    """
    some = pairs[..., good].reshape(-1)
    if not some.size:
        return Limits(None, None)
    values, counts = np.unique(some[:: -(-some.size // LOOKED_AT)], return_counts=True)
    if len(values) < 8:
        return Limits(None, None)
    return Limits(_piled(values, counts), _piled(values[::-1], counts[::-1]))


def _piled(values: NDArray, counts: NDArray[np.intp]) -> float | None:
    # A tail of a distribution gets thinner.
    piled = counts[0] >= 8 and counts[0] > PILE * counts[1:6].max()
    return float(values[0]) if piled else None
