"""Training a network on a recording itself, by adding noise to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor
from torch.nn import functional

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.channels import Scale, channel_count, channels_of
from fm2s_stack.auto.cut import cut
from fm2s_stack.auto.reach import Bounds, Reach
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.progress import Pulse, unheard

SHARES = 4  #: parts of a step whose gradients are computed side by side and added in order
CROPS = 3  #: of each part
LEARNING_RATE = 4e-3  #: at its highest
DECAYS = (0.9, 0.98)  #: of Adam's means
WARM_UP = 50  #: steps in which the learning rate rises
LAST_RATE = 0.01  #: part of the learning rate at the end
TURNED = 0.25  #: part of the crops whose windows are cut short, as those of first and last planes
FLIPS = ((), (-1,), (-2,), (-1, -2))


class SideBySide(Protocol):
    """Calls a function with 0 to n - 1, in threads or one after the other."""

    def __call__(self, compute: Callable[[int], Tensor], count: int, /) -> list[Tensor]:
        """What the function returned, in order."""


def in_turn(compute: Callable[[int], Tensor], count: int) -> list[Tensor]:
    """One call after the other."""
    return [compute(i) for i in range(count)]


@dataclass(frozen=True, eq=False)
class Run:
    """Consecutive planes of a recording that a network is trained on."""

    place: Place  #: of the first one
    planes: NDArray[np.generic]  #: grey levels, shape (n, y, x)

    def place_of(self, number: int) -> Place:
        """Where one of them is."""
        return replace(self.place, position=self.place.position + number)


@dataclass(frozen=True, eq=False)
class Lesson:
    """All that a network is trained with."""

    runs: tuple[Run, ...]  #: planes of the recording
    background: Background  #: of it
    noise: NoiseModel  #: of it
    skewness: Skewness  #: of its noise
    reach: Reach  #: planes of a window
    crop: int  #: side of the training crops, pixels, even
    steps: int  #: of Adam
    seed: int  #: of every random stream


class Trainer:
    """Trains one network. The number of threads never shows in a bit.

    Parameters
    ----------
    lesson
        What to train on.
    device
        ``cpu`` or ``cuda:N``.
    """

    def __init__(self, lesson: Lesson, device: str = "cpu") -> None:
        self._lesson, self._device = lesson, device
        channels = channel_count(lesson.reach.count)
        start = torch.Generator().manual_seed(lesson.seed)
        self.parameters = network.initial_parameters(channels, start).to(device)
        self._adam = torch.optim.Adam([self.parameters], lr=LEARNING_RATE, betas=DECAYS)
        self._recorruption = Recorruption(lesson.noise, lesson.skewness)
        self._streams = [_Stream(lesson.seed, share) for share in range(SHARES)]
        self._losses = np.zeros(SHARES)
        self.loss = math.nan  #: mean square error of the last steps, in units of the noise

    def run(
        self,
        side_by_side: SideBySide = in_turn,
        progress: Callable[[int], None] | None = None,
        pulse: Pulse = unheard,
    ) -> None:
        """Make all steps; `progress` is told after each how many are done."""
        for step in range(self._lesson.steps):
            pulse()
            self._set_rate(step)
            gradients = side_by_side(self._gradient, SHARES)
            self.parameters.grad = sum(gradients[1:], gradients[0]) / SHARES
            self._adam.step()
            self._follow_loss(step)
            if progress is not None:
                progress(step + 1)

    def _set_rate(self, step: int) -> None:
        rise = min(1.0, (step + 1) / WARM_UP)
        fall = 0.5 * (1 + math.cos(math.pi * step / self._lesson.steps)) + LAST_RATE
        self._adam.param_groups[0]["lr"] = LEARNING_RATE * rise * fall

    def _follow_loss(self, step: int) -> None:
        now = float(self._losses.mean())
        self.loss = now if step == 0 else 0.98 * self.loss + 0.02 * now

    def _gradient(self, share: int) -> Tensor:
        """Gradient of one share of a step, shape of the parameters."""
        stream, lesson = self._streams[share], self._lesson
        crops = [_crop(lesson, self._recorruption, stream) for _ in range(CROPS)]
        inputs = torch.stack([crop.inputs for crop in crops]).to(self._device)
        targets = torch.stack([crop.target for crop in crops]).to(self._device)
        leaf = self.parameters.detach().requires_grad_()
        kernels = network.layers(leaf, inputs.shape[1])
        loss = functional.mse_loss(network.run(kernels, inputs), targets)
        (gradient,) = torch.autograd.grad(loss, leaf)
        self._losses[share] = loss.detach().item()
        return gradient


class _Stream:
    """Random numbers of one share."""

    def __init__(self, seed: int, share: int) -> None:
        self.places = np.random.default_rng((seed, share))
        self.noise = torch.Generator().manual_seed((seed + 1 + share) % 2**63)


@dataclass(frozen=True, eq=False)
class _Crop:
    inputs: Tensor  #: channels of the window, recorrupted, shape (channels, y, x) with the halo
    target: Tensor  #: the plane, recorrupted the other way, shape (y, x)


def _crop(lesson: Lesson, recorruption: Recorruption, stream: _Stream) -> _Crop:
    random = stream.places
    run = lesson.runs[random.integers(len(lesson.runs))]
    at = int(random.integers(len(run.planes)))
    segment = _segment(lesson.reach, len(run.planes), at, random)
    window = lesson.reach.window(at, segment)
    y, x = (
        cut(_place(size, lesson.crop, random), size, network.HALO, network.SQUARE)
        for size in run.planes.shape[1:]
    )
    read = run.planes[list(window.planes), y.read, x.read]
    scale = Scale.of(lesson.background.at(run.place_of(at), y.read, x.read), lesson.noise)
    noise = recorruption.draw(_level(read), stream.noise) / scale.deviation
    deviations = scale.deviations(read)
    target = deviations[0] - noise
    deviations[0] += noise
    mirrored = np.ix_(y.order, x.order)
    inputs = channels_of(deviations, scale, window.missing)[:, mirrored[0], mirrored[1]]
    flips = FLIPS[random.integers(len(FLIPS))]
    inner = slice(network.HALO, -network.HALO)
    wanted = torch.from_numpy(target[mirrored][inner, inner])
    return _Crop(torch.flip(inputs, flips), torch.flip(wanted, flips))


def _level(read: NDArray[np.generic]) -> NDArray[np.float32]:
    """What grey level the first of the planes is expected to have, shape (y, x)."""
    # Of its neighbours where there are some: its own noise must not tell how much is added.
    others = read[1:] if len(read) > 1 else read
    return np.asarray(uniform_filter(others.mean(axis=0, dtype=np.float32), 3))


def _segment(reach: Reach, planes: int, at: int, random: np.random.Generator) -> Bounds:
    """The run as it is, or cut short beside the plane, as for first and last planes."""
    if random.random() >= TURNED or planes <= reach.count:
        return 0, planes
    kept = int(random.integers(max(reach.before, reach.after, 1)))
    if reach.after and random.random() < 0.5:
        return 0, min(max(at + 1 + kept, reach.count), planes)
    return max(min(at - kept, planes - reach.count), 0), planes


def _place(length: int, crop: int, random: np.random.Generator) -> Bounds:
    """A run of `crop` pixels, or of all, at an even place."""
    size = min(crop, length)
    start = int(random.integers((length - size) // network.SQUARE + 1)) * network.SQUARE
    return start, start + size


def train(
    lesson: Lesson,
    device: str = "cpu",
    *,
    side_by_side: SideBySide = in_turn,
    progress: Callable[[int], None] | None = None,
    pulse: Pulse = unheard,
) -> tuple[NDArray[np.float32], float]:
    """Train a network.

    Parameters
    ----------
    lesson
        What to train on; every plane finite.
    device
        ``cpu`` or ``cuda:N``.
    side_by_side
        How the parts of a step are computed.
    progress
        Told after each step how many are done.
    pulse
        Called before each step; what it raises ends the training.

    Returns
    -------
    weights, loss
        Shape (parameter_count,); mean square error of the last steps, in units of the noise.
    """
    trainer = Trainer(lesson, device)
    trainer.run(side_by_side, progress, pulse)
    return trainer.parameters.cpu().numpy(), trainer.loss
