"""Crops of a recording with noise added to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.auto.lesson import Lesson
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.sites import Made, draw_site

FLIPS = ((), (-1,), (-2,), (-1, -2))


@dataclass(frozen=True, eq=False)
class Crop:
    """An input and what it shall become."""

    inputs: Tensor  #: channels of the window, recorrupted, shape (channels, y, x) with the halo
    target: Tensor  #: the plane, recorrupted the other way, shape (y, x)
    near: Tensor  #: mean of the planes beside it, which have other noise, shape (y, x)


def draw_crop(
    lesson: Lesson,
    recorruption: Recorruption,
    random: np.random.Generator,
    strength: float = 1.0,
    made: Made | None = None,
) -> Crop:
    """A crop at a random place, recorrupted.

    Parameters
    ----------
    lesson
        What to take it from.
    recorruption
        The noise to add.
    random
        Where random numbers come from.
    strength
        What the added noise is multiplied with in the input, and divided by in the target: their
        errors are independent whatever it is (Pang et al. 2021, eq. 5).
    made
        What tells the level by which noise is drawn: a trained network. None: the neighbours.
    """
    site = draw_site(lesson, random)
    expected = site.expected if made is None else site.with_made(site.expected, made)
    level = site.scale.levels(expected).astype(np.float32)
    noise = recorruption.draw(level, random) / site.scale.deviation
    inputs = site.shown(site.deviations[0] + noise * np.float32(strength))
    target = site.own(site.deviations[0] - noise / np.float32(strength))
    flip = FLIPS[random.integers(len(FLIPS))]
    return Crop(*(_flipped(pixels, flip) for pixels in (inputs, target, site.own(site.near))))


def _flipped(pixels: NDArray[np.float32], axes: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.flip(pixels, axes)))
