"""The FM2S network, as one flat vector of parameters (arXiv 2412.10031, section 3).

Three convolutions, 5x5, 3x3 and 5x5, with 24 and 12 channels between them, zero padding
"same", and LeakyReLU of slope 1e-3 after the first two. In training it has `amplification`
input and output channels. At inference all input channels are equal and the outputs are
averaged, so the same function needs one channel at either end: `collapse`.

A flat vector keeps an optimizer step at one tensor instead of six, and is what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fm2s_stack.progress import Pulse, unheard

HIDDEN = (24, 12)
KERNELS = (5, 3, 5)
HALO = sum(k // 2 for k in KERNELS)  #: pixels to each side that an output pixel depends on
SLOPE = 1e-3


def layer_shapes(amplification: int) -> tuple[tuple[int, int, int, int], ...]:
    """Shapes (out, in, rows, columns) of the three kernels."""
    widths = (amplification, *HIDDEN, amplification)
    return tuple((widths[i + 1], widths[i], kernel, kernel) for i, kernel in enumerate(KERNELS))


def parameter_count(amplification: int) -> int:
    """Length of the flat vector: weights and biases of the three layers."""
    return sum(math.prod(shape) + shape[0] for shape in layer_shapes(amplification))


COLLAPSED = parameter_count(1)  #: 3,529 parameters


def initial_parameters(amplification: int, generator: torch.Generator) -> Tensor:
    """Fresh parameters, uniform within 1/sqrt(fan in), on the generator's device."""
    parts = []
    for shape in layer_shapes(amplification):
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        size = math.prod(shape) + shape[0]
        uniform = torch.rand(size, generator=generator, device=generator.device)
        parts.append((uniform * 2 - 1) * bound)
    return torch.cat(parts)


def layers(parameters: Tensor, amplification: int) -> list[tuple[Tensor, Tensor]]:
    """(kernel, bias) of each layer, as views of the flat vector."""
    found, start = [], 0
    for shape in layer_shapes(amplification):
        middle = start + math.prod(shape)
        stop = middle + shape[0]
        found.append((parameters[start:middle].view(shape), parameters[middle:stop]))
        start = stop
    return found


def forward(parameters: Tensor, planes: Tensor, pulse: Pulse = unheard) -> Tensor:
    """Run the network.

    Parameters
    ----------
    parameters
        Flat vector, shape (parameter_count(amplification),).
    planes
        Shape (n, amplification, y, x), float32.
    pulse
        Called after each layer, and after the layer's gradient where there is one; what it
        raises there comes out of ``backward``.

    Returns
    -------
    Tensor
        Shape of `planes`, not clamped.
    """
    return run_layers(layers(parameters, planes.shape[1]), planes, pulse)


def run_layers(
    stages: Sequence[tuple[Tensor, Tensor]], planes: Tensor, pulse: Pulse = unheard, groups: int = 1
) -> Tensor:
    """Run one network, or several side by side, each on channels of its own.

    Parameters
    ----------
    stages
        (kernel, bias) of each layer, of all networks one after another along the first axis.
    planes
        Shape (n, groups * amplification, y, x), float32.
    pulse
        As for `forward`.
    groups
        How many networks there are.
    """
    one, two, three = stages
    hidden = _convolve(planes, one, pulse, groups)  # (n, groups * 24, y, x)
    hidden = functional.leaky_relu_(hidden, SLOPE)
    hidden = _convolve(hidden, two, pulse, groups)  # (n, groups * 12, y, x)
    hidden = functional.leaky_relu_(hidden, SLOPE)
    return _convolve(hidden, three, pulse, groups)  # (n, groups * amplification, y, x)


def _convolve(planes: Tensor, layer: tuple[Tensor, Tensor], pulse: Pulse, groups: int) -> Tensor:
    kernel, bias = layer
    result = functional.conv2d(planes, kernel, bias, padding=kernel.shape[-1] // 2, groups=groups)
    pulse()
    if result.requires_grad:
        result.register_hook(_after_gradient(pulse))  # type: ignore[no-untyped-call]
    return result


def _after_gradient(pulse: Pulse) -> Callable[[Tensor], None]:
    def hook(gradient: Tensor) -> None:  # what a hook returns would replace the gradient
        pulse()

    return hook


def collapse(parameters: Tensor, amplification: int) -> Tensor:
    """Parameters of the 1->24->12->1 network that equals the amplified one at inference.

    The first kernel is summed over its input channels, the last averaged over its output
    channels. The results agree up to where the amplified outputs would have been clamped
    one by one before their mean.
    """
    (k1, b1), (k2, b2), (k3, b3) = layers(parameters, amplification)
    parts = (
        k1.sum(dim=1, keepdim=True),
        b1,
        k2,
        b2,
        k3.mean(dim=0, keepdim=True),
        b3.mean(dim=0, keepdim=True),
    )
    return torch.cat([part.reshape(-1) for part in parts])
