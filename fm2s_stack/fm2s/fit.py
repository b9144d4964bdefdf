"""Training one network on the recording itself (arXiv 2412.10031, algorithm 1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from fm2s_stack.fm2s import network, noise
from fm2s_stack.settings import STEPS_PER_DRAW, FitSettings, Preset

LEARNING_RATE = 1e-3
AVERAGED_DRAWS = 100  #: last draws whose weights are averaged, a quarter of all at most
LOSS_DRAWS = 50  #: last draws whose loss is reported

EachDraw = Callable[[int, int], None]  #: draws done, draws in all


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network."""

    weights: NDArray[np.float32]  #: collapsed parameters, shape (3529,)
    loss: float  #: mean squared error over the last draws, on the scale of 0 to 1


@dataclass(frozen=True, eq=False)
class TrainingPlane:
    """One plane as the trainer needs it, all of shape (1, 1, y, x)."""

    raw: Tensor  #: the recording on the unit scale
    target: Tensor  #: its median
    level: Tensor  #: mean of the target in each patch
    weight: Tensor | None  #: 1 where pixels carry light; None: everywhere


def fit_network(
    planes: NDArray[np.float32],
    settings: FitSettings,
    seed: int,
    *,
    valid: NDArray[np.bool_] | None = None,
    device: str = "cpu",
    progress: EachDraw | None = None,
) -> Fitted:
    """Train a network on planes of one recording.

    Parameters
    ----------
    planes
        Shape (n, y, x), on the unit scale, finite.
    settings
        Preset, crop, and number of draws.
    seed
        Of the random stream, from `stream_seed`.
    valid
        Which pixels take part, shape of `planes`; None: all.
    device
        Where to train: ``cpu`` or ``cuda:N``. On the CPU one thread is used, because the
        number of threads changes the result.
    progress
        Told after each draw.
    """
    with one_thread():
        training = [
            prepare_plane(plane, settings.preset, device, None if valid is None else valid[i])
            for i, plane in enumerate(planes)
        ]
        return _train(training, settings, seed, device, progress)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread in this thread: two change 90 % of 16-bit pixels of a fit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_plane(
    plane: NDArray[np.float32], preset: Preset, device: str, valid: NDArray[np.bool_] | None
) -> TrainingPlane:
    """The plane with its median target and patch levels, on the device."""
    median = ndimage.median_filter(plane, size=preset.filter, mode="reflect")
    target = torch.from_numpy(np.ascontiguousarray(median))
    level = noise.patch_level(target, preset.stride)
    weight = None if valid is None or valid.all() else torch.from_numpy(valid).float()
    raw, target, level = (
        part[None, None].to(device) for part in (torch.from_numpy(plane), target, level)
    )
    return TrainingPlane(
        raw, target, level, None if weight is None else weight[None, None].to(device)
    )


def _train(
    training: list[TrainingPlane],
    settings: FitSettings,
    seed: int,
    device: str,
    progress: EachDraw | None,
) -> Fitted:
    preset = settings.preset
    # Parameters and crops come from a stream on the CPU, whatever the device.
    host = torch.Generator().manual_seed(seed)
    stream = torch.Generator(device).manual_seed(seed)
    start = network.initial_parameters(preset.amplification, host).to(device)
    averaged = min(AVERAGED_DRAWS, settings.draws // 4) if settings.crop is not None else 1
    trainer = _Trainer(start, max(averaged, 1))
    first = _crop(training, settings.crop, host)
    trainer.learn(first.raw.expand(-1, preset.amplification, -1, -1), first)
    trainer.restart()
    losses = []
    for done in range(settings.draws):
        crop = _crop(training, settings.crop, host)
        noisy = noise.draw(crop.target, crop.level, preset, stream)
        loss = trainer.learn(noisy, crop)
        if done >= settings.draws - LOSS_DRAWS:
            losses.append(loss)
        if progress is not None:
            progress(done + 1, settings.draws)
    weights = network.collapse(trainer.result(), preset.amplification)
    mean = float(torch.stack(losses).mean()) if losses else float("nan")
    return Fitted(weights.cpu().numpy(), mean)


def _crop(training: list[TrainingPlane], side: int | None, host: torch.Generator) -> TrainingPlane:
    """A random plane, cut to a random square."""
    chosen = training[_randint(len(training), host)]
    if side is None:
        return chosen
    rows, columns = chosen.raw.shape[-2:]
    y = _randint(max(rows - side, 0) + 1, host)
    x = _randint(max(columns - side, 0) + 1, host)
    window = (..., slice(y, y + side), slice(x, x + side))
    weight = None if chosen.weight is None else chosen.weight[window]
    return TrainingPlane(chosen.raw[window], chosen.target[window], chosen.level[window], weight)


def _randint(stop: int, host: torch.Generator) -> int:
    return int(torch.randint(stop, (), generator=host))


class _Trainer:
    """Adam on the flat parameters, and the average of those after the last draws.

    A rare bright crop throws the network off for tens of draws. The mean of the weights
    follows it (one confocal image of data/: plain PSNR from 28.5 to 36.8 dB over three
    seeds); their median, parameter by parameter, does not (36.7 to 37.4).
    """

    def __init__(self, start: Tensor, averaged: int) -> None:
        self._parameters = start.requires_grad_()
        self._last: deque[Tensor] = deque(maxlen=averaged)
        self.restart()

    def restart(self) -> None:
        """Forget the moments, as between the two stages.

        The large first gradients would hold back the second stage for a thousand steps: on
        the two-photon cut-out that costs 0.6 dB against the published program.
        """
        self._adam = torch.optim.Adam([self._parameters], lr=LEARNING_RATE)

    def learn(self, inputs: Tensor, plane: TrainingPlane) -> Tensor:
        """Five steps from the inputs to the plane's target; the last loss."""
        for _ in range(STEPS_PER_DRAW):
            self._adam.zero_grad()
            loss = _mean_square(network.forward(self._parameters, inputs), plane)
            loss.backward()  # type: ignore[no-untyped-call]
            self._adam.step()
        self._last.append(self._parameters.detach().clone())
        return loss.detach()

    def result(self) -> Tensor:
        """The median over the last draws, parameter by parameter."""
        return torch.stack(tuple(self._last)).median(dim=0).values


def _mean_square(outputs: Tensor, plane: TrainingPlane) -> Tensor:
    squares = (outputs - plane.target).square()
    if plane.weight is None:
        return squares.mean()
    pixels = plane.weight.sum().clamp(min=1) * outputs.shape[1]
    return (squares * plane.weight).sum() / pixels
