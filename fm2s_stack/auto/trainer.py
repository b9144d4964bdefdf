"""Training a network on a recording itself, by adding noise to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fm2s_stack.auto import network
from fm2s_stack.auto.calibration import calibrated
from fm2s_stack.auto.crops import draw_crop
from fm2s_stack.auto.lesson import Lesson, stream_of
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.sharing import SideBySide, in_turn
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.progress import Pulse, unheard

SHARES = 4  #: parts of a step whose gradients are computed side by side and added in order
CROPS = 3  #: of each part
LEARNING_RATE = 4e-3  #: at its highest
DECAYS = (0.9, 0.98)  #: of Adam's means
WARM_UP = 50  #: steps in which the learning rate rises
DECAY = 1.0  #: of the parameters, times the learning rate (AdamW, arXiv 1711.05101)
LAST_RATE = 0.01  #: part of the learning rate at the end


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
        start = torch.Generator().manual_seed(lesson.seed)
        self.parameters = network.initial_parameters(lesson.channels, start).to(device)
        self._adam = torch.optim.AdamW(
            [self.parameters], lr=LEARNING_RATE, betas=DECAYS, weight_decay=DECAY
        )
        self._recorruption = Recorruption(lesson.noise, lesson.skewness)
        self._streams = [stream_of(lesson, share) for share in range(SHARES)]
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
        with one_thread():
            return self._descended(share)

    def _descended(self, share: int) -> Tensor:
        stream, lesson = self._streams[share], self._lesson
        crops = [draw_crop(lesson, self._recorruption, stream) for _ in range(CROPS)]
        inputs = torch.stack([crop.inputs for crop in crops]).to(self._device)
        targets = torch.stack([crop.target for crop in crops]).to(self._device)
        leaf = self.parameters.detach().requires_grad_()
        kernels = network.layers(leaf, inputs.shape[1])
        loss = functional.mse_loss(network.run(kernels, inputs), targets)
        (gradient,) = torch.autograd.grad(loss, leaf)
        self._losses[share] = loss.detach().item()
        return gradient


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
    numbers, loss
        As `calibrated`, what the network does not keep of changes and light made up for; mean
        square error of the last steps, in units of the noise.
    """
    trainer = Trainer(lesson, device)
    trainer.run(side_by_side, progress, pulse)
    weights = trainer.parameters.cpu().numpy()
    return calibrated(lesson, weights, side_by_side, pulse), trainer.loss
