"""The network of ``-c auto``: its layers, and its parameters in one flat array.

It works at half resolution on four pixels at a time (as Zhang et al., "FFDNet", IEEE TIP 27,
2018, arXiv 1710.04026), which gives four layers of 3x3 a field of 18 x 18 pixels at a quarter
of the cost. It adds to the background what it makes of a plane and its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Kernels = Sequence[tuple[Tensor, Tensor]]  #: and biases, of each layer

SQUARE = 2  #: pixels of a side that are computed together
WIDTH = 32  #: channels of a hidden layer
HIDDEN = 3  #: hidden layers
SIDE = 3  #: of a kernel, at half resolution
HALO = SQUARE * (HIDDEN + 1) * (SIDE // 2)  #: pixels on each side of a square that it depends on
SLOPE = 0.01  #: of the rectifier below 0


def layer_shapes(channels: int) -> list[tuple[int, int, int, int]]:
    """Kernel shapes (out, in, y, x) of a network with so many input channels."""
    widths = [channels * SQUARE**2, *[WIDTH] * HIDDEN, SQUARE**2]
    return [(out, of, SIDE, SIDE) for of, out in pairwise(widths)]


def parameter_count(channels: int) -> int:
    """Parameters of a network with so many input channels."""
    return sum(math.prod(shape) + shape[0] for shape in layer_shapes(channels))


def initial_parameters(channels: int, stream: torch.Generator) -> Tensor:
    """Fresh parameters, shape (parameter_count,): such that the network first adds nothing.

    Hidden layers keep the variance of what they get (He et al. 2015, arXiv 1502.01852).
    """
    parts = []
    shapes = layer_shapes(channels)
    for number, shape in enumerate(shapes):
        deviation = 0.0 if number == len(shapes) - 1 else math.sqrt(2 / math.prod(shape[1:]))
        kernel = torch.randn(shape, generator=stream) * deviation
        parts += [kernel.reshape(-1), torch.zeros(shape[0])]
    return torch.cat(parts)


def layers(flat: Tensor, channels: int) -> list[tuple[Tensor, Tensor]]:
    """Kernel and bias of each layer: views of the flat parameters."""
    found, start = [], 0
    for shape in layer_shapes(channels):
        middle = start + math.prod(shape)
        found.append((flat[start:middle].view(shape), flat[middle : middle + shape[0]]))
        start = middle + shape[0]
    return found


def run(kernels: Kernels, planes: Tensor) -> Tensor:
    """What the network makes of its channels.

    Parameters
    ----------
    kernels
        From `layers`.
    planes
        Shape (n, channels, y + 2 HALO, x + 2 HALO), y and x even.

    Returns
    -------
    Tensor, shape (n, y, x)
    """
    hidden = functional.pixel_unshuffle(planes, SQUARE)
    hidden = hidden.contiguous(memory_format=torch.channels_last)
    for kernel, bias in kernels[:-1]:
        hidden = functional.leaky_relu(functional.conv2d(hidden, kernel, bias), SLOPE, inplace=True)
    return functional.pixel_shuffle(functional.conv2d(hidden, *kernels[-1]), SQUARE)[:, 0]


def made(kernels: Kernels, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network makes of the channels of one plane, shape (y, x); as `run`."""
    with torch.no_grad():
        return np.asarray(run(kernels, torch.from_numpy(channels)[None])[0].numpy())
