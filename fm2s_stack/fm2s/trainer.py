"""The training itself (arXiv 2412.10031, algorithm 1), which can be left and taken up again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.fm2s import network, noise
from fm2s_stack.fm2s.training_planes import TrainingPlane, random_crop
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import STEPS_PER_DRAW, FitSettings

LEARNING_RATE = 1e-3
AVERAGED_DRAWS = 100  #: last draws whose weights are averaged, a quarter of all at most
LOSS_DRAWS = 50  #: last draws whose loss is reported

EachDraw = Callable[[int, int], None]  #: draws done, draws in all
State = Mapping[str, NDArray]  #: what a `Trainer` needs to go on where another one was


class Trainer:
    """Adam on the flat parameters, and the average of those after the last draws.

    A rare bright crop throws the network off for tens of draws. The mean of the weights
    follows it (one confocal image of data/: plain PSNR from 28.5 to 36.8 dB over three
    seeds); their median, parameter by parameter, does not (36.7 to 37.4).

    Parameters
    ----------
    planes
        What to train on, on the device.
    settings
        Preset, crop, and number of draws.
    seed
        Of both random streams.
    device
        ``cpu`` or ``cuda:N``.
    pulse
        Called after every layer, forwards and backwards: one of a plane of 4 million pixels
        takes seconds. What it raises ends the training; `state` is then that before the step.
    """

    def __init__(
        self,
        planes: list[TrainingPlane],
        settings: FitSettings,
        seed: int,
        device: str,
        pulse: Pulse = unheard,
    ) -> None:
        self._planes, self._settings, self._pulse = planes, settings, pulse
        amplification = settings.preset.amplification
        # Parameters and crops come from a stream on the CPU, whatever the device.
        self._host = torch.Generator().manual_seed(seed)
        self._stream = torch.Generator(device).manual_seed(seed)
        start = network.initial_parameters(amplification, self._host).to(device)
        self._parameters = start.requires_grad_()
        averaged = min(AVERAGED_DRAWS, settings.draws // 4) if settings.crop is not None else 1
        self._last: deque[Tensor] = deque(maxlen=max(averaged, 1))
        self._losses: deque[Tensor] = deque(maxlen=LOSS_DRAWS)
        self._draw = self._step = 0  # draw 0 is stage one, on the recording as it is
        self._forget_moments()
        self._mark_streams()

    def run(self, told: EachDraw | None = None, each_step: Pulse = unheard) -> None:
        """Train to the end.

        Parameters
        ----------
        told
            Told after each noise draw, and at once of those a restored state has behind it.
        each_step
            Called before each step of Adam, when `state` may be taken.
        """
        if told is not None and self._draw > 1:
            told(self._draw - 1, self._settings.draws)
        while self._draw <= self._settings.draws:
            self._learn_draw(each_step)
            if told is not None and self._draw > 1:
                told(self._draw - 1, self._settings.draws)

    def result(self) -> tuple[NDArray[np.float32], float]:
        """Collapsed median of the last draws' weights, shape (3529,), and the mean loss."""
        median = torch.stack(tuple(self._last)).median(dim=0).values
        weights = network.collapse(median, self._settings.preset.amplification)
        loss = float(torch.stack(tuple(self._losses)).mean()) if self._losses else float("nan")
        return weights.cpu().numpy(), loss

    def state(self) -> dict[str, NDArray]:
        """All that training depends on from here on; arrays of numbers, copied."""
        moments = self._adam.state.get(self._parameters, {})
        host, stream = self._marked
        return {
            "place": np.array([self._draw, self._step]),
            "host": host.numpy().copy(),
            "stream": stream.numpy().copy(),
            "parameters": _to_numpy(self._parameters),
            "last": _stacked(self._last),
            "losses": _stacked(self._losses),
            **{f"adam.{name}": _to_numpy(value) for name, value in moments.items()},
        }

    def restore(self, state: State) -> None:
        """Go on from the state of another trainer of the same planes, settings and seed."""
        device = self._parameters.device
        self._draw, self._step = (int(n) for n in state["place"])
        self._host.set_state(torch.from_numpy(state["host"]))
        self._stream.set_state(torch.from_numpy(state["stream"]))
        self._mark_streams()
        with torch.no_grad():
            self._parameters.copy_(torch.from_numpy(state["parameters"]))
        for kept, name in ((self._last, "last"), (self._losses, "losses")):
            kept.clear()
            kept.extend(torch.from_numpy(state[name]).to(device))
        self._forget_moments()
        moments = {
            name.removeprefix("adam."): torch.from_numpy(value)
            for name, value in state.items()
            if name.startswith("adam.")
        }
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict(
            {"state": {0: moments} if moments else {}, "param_groups": groups}
        )

    def _forget_moments(self) -> None:
        """Begin Adam anew, as between the two stages.

        The large first gradients would hold back the second stage for a thousand steps: on
        the two-photon cut-out that costs 0.6 dB against the published program.
        """
        self._adam = torch.optim.Adam([self._parameters], lr=LEARNING_RATE)

    def _mark_streams(self) -> None:
        """Remember where the draw in hand begins: it is drawn again when taken up within."""
        self._marked = self._host.get_state(), self._stream.get_state()

    def _learn_draw(self, each_step: Pulse) -> None:
        """Five steps from one noisy version of a crop to the crop's target."""
        crop = random_crop(self._planes, self._settings.crop, self._host)
        inputs = self._inputs(crop)
        while self._step < STEPS_PER_DRAW:
            each_step()  # here the state is whole, whatever is raised
            loss = self._descend(inputs, crop)
            self._step += 1
        self._end_draw(loss)

    def _inputs(self, crop: TrainingPlane) -> Tensor:
        preset = self._settings.preset
        if self._draw == 0:
            return crop.raw.expand(-1, preset.amplification, -1, -1)
        return noise.draw(crop.target, crop.level, preset, self._stream)

    def _descend(self, inputs: Tensor, crop: TrainingPlane) -> Tensor:
        self._adam.zero_grad()
        outputs = network.forward(self._parameters, inputs, self._pulse)
        loss = _mean_square(outputs, crop)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return loss.detach()

    def _end_draw(self, loss: Tensor) -> None:
        self._last.append(self._parameters.detach().clone())
        if self._draw == 0:
            self._forget_moments()
        else:
            self._losses.append(loss)
        self._draw, self._step = self._draw + 1, 0
        self._mark_streams()


def _mean_square(outputs: Tensor, plane: TrainingPlane) -> Tensor:
    squares = (outputs - plane.target).square()
    if plane.weight is None:
        return squares.mean()
    pixels = plane.weight.sum().clamp(min=1) * outputs.shape[1]
    return (squares * plane.weight).sum() / pixels


def _to_numpy(tensor: Tensor) -> NDArray:
    return tensor.detach().cpu().numpy().copy()


def _stacked(tensors: Iterable[Tensor]) -> NDArray:
    parts = tuple(tensors)
    return _to_numpy(torch.stack(parts)) if parts else np.empty(0, np.float32)
