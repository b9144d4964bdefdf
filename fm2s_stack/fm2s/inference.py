"""A collapsed network as a device runs it fastest.

What is said about speed was measured on one core with AVX-512 (`scripts/bench.py`); the
arithmetic is the network's, summed in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fm2s_stack.fm2s import network
from fm2s_stack.settings import Precision

GROUP = 4  #: side of the squares of pixels that the last layer computes together
HALO = network.HALO

#: Makes the hidden values that lie beyond the plane zero; the second argument is how far the
#: layer reaches beyond the tile to each side, pixels.
Blank = Callable[[Tensor, int], None]


class Inference:
    """The network 1 -> 24 -> 12 -> 1, its kernels laid out for a device.

    Channels come last in memory everywhere: a library that vectorizes over channels then
    neither pads nor reorders them between layers. The last layer has one channel, which would
    leave 15 of 16 lanes idle. It computes squares of 4 x 4 pixels as 16 channels instead, with
    one 8 x 8 kernel each in which the 5 x 5 kernel lies where the pixel does: 768 products a
    pixel in place of 300, six times faster.

    Parameters
    ----------
    weights
        Collapsed parameters, shape (3529,).
    device
        ``cpu`` or ``cuda:N``.
    precision
        ``bf16`` rounds kernels and values between layers to bfloat16; sums stay in float32.
    """

    def __init__(self, weights: NDArray[np.float32], device: str, precision: Precision) -> None:
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        (k1, b1), (k2, b2), (k3, b3) = network.layers(torch.from_numpy(weights.copy()), 1)
        bias = b3.expand(GROUP * GROUP)
        layers = ((k1, b1), (k2, b2), (_grouped(k3), bias))
        self._one, self._two, self._three = (
            (self._placed(channels_last(kernel), device), self._placed(bias.contiguous(), device))
            for kernel, bias in layers
        )

    def _placed(self, tensor: Tensor, device: str) -> Tensor:
        return tensor.to(device, self.dtype)  # keeps strides

    def __call__(self, tiles: Tensor, blank: Blank) -> Tensor:
        """Run the network over tiles.

        Parameters
        ----------
        tiles
            Shape (n, 1, y + 10, x + 10), float32, y and x multiples of 4; zero beyond the plane.
        blank
            Zeroes what is beyond the plane in hidden layers, in place: the convolutions of the
            plane as a whole see zeros there, not values made of zeros.

        Returns
        -------
        Tensor
            Shape (n, y, x), float32, not clamped.
        """
        hidden = functional.conv2d(channels_last(tiles.to(self.dtype)), *self._one)
        hidden = functional.leaky_relu_(hidden, network.SLOPE)  # (n, 24, y + 6, x + 6)
        blank(hidden, 3)
        hidden = functional.conv2d(hidden, *self._two)
        hidden = functional.leaky_relu_(hidden, network.SLOPE)  # (n, 12, y + 4, x + 4)
        blank(hidden, 2)
        squares = functional.conv2d(hidden, *self._three, stride=GROUP)  # (n, 16, y / 4, x / 4)
        n, _, rows, columns = squares.shape
        split = squares.float().permute(0, 2, 3, 1).reshape(n, rows, columns, GROUP, GROUP)
        return split.permute(0, 1, 3, 2, 4).reshape(n, rows * GROUP, columns * GROUP)


def channels_last(tensor: Tensor) -> Tensor:
    """A tensor (n, c, y, x) with its channels last in memory.

    ``to(memory_format=...)`` leaves a tensor of one channel as it is, whose strides the
    libraries then read as channels first: https://github.com/pytorch/pytorch/issues/60502
    """
    _, channels, rows, columns = tensor.shape
    strides = (rows * columns * channels, 1, columns * channels, channels)
    if tensor.stride() == strides:
        return tensor
    if channels == 1 and tensor.is_contiguous():
        return tensor.as_strided(tensor.shape, strides)
    laid = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
    return laid.copy_(tensor)


@lru_cache(maxsize=64)
def _prepared(weights: bytes, device: str, precision: Precision) -> Inference:
    with torch.inference_mode():
        return Inference(np.frombuffer(weights, np.float32), device, precision)


def prepared(weights: NDArray[np.float32], device: str, precision: Precision) -> Inference:
    """The `Inference` of collapsed parameters, made once; several threads may share it."""
    return _prepared(weights.astype(np.float32, copy=False).tobytes(), device, precision)


def _grouped(kernel: Tensor) -> Tensor:
    """Kernels (16, c, 8, 8) of which number 4 i + j computes row i, column j of a square."""
    _, channels, side, _ = kernel.shape
    reach = side + GROUP - 1
    groups = torch.zeros(GROUP * GROUP, channels, reach, reach)
    for i in range(GROUP):
        for j in range(GROUP):
            groups[i * GROUP + j, :, i : i + side, j : j + side] = kernel[0]
    return groups
