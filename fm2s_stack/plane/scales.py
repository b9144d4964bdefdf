"""Smoothing and halving of square windows, in a fixed order of operations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FINE = (0.6, 1.0, 1.6, 2.5)  #: widths of smoothing, standard deviations in pixels
COARSE = (2.0, 4.0)  #: widths of smoothing the halved window, in its pixels


def smooth(window: Tensor, sigma: float) -> Tensor:
    """A window smoothed by a Gaussian cut at 4 sigma; its edges repeat."""
    return _along_both(window, gaussian(sigma))


def halve(window: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of a square window of an even side."""
    side = window.shape[-1] // 2
    return window.reshape(side, 2, side, 2).mean(dim=(1, 3))


def double(window: Tensor) -> Tensor:
    """A halved window at twice its side, linear between the centres of its pixels."""
    return _doubled(_doubled(window).T).T.contiguous()


def local_mean(window: Tensor, side: int) -> Tensor:
    """Means over squares of an odd side around each pixel of a window; its edges repeat."""
    return _along_both(window, (1 / side,) * (side // 2 + 1))


@lru_cache(maxsize=16)
def gaussian(sigma: float) -> tuple[float, ...]:
    """Weights of a Gaussian from its centre outwards, both sides together summing to 1."""
    half = np.exp(-0.5 * (np.arange(int(4 * sigma + 0.5) + 1) / sigma) ** 2)
    return tuple(float(weight) for weight in half / (2 * half.sum() - half[0]))


def _along_both(window: Tensor, half: tuple[float, ...]) -> Tensor:
    down = _along_rows(window, half)
    return _along_rows(down.T.contiguous(), half).T.contiguous()


def _along_rows(window: Tensor, half: tuple[float, ...]) -> Tensor:
    """Weighted sums over rows above and below; shifted rows are added, which are contiguous."""
    reach, rows = len(half) - 1, window.shape[0]
    padded = functional.pad(window[None, None], (0, 0, reach, reach), mode="replicate")[0, 0]
    total = window * half[0]
    for step, weight in enumerate(half[1:], 1):
        for start in (reach - step, reach + step):
            total.add_(padded[start : start + rows], alpha=weight)
    return total


def _doubled(rows: Tensor) -> Tensor:
    before = torch.cat([rows[:1], rows[:-1]])
    after = torch.cat([rows[1:], rows[-1:]])
    both = torch.stack([0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after], dim=1)
    return both.reshape(2 * rows.shape[0], -1)
