"""How much of a recording's changes a network keeps, measured on the recording.

A network that makes the least square error makes changes smaller where noise hides them, weak ones
more than strong ones; it is the strong ones whose size is made right. With two versions of a plane
whose errors are independent (`fm2s_stack.auto.recorrupt`), what it keeps is the covariance of its
result on the one with the other, over that of the two. The added noise must be as strong as the
recording's own is there, or their errors are not: what the network makes tells how bright it is.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fm2s_stack.auto import network
from fm2s_stack.auto.crops import Crop, draw_crop
from fm2s_stack.auto.lesson import Lesson, stream_of
from fm2s_stack.auto.level import square_deviation
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.sharing import SideBySide, in_turn
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.progress import Pulse, unheard

Float = NDArray[np.float64]

CROPS = 384  #: that it is measured on
STRENGTH = 0.5  #: of the added noise: the network sees little more than it will have to do with
SIDE = 8  #: of the squares whose means are compared, pixels: about a cell
PARTS = 16  #: groups of crops, by whose scatter the error is known
FIRST_STREAM = 100  #: of the random streams: far from those of the training
LEAST = 0.8  #: part that is kept: making up for more would make noise grow too much
LIVELY = 5.0  #: deviations of the noise above the background where something happens
SEEN = 5.0  #: errors by which changes must exceed none at all
SURE = 0.04  #: error of the part, beyond which it is not corrected


def kept_contrast(
    lesson: Lesson,
    weights: NDArray[np.float32],
    side_by_side: SideBySide = in_turn,
    pulse: Pulse = unheard,
) -> float:
    """The part of strong changes that a network keeps, measured on the recording.

    Parameters
    ----------
    lesson
        What the network was trained with.
    weights
        Its parameters.
    side_by_side
        How groups of crops are computed.
    pulse
        Called before each; what it raises ends the measurement.

    Returns
    -------
    float
        `LEAST` to 1; 1 where it cannot be known well enough, as in a recording in which nothing
        changes.
    """
    kernels = network.layers(torch.from_numpy(weights), lesson.channels)
    recorruption, threshold = Recorruption(lesson.noise, lesson.skewness), _threshold(lesson)
    made_of = partial(network.made, kernels)

    def sums_of(part: int) -> torch.Tensor:
        pulse()
        stream = stream_of(lesson, FIRST_STREAM + part)
        with one_thread():
            crops = [
                draw_crop(lesson, recorruption, stream, STRENGTH, made_of)
                for _ in range(CROPS // PARTS)
            ]
            return torch.tensor(_products(kernels, crops, threshold))

    return _part(*torch.stack(side_by_side(sums_of, PARTS)).numpy().T)


def _part(made: Float, there: Float) -> float:
    """The ratio of two sums; 1 where it is not known well enough."""
    if there.sum() <= SEEN * there.std() * math.sqrt(len(there)):
        return 1.0
    kept = float(made.sum() / there.sum())
    # From how the parts depart from it.
    error = float(np.sqrt(((made - kept * there) ** 2).sum()) / there.sum())
    return float(np.clip(kept, LEAST, 1.0)) if error < SURE else 1.0


def _products(kernels: network.Kernels, crops: list[Crop], threshold: float) -> tuple[float, float]:
    """Products of results, and of their inputs, with the other versions of lively squares."""
    inputs = torch.stack([crop.inputs for crop in crops])
    with torch.no_grad():
        made = network.run(kernels, inputs)
    inner = slice(network.HALO, -network.HALO)
    other = _means(torch.stack([crop.target for crop in crops]))
    lively = _means(torch.stack([crop.near for crop in crops])) > threshold
    result, own = _means(made) * lively, _means(inputs[:, 0, inner, inner]) * lively
    return float(np.vdot(result, other)), float(np.vdot(own, other))


def _threshold(lesson: Lesson) -> float:
    """Mean of a square of the neighbours above which something happens there."""
    # Neighbours tell it: their noise is their own.
    count = lesson.reach.looked_at.count - 1
    return LIVELY * square_deviation(lesson.noise, SIDE) / math.sqrt(count)


def _means(planes: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(functional.avg_pool2d(planes[:, None], SIDE).numpy(), dtype=np.float64)
