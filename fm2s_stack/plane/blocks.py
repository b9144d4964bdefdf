"""Overlapping blocks of a window: their cosine transform shrunken, and put back together.

Two steps on the scale of the grey levels, with the variance of the noise from the block's own
level: coefficients below a threshold are dropped (Yaroslavsky, Egiazarian, Astola, Proc. SPIE
4304, 2001), then the result tells the power of the signal for a Wiener filter (Ghael, Sayeed,
Baraniuk, Proc. SPIE 3169, 1997). Stabilising the variance instead fails below about three
photons a pixel: the level of a block follows from its mean, that of a pixel does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fm2s_stack.plane.line import BLOCK, Lags, VarianceLine, coefficient_variances, cosines

THRESHOLD = 2.7  #: standard deviations of a coefficient's noise
STRIP = 4096  #: blocks transformed at once, so that they stay in the cache

#: of the coefficients of blocks (blocks, BLOCK**2) and those of the pilot, which part is kept
Keep = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Blocks:
    """Blocks every `stride` pixels of a window and the noise of their coefficients."""

    stride: int  #: pixels from block to block: 1, 2 or 4
    variances: Tensor  #: of each coefficient, in variances of a pixel, shape (BLOCK**2,)
    basis: Tensor  #: the transform, shape (BLOCK**2, BLOCK**2)

    def estimates(self, window: Tensor, level: Tensor, line: VarianceLine) -> tuple[Tensor, Tensor]:
        """The window after the threshold and after the Wiener filter.

        Parameters
        ----------
        window
            Noisy grey levels, float32, shape (y, x).
        level
            A smooth estimate of it, which tells the variance of the noise.
        line
            Variance of the noise by level.
        """

        def large(noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor]:
            variance = self._variance(pilot, line)
            kept = (noisy * noisy > THRESHOLD**2 * variance * self.variances).float()
            kept[:, 0] = 1
            return kept, 1 / (variance[:, 0] * (kept @ self.variances))

        def wiener(noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor]:
            variance = self._variance(pilot, line)
            power = pilot * pilot
            kept = power / (power + variance * self.variances)
            kept[:, 0] = 1
            return kept, 1 / (variance[:, 0] * ((kept * kept) @ self.variances))

        # With blocks every other pixel the result is as good where the pilot has a quarter of them.
        rough = self if self.stride == 1 else replace(self, stride=4)
        first = rough._kept(window, level, large)
        return first, self._kept(window, first, wiener)

    def _variance(self, pilot: Tensor, line: VarianceLine) -> Tensor:
        return (pilot[:, :1] * (line.gain / BLOCK) + line.intercept).clamp(min=line.floor)

    def _kept(self, window: Tensor, pilot: Tensor, keep: Keep) -> Tensor:
        """The blocks with a part of their coefficients, averaged by the precision of each."""
        total, precisions = torch.zeros_like(window), []
        for rows, noisy, guide in self._strips(window, pilot):
            coefficients = noisy.reshape(-1, BLOCK**2) @ self.basis.T
            kept, precision = keep(coefficients, guide.reshape(-1, BLOCK**2) @ self.basis.T)
            values = kept.mul_(coefficients).mul_(precision[:, None]) @ self.basis
            self._add(total[rows], values.reshape(noisy.shape))
            precisions.append(precision.reshape(noisy.shape[:2]))
        return total.div_(self._spread(torch.cat(precisions)))

    def _spread(self, precision: Tensor) -> Tensor:
        """Sum of the precisions of the blocks that each pixel lies in."""
        for _ in range(2):
            across = precision.new_zeros(
                precision.shape[1] + BLOCK // self.stride - 1, len(precision)
            )
            for step in range(BLOCK // self.stride):
                across[step : step + precision.shape[1]] += precision.T
            precision = across
        return precision.repeat_interleave(self.stride, 0).repeat_interleave(self.stride, 1)

    def _strips(self, window: Tensor, pilot: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows of the window, and the blocks of both in them, shape (down, across, y, x)."""
        one, other = self._views(window), self._views(pilot)
        many = max(1, STRIP // one.shape[1])
        for start in range(0, one.shape[0], many):
            end = min(start + many, one.shape[0])
            rows = slice(start * self.stride, (end - 1) * self.stride + BLOCK)
            yield rows, one[start:end], other[start:end]

    def _views(self, window: Tensor) -> Tensor:
        return window.unfold(0, BLOCK, self.stride).unfold(1, BLOCK, self.stride)

    def _add(self, to: Tensor, blocks: Tensor) -> None:
        """Add blocks to where they lie, in steps of `stride` pixels that do not overlap."""
        down, across = blocks.shape[:2]
        step = self.stride
        for row in range(0, BLOCK, step):
            for column in range(0, BLOCK, step):
                part = blocks[:, :, row : row + step, column : column + step]
                place = to[row : row + down * step, column : column + across * step]
                place.unfold(0, step, step).unfold(1, step, step).add_(part)


def blocks_of(lags: Lags, stride: int) -> Blocks:
    """Blocks for noise of an autocovariance, in variances of a pixel."""
    variances = torch.from_numpy(coefficient_variances(lags).astype(np.float32))
    return Blocks(stride, variances, torch.from_numpy(cosines().astype(np.float32)))
