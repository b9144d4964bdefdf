"""The parameters of networks that are trained together, laid out as a step wants them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fm2s_stack.fm2s import network
from fm2s_stack.progress import Pulse


class Group:
    """Networks side by side: one flat tensor of parameters, and one of their gradients.

    The kernels are leaves of their own that lie in the flat tensor: differentiating through
    slices of it would fill a vector of zeros for each. On the CPU they and the planes have
    their channels last, which takes a step from 4.7 to 3.3 ms (amplification 6, 64 x 64).

    Parameters
    ----------
    parameters
        Of each network, shape (networks, parameter_count), on the device. They are copied.
    amplification
        Channels of each network's input and output.
    """

    def __init__(self, parameters: Tensor, amplification: int) -> None:
        self.networks, self.amplification = len(parameters), amplification
        self.channels_last = parameters.device.type == "cpu"
        order = self._places().to(parameters.device)
        self._back = order.argsort()
        self.flat = parameters.reshape(-1)[order]
        self.gradient = torch.zeros_like(self.flat)
        self._leaves = [leaf.requires_grad_() for leaf in self._views(self.flat)]
        self._gradients = self._views(self.gradient)

    def parameters(self, flat: Tensor) -> Tensor:
        """What lies in flat tensors, shape (..., networks, parameter_count)."""
        return flat[..., self._back].view(*flat.shape[:-1], self.networks, -1)

    def forward(self, planes: Tensor, pulse: Pulse) -> Tensor:
        """Run each network on its channels, shape (1, networks * amplification, y, x)."""
        one, two, three = zip(self._leaves[::2], self._leaves[1::2], strict=True)
        return network.run_layers((one, two, three), planes, pulse, self.networks)

    def backward(self, outputs: Tensor, gradient: Tensor) -> None:
        """Put into `gradient` of the group what that of the outputs comes to."""
        # Not outputs.backward(): it would add to what is there, which had to be zeroed first.
        found = torch.autograd.grad(outputs, self._leaves, gradient)
        for place, part in zip(self._gradients, found, strict=True):
            place.copy_(part)

    def laid_out(self, planes: Tensor) -> Tensor:
        """Planes (n, channels, y, x) as the layers read them fastest."""
        if not self.channels_last:
            return planes.contiguous()
        _, channels, rows, columns = planes.shape
        # Of one channel torch takes either layout for the other and would copy nothing.
        strides = (channels * rows * columns, 1, columns * channels, channels)
        return planes.new_empty_strided(planes.shape, strides).copy_(planes)

    def _places(self) -> Tensor:
        """Where each element of the flat tensor is among the parameters of all networks."""
        numbers = torch.arange(self.networks * network.parameter_count(self.amplification))
        each = [network.layers(own, self.amplification) for own in numbers.view(self.networks, -1)]
        parts = []
        for layer in zip(*each, strict=True):
            kernels = torch.cat([kernel for kernel, _ in layer])
            parts.append(kernels.permute(0, 2, 3, 1) if self.channels_last else kernels)
            parts.append(torch.cat([bias for _, bias in layer]))
        return torch.cat([part.reshape(-1) for part in parts])

    def _views(self, flat: Tensor) -> list[Tensor]:
        """Kernel and bias of each layer in a flat tensor, of all networks together."""
        found, start = [], 0
        for outs, ins, rows, columns in network.layer_shapes(self.amplification):
            outs *= self.networks
            middle = start + math.prod((outs, ins, rows, columns))
            shape = (outs, rows, columns, ins) if self.channels_last else (outs, ins, rows, columns)
            kernel = flat[start:middle].view(shape)
            found.append(kernel.permute(0, 3, 1, 2) if self.channels_last else kernel)
            found.append(flat[middle : middle + outs])
            start = middle + outs
        return found
