"""Frames of a result beside those of the truth, one pair at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fm2s_stack.errors import UsageError

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Labels = NDArray[np.integer]
_MISSING = object()


def frame_pairs(
    results: Iterable[ArrayLike], truths: Iterable[ArrayLike]
) -> Iterator[tuple[Float, Float]]:
    """Frames of both in float64, checked to be equally many and of one shape.

    Parameters
    ----------
    results, truths
        Equally many frames; arrays of shape (t, ...) or iterables, gone through once.

    Yields
    ------
    tuple of ndarray of float64
        A frame of the result and the same of the truth.

    Raises
    ------
    UsageError
        If there are no frames, one side has more than the other, or shapes differ.
    """
    count, shape = 0, None
    for result, truth in zip_longest(results, truths, fillvalue=_MISSING):
        if result is _MISSING or truth is _MISSING:
            longer = "truth" if result is _MISSING else "result"
            raise UsageError(f"only the {longer} has a frame {count}: give equally many of both")
        pair = image_pair(result, truth)  # type: ignore[arg-type]
        shape = pair[0].shape if shape is None else shape
        if pair[0].shape != shape:
            raise UsageError(f"frame {count}: shape {pair[0].shape}, expected {shape}")
        yield pair
        count += 1
    if count == 0:
        raise UsageError("no frames to measure: expected one or more")


def image_pair(result: ArrayLike, truth: ArrayLike) -> tuple[Float, Float]:
    """Both in float64; a `UsageError` if their shapes differ or they are empty."""
    image, target = np.asarray(result, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if image.shape != target.shape or image.size == 0:
        raise UsageError(
            f"result of shape {image.shape} and truth of shape {target.shape}: "
            "expected one shape, with pixels in it"
        )
    return image, target


def decibels(error: float, data_range: float) -> float:
    """``10 log10(data_range**2 / error)`` of a mean squared error; infinity for none."""
    return 10 * float(np.log10(data_range**2 / error)) if error > 0 else float("inf")
