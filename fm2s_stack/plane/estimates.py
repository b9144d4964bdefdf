"""All estimates of a window that are mixed, and what tells where which is good."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fm2s_stack.plane.blocks import Blocks
from fm2s_stack.plane.line import VarianceLine
from fm2s_stack.plane.scales import COARSE, FINE, double, halve, local_mean, smooth

REACH = 48  #: pixels around that an estimate depends on at most
MARGIN = 24  #: pixels around that those of the fine scale depend on at most
AROUND = 5  #: side of the squares that contrast is averaged over, pixels
COUNT = 5 + len(FINE) + len(COARSE)  #: estimates, the one that others are compared to included


class Estimates(NamedTuple):
    """Estimates of one window."""

    centre: Tensor  #: the one that others are compared to, shape (y, x)
    others: Tensor  #: differences of the others from it, shape (COUNT - 1, y, x)
    contrast: Tensor  #: logarithm of the local contrast over the noise, shape (y, x)


def estimates(window: Tensor, line: VarianceLine, fine: Blocks, coarse: Blocks) -> Estimates:
    """Estimates of a square window, without its outer ``REACH - MARGIN`` pixels.

    Parameters
    ----------
    window
        Noisy grey levels, float32, shape (side, side), an even side. The
        outer `MARGIN` pixels of what is returned are wrong.
    line
        Variance of its noise by level.
    fine, coarse
        Blocks of the window and of the halved window.
    """
    half = halve(window)
    smoothed = [smooth(window, sigma) for sigma in FINE]
    broad = [double(smooth(half, sigma)) for sigma in COARSE]
    both = coarse.estimates(half, halve(smoothed[-1]), line)
    inner = slice(REACH - MARGIN, MARGIN - REACH)
    noisy, *smoothed = (field[inner, inner].contiguous() for field in (window, *smoothed, *broad))
    level = smoothed[len(FINE) - 1]
    large, wiener = fine.estimates(noisy, level, line)
    inner = slice((REACH - MARGIN) // 2, (MARGIN - REACH) // 2)
    large2, wiener2 = (
        _exchanged(one, below[inner, inner])
        for one, below in zip((large, wiener), both, strict=True)
    )
    others = torch.stack([noisy, *smoothed, large, large2, wiener2]) - wiener
    return Estimates(wiener, others, _contrast((wiener + wiener2) / 2, level, line))


def _exchanged(fine: Tensor, coarse: Tensor) -> Tensor:
    """The fine estimate with its means of 2 x 2 pixels taken from the coarse one.

    After Facciolo, Pierazzo, Morel, "Conservative scale recomposition", SIAM J. Imaging
    Sciences 10, 2017.
    """
    return fine + double(coarse - halve(fine))


def _contrast(estimate: Tensor, level: Tensor, line: VarianceLine) -> Tensor:
    variance = local_mean(estimate, AROUND) * line.gain + line.intercept
    power = local_mean((estimate - level) ** 2, AROUND)
    return torch.log(power / variance.clamp(min=line.floor) + 1e-6)
