"""What networks are shown: crops of their planes, with noise drawn upon them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fm2s_stack.fm2s import network, noise
from fm2s_stack.fm2s.training_planes import TrainingPlane, random_crop
from fm2s_stack.settings import FitSettings

#: Draws that are cut and noised together, for a GPU that they would not fill one by one. Pixels
#: depend on it: the first of the three noises of all these draws comes from the stream before
#: the second.
DRAWS_AT_A_TIME = 25


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of networks that are trained together."""

    inputs: Tensor  #: shape (n, networks * amplification, y, x)
    target: Tensor  #: shape (n, networks, y, x)
    weight: Tensor | None  #: 1 where pixels carry light, shape of `target`; None: everywhere

    def one(self, index: int) -> Draws:
        """One of the draws, n = 1."""
        place = slice(index, index + 1)
        weight = None if self.weight is None else self.weight[place]
        return Draws(self.inputs[place], self.target[place], weight)


class Drawer:
    """The planes of one network and its random streams, which nobody else's draws move.

    Parameters
    ----------
    planes
        What it is trained on, on the device.
    settings
        Preset and crop.
    seed
        Of both streams.
    device
        ``cpu`` or ``cuda:N``.
    """

    def __init__(
        self, planes: list[TrainingPlane], settings: FitSettings, seed: int, device: str
    ) -> None:
        self._planes, self._settings = planes, settings
        # Parameters and crops come from a stream on the CPU, whatever the device.
        self.host = torch.Generator().manual_seed(seed)
        self.stream = torch.Generator(device).manual_seed(seed)

    def initial_parameters(self) -> Tensor:
        """Fresh parameters, shape (parameter_count,), on the CPU; taken before any draw."""
        return network.initial_parameters(self._settings.published.amplification, self.host)

    def recorded(self) -> Draws:
        """A crop of the recording as it is, for stage one."""
        crop = random_crop(self._planes, self._settings.crop, self.host)
        repeated = crop.raw.expand(-1, self._settings.published.amplification, -1, -1)
        return Draws(repeated, crop.target, crop.weight)

    def noised(self, count: int) -> Draws:
        """Crops of the targets with noise drawn upon them, n = `count`."""
        crops = [random_crop(self._planes, self._settings.crop, self.host) for _ in range(count)]
        target = torch.cat([crop.target for crop in crops])
        level = torch.cat([crop.level for crop in crops])
        inputs = noise.draw(target, level, self._settings.published, self.stream)
        return Draws(inputs, target, _weights(crops))


def _weights(crops: list[TrainingPlane]) -> Tensor | None:
    if all(crop.weight is None for crop in crops):
        return None
    return torch.cat([_or_ones(crop.weight, crop.target) for crop in crops])


def beside(each: Sequence[Draws]) -> Draws:
    """Draws of several networks, one of each, as those of all together."""
    weight = None
    if any(draws.weight is not None for draws in each):
        weight = _joined(_or_ones(draws.weight, draws.target) for draws in each)
    return Draws(
        _joined(draws.inputs for draws in each), _joined(draws.target for draws in each), weight
    )


def _or_ones(weight: Tensor | None, target: Tensor) -> Tensor:
    return torch.ones_like(target) if weight is None else weight


def _joined(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(tuple(parts), dim=1)
