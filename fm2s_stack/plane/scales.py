"""Smoothing and halving of square windows, by matrices and in a fixed order of operations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

FINE = (0.6, 1.0, 1.6, 2.5)  #: widths of smoothing, standard deviations in pixels
COARSE = (2.0, 4.0)  #: widths of smoothing the halved window, in its pixels


def smooth(window: Tensor, sigma: float) -> Tensor:
    """A square window smoothed by a Gaussian cut at 4 sigma; its edges repeat."""
    matrix = _gaussian(window.shape[-1], sigma)
    return matrix @ window @ matrix.T


def halve(window: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of a square window of an even side."""
    side = window.shape[-1] // 2
    return window.reshape(side, 2, side, 2).mean(dim=(1, 3))


def double(window: Tensor) -> Tensor:
    """A halved window at twice its side, linear between the centres of its pixels."""
    return _doubled(_doubled(window).T).T


def local_mean(window: Tensor, side: int) -> Tensor:
    """Means over squares of an odd side around each pixel of a window; its edges repeat."""
    matrix = _box(window.shape[-1], side)
    return matrix @ window @ matrix.T


def _doubled(rows: Tensor) -> Tensor:
    before = torch.cat([rows[:1], rows[:-1]])
    after = torch.cat([rows[1:], rows[-1:]])
    both = torch.stack([0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after], dim=1)
    return both.reshape(2 * rows.shape[0], -1)


@lru_cache(maxsize=16)
def _gaussian(side: int, sigma: float) -> Tensor:
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _banded(side, weights / weights.sum())


@lru_cache(maxsize=4)
def _box(side: int, width: int) -> Tensor:
    return _banded(side, np.full(width, 1 / width))


def _banded(side: int, weights: np.ndarray) -> Tensor:
    matrix = np.zeros((side, side))
    rows = np.arange(side)
    for step, weight in enumerate(weights, -(len(weights) // 2)):
        np.add.at(matrix, (rows, np.clip(rows + step, 0, side - 1)), weight)
    return torch.from_numpy(matrix.astype(np.float32))
