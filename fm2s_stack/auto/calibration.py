"""Making up for what a trained network's results lack, as measured on the recording."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto import network
from fm2s_stack.auto.contrast import kept_contrast
from fm2s_stack.auto.heeding import measure_heed
from fm2s_stack.auto.lesson import Lesson
from fm2s_stack.auto.light import lost_light
from fm2s_stack.auto.numbers import packed
from fm2s_stack.auto.sharing import SideBySide, in_turn
from fm2s_stack.progress import Pulse, unheard

Float32 = NDArray[np.float32]


def calibrated(
    lesson: Lesson, weights: Float32, side_by_side: SideBySide = in_turn, pulse: Pulse = unheard
) -> Float32:
    """The numbers of a fit: parameters of a network, and how its results heed the planes.

    Parameters
    ----------
    lesson
        What the network was trained with.
    weights
        Its parameters, shape (parameter_count,).
    side_by_side
        How parts of the measurements are computed.
    pulse
        Called now and then; what it raises ends the measurement.

    Returns
    -------
    ndarray of float32, shape (fit_size,)
        As `fm2s_stack.auto.numbers.packed`.
    """
    kept = kept_contrast(lesson, weights, side_by_side, pulse)
    scaled = _changed(weights, lesson.channels, kept, 0.0)
    heed = measure_heed(lesson, scaled, pulse)
    light = lost_light(lesson, scaled, heed, side_by_side, pulse)
    whole = _changed(scaled, lesson.channels, 1.0, light.lost)
    return packed(whole, heed)


def _changed(weights: Float32, channels: int, kept: float, light: float) -> Float32:
    """Parameters of a network that keeps all where this one keeps a part, and adds light."""
    changed = weights.copy()
    shape = network.layer_shapes(channels)[-1]
    last = changed[-(math.prod(shape) + shape[0]) :]
    last /= np.float32(kept)
    last[-shape[0] :] += np.float32(light)
    return changed
