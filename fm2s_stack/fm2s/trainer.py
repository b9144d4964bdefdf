"""The training itself (arXiv 2412.10031, algorithm 1), which can be left and taken up again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.fm2s import network
from fm2s_stack.fm2s.descent import SECOND_DECAY, CapturedDescent, Descent
from fm2s_stack.fm2s.draws import DRAWS_AT_A_TIME, Drawer, Draws, beside
from fm2s_stack.fm2s.group import Group
from fm2s_stack.fm2s.training_planes import TrainingPlane
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import STEPS_PER_DRAW, FitSettings

#: Of Adam's mean of squared gradients, a step, with crops: after a rare bright one the mean that is
#: published, over a thousand steps, leaves steps too short to come back. Mean SI-PSNR over five
#: images of data/ and five seeds: 36.53 dB with 0.999, 36.80 with this.
CROPS_DECAY = 0.98
AVERAGED_DRAWS = 100  #: last draws whose weights are averaged, a quarter of all at most
LOSS_DRAWS = 50  #: last draws whose loss is reported

EachDraw = Callable[[int, int], None]  #: draws done, draws in all
State = Mapping[str, NDArray]  #: what a `Trainer` needs to go on where another one was


class Trainer:
    """Adam on networks trained side by side, and the median of each after the last draws.

    What a network sees depends on its own planes and seed, never on who is trained with it.

    A rare bright crop throws a network off for tens of draws. The mean of the weights
    follows it (one confocal image of data/: plain PSNR from 28.5 to 36.8 dB over three
    seeds); their median, parameter by parameter, does not (36.7 to 37.4).

    Parameters
    ----------
    planes
        What each network is trained on, on the device; all of one shape.
    settings
        Preset, crop, and number of draws.
    seeds
        One a network, of both its random streams.
    device
        ``cpu`` or ``cuda:N``.
    pulse
        Called after every layer, forwards and backwards: one of a plane of 4 million pixels
        takes seconds. What it raises ends the training; `state` is then that before the step.
        On a GPU the steps on a crop are one piece, in which it is not called.
    """

    def __init__(
        self,
        planes: Sequence[list[TrainingPlane]],
        settings: FitSettings,
        seeds: Sequence[int],
        device: str,
        pulse: Pulse = unheard,
    ) -> None:
        self._settings, self._device = settings, device
        self._drawers = [
            Drawer(own, settings, seed, device) for own, seed in zip(planes, seeds, strict=True)
        ]
        start = torch.stack([drawer.initial_parameters() for drawer in self._drawers])
        self._group = Group(start.to(device), settings.published.amplification)
        captured = settings.crop is not None and torch.device(device).type == "cuda"
        decay = SECOND_DECAY if settings.crop is None else CROPS_DECAY
        self._descent = (CapturedDescent if captured else Descent)(self._group, pulse, decay)
        averaged = min(AVERAGED_DRAWS, settings.draws // 4) if settings.crop is not None else 1
        self._last: deque[Tensor] = deque(maxlen=max(averaged, 1))
        self._losses: deque[Tensor] = deque(maxlen=LOSS_DRAWS)
        self._draw = self._step = 0  # draw 0 is stage one, on the recording as it is
        self._begin_batch(0)

    def run(self, told: EachDraw | None = None, each_step: Pulse = unheard) -> None:
        """Train to the end.

        Parameters
        ----------
        told
            Told after each noise draw, and at once of those a restored state has behind it.
        each_step
            Called before each step of Adam, or all those on a crop on a GPU, when `state`
            may be taken.
        """
        if told is not None and self._draw > 1:
            told(self._draw - 1, self._settings.draws)
        while self._draw <= self._settings.draws:
            self._learn_draw(each_step)
            if told is not None and self._draw > 1:
                told(self._draw - 1, self._settings.draws)

    def result(self) -> list[tuple[NDArray[np.float32], float]]:
        """Of each network its collapsed weights, shape (3529,), and the mean loss.

        The weights are the median over the last draws, parameter by parameter.
        """
        median = torch.stack(tuple(self._last)).median(dim=0).values
        losses = [float("nan")] * len(self._drawers)
        if self._losses:
            losses = torch.stack(tuple(self._losses)).mean(dim=0).tolist()
        amplification = self._settings.published.amplification
        return [
            (network.collapse(own, amplification).cpu().numpy(), loss)
            for own, loss in zip(self._group.parameters(median), losses, strict=True)
        ]

    def state(self) -> dict[str, NDArray]:
        """All that training depends on from here on; arrays of numbers, copied."""
        host, stream = self._marked
        return {
            "place": np.array([self._draw, self._step]),
            "batch": np.array(self._first),
            "host": _stacked(host),
            "stream": _stacked(stream),
            "last": _stacked(self._last),
            "losses": _stacked(self._losses),
            **{name: _to_numpy(value) for name, value in self._descent.state().items()},
        }

    def restore(self, state: State) -> None:
        """Go on from the state of another trainer of the same planes, settings and seeds."""
        self._draw, self._step = (int(n) for n in state["place"])
        for drawer, host, stream in zip(self._drawers, state["host"], state["stream"], strict=True):
            drawer.host.set_state(torch.from_numpy(host.copy()))
            drawer.stream.set_state(torch.from_numpy(stream.copy()))
        self._begin_batch(int(state["batch"]))
        for kept, name in ((self._last, "last"), (self._losses, "losses")):
            kept.clear()
            kept.extend(torch.from_numpy(state[name]).to(self._device))
        names = self._descent.state()
        self._descent.restore({name: torch.from_numpy(state[name]) for name in names})

    def _begin_batch(self, first: int) -> None:
        """Remember where a batch of draws begins: it is drawn again when taken up within."""
        self._first = first
        self._batch: Draws | None = None
        self._marked = (
            [drawer.host.get_state() for drawer in self._drawers],
            [drawer.stream.get_state() for drawer in self._drawers],
        )

    def _learn_draw(self, each_step: Pulse) -> None:
        """Five steps from one noisy version of a crop to the crop's target."""
        if self._batch is None:
            self._batch = self._drawn()
        draw = self._batch.one(self._draw - self._first)
        while self._step < STEPS_PER_DRAW:
            each_step()  # here the state is whole, whatever is raised
            self._step += self._descent.descend(draw, STEPS_PER_DRAW - self._step)
        self._end_draw()

    def _drawn(self) -> Draws:
        """The draws of a batch, or the recording as it is for stage one."""
        if self._first == 0:
            together = beside([drawer.recorded() for drawer in self._drawers])
        else:
            count = self._batch_end() - self._first
            together = beside([drawer.noised(count) for drawer in self._drawers])
        return replace(together, inputs=self._group.laid_out(together.inputs))

    def _batch_end(self) -> int:
        """One past the last draw of the batch in hand."""
        if self._first == 0:
            return 1
        # A draw of whole planes is large, and its steps take longer than anything saved here.
        at_a_time = DRAWS_AT_A_TIME if self._settings.crop is not None else 1
        return min(self._first + at_a_time, self._settings.draws + 1)

    def _end_draw(self) -> None:
        self._last.append(self._group.flat.clone())
        if self._draw == 0:
            # The large first gradients would hold back the second stage for a thousand steps:
            # on the two-photon cut-out that costs 0.6 dB against the published program.
            self._descent.forget_moments()
        else:
            self._losses.append(self._descent.losses())
        self._draw, self._step = self._draw + 1, 0
        if self._draw == self._batch_end():
            self._begin_batch(self._draw)


def _to_numpy(tensor: Tensor) -> NDArray:
    return tensor.detach().cpu().numpy().copy()


def _stacked(tensors: Iterable[Tensor]) -> NDArray:
    parts = tuple(tensors)
    return _to_numpy(torch.stack(parts)) if parts else np.empty(0, np.float32)
