"""Weights of the estimates by local contrast: least squares on noisy targets, held together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.plane.estimates import COUNT, Estimates

Float = NDArray[np.float64]

KNOTS = (0.25, 0.5, 0.75, 0.9, 0.97)  #: parts of the pixels below each knot of the contrast
#: how strongly the weights of all knots are held to common ones; the last leaves only those
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 1e6)
TINY = 1e-6  #: of the mean power of the estimates, added so that equations can be solved


@dataclass
class Sums:
    """Normal equations of one part of the pixels: those of the error of any weights."""

    products: Float  #: of the weighted estimates, shape (unknowns, unknowns)
    target: Float  #: of the estimates and the target, shape (unknowns,)
    power: float = 0.0  #: of the target
    pixels: int = 0  #: that were counted

    @classmethod
    def empty(cls) -> Sums:
        """No pixels."""
        unknowns = len(KNOTS) * (COUNT - 1)
        return cls(np.zeros((unknowns, unknowns)), np.zeros(unknowns))

    def add(self, differences: Float, target: Float) -> None:
        """Count in pixels: differences of shape (unknowns, pixels), target less the centre."""
        self.products += differences @ differences.T
        self.target += differences @ target
        self.power += float(target @ target)
        self.pixels += len(target)

    def __add__(self, more: Sums) -> Sums:
        return Sums(
            self.products + more.products,
            self.target + more.target,
            self.power + more.power,
            self.pixels + more.pixels,
        )

    def error(self, weights: Float) -> float:
        """Sum of squares of what weights miss."""
        return float(self.power - 2 * weights @ self.target + weights @ self.products @ weights)

    def solved(self, strength: float) -> Float:
        """The weights of least error, shape (unknowns,)."""
        knots, each = len(KNOTS), COUNT - 1
        tied = np.tile(np.eye(each), (knots, 1))
        products = tied.T @ self.products @ tied
        ridge = max(TINY * np.trace(products) / each, TINY**2) * np.eye(each)
        common = np.linalg.solve(products + ridge, tied.T @ self.target)
        hold = np.kron(np.eye(knots), strength * products / knots + ridge)
        away = self.target - self.products @ (tied @ common)
        return np.asarray(tied @ common + np.linalg.solve(self.products + hold, away))


def best_weights(one: Sums, other: Sums) -> tuple[Float, float]:
    """Weights from both halves of the pixels, as free as each half holds good in the other.

    Returns
    -------
    tuple
        Weights for `Estimates.others`, shape (knots, COUNT - 1), and the mean square of what
        they miss of the targets.
    """

    def crossed(strength: float) -> float:
        return other.error(one.solved(strength)) + one.error(other.solved(strength))

    both = one + other
    weights = both.solved(min(STRENGTHS, key=crossed))
    return weights.reshape(len(KNOTS), COUNT - 1), both.error(weights) / max(both.pixels, 1)


def shares(contrast: Tensor, knots: Tensor) -> Tensor:
    """How much each knot counts at a contrast, linear between them, shape (knots, *contrast)."""
    width = (knots[1:] - knots[:-1]).clamp(min=1e-6).reshape(-1, *[1] * contrast.ndim)
    beyond = (contrast - knots[:-1].reshape(width.shape)).div(width).clamp(0, 1)
    ones = torch.ones_like(contrast)[None]
    return torch.cat([ones, beyond]) - torch.cat([beyond, torch.zeros_like(ones)])


def mixed(found: Estimates, knots: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of the estimates, shape (y, x)."""
    each = shares(found.contrast, knots)
    local = torch.einsum("kyx,ke->eyx", each, weights)
    return found.centre + (local * found.others).sum(0)
