"""The numbers of a fit: a network's parameters, and how its results heed the planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto import network

Float32 = NDArray[np.float32]


def fit_size(channels: int) -> int:
    """Numbers of the fit of a network with so many input channels."""
    return network.parameter_count(channels) + 1


def packed(weights: Float32, heed: float) -> Float32:
    """The numbers, shape (fit_size,); for `unpacked`."""
    return np.append(weights, np.float32(heed))


def unpacked(numbers: Float32) -> tuple[Float32, float]:
    """Parameters of the network, and how its results heed the planes, as `Components.heeded`."""
    return numbers[:-1], float(numbers[-1])
