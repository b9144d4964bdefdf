"""Steps of Adam on networks that are trained together, one by one or as a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fm2s_stack.fm2s.conveyor import is_lack_of_memory
from fm2s_stack.fm2s.draws import Draws
from fm2s_stack.fm2s.group import Group
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import STEPS_PER_DRAW

LEARNING_RATE = 1e-3
SECOND_DECAY = 0.999  #: of Adam's mean of squared gradients, as published
WARM_UP = 3  #: times that all is run before it is captured, as torch's notes on CUDA graphs do


class Descent:
    """Adam on the mean square of each network, summed over the networks.

    Parameters
    ----------
    group
        The networks.
    pulse
        Called after every layer, forwards and backwards: one of a plane of 4 million pixels
        takes seconds. What it raises leaves the parameters as they were before the step.
    second_decay
        Of Adam's mean of squared gradients, a step.
    """

    def __init__(
        self, group: Group, pulse: Pulse = unheard, second_decay: float = SECOND_DECAY
    ) -> None:
        self.group, self._pulse = group, pulse
        group.flat.grad = group.gradient
        betas = (0.9, second_decay)
        self._adam = torch.optim.Adam([group.flat], lr=LEARNING_RATE, betas=betas, fused=True)
        # Made here, as Adam itself would before its first step: so it can be set in place,
        # where a captured graph goes on looking for it.
        self._moments = {
            "step": torch.zeros((), device=group.flat.device),
            "exp_avg": torch.zeros_like(group.flat),
            "exp_avg_sq": torch.zeros_like(group.flat),
        }
        self._adam.state[group.flat] = self._moments
        self._losses = torch.zeros(group.networks, device=group.flat.device)

    def descend(self, draw: Draws, steps: int) -> int:
        """Make up to so many steps on one draw.

        Returns
        -------
        int
            How many were made: one.
        """
        self._step(draw, self._pulse)
        return 1

    def losses(self) -> Tensor:
        """Mean square of each network before its last step, shape (networks,), copied."""
        return self._losses.clone()

    def forget_moments(self) -> None:
        """Begin Adam anew."""
        for value in self._moments.values():
            value.zero_()

    def state(self) -> dict[str, Tensor]:
        """Parameters and moments, in the group's order; not copied."""
        return {"parameters": self.group.flat, **self._moments}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set parameters and moments, in place."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def _step(self, draw: Draws, pulse: Pulse) -> None:
        group = self.group
        outputs = group.forward(draw.inputs, pulse)
        each = (1, group.networks, group.amplification, *outputs.shape[-2:])
        apart = outputs.detach().view(each) - draw.target[:, :, None]
        share = _shares(draw, group.amplification)
        self._losses.copy_((apart.square() * share).sum(dim=(0, 2, 3, 4)))
        group.backward(outputs, apart.mul_(2 * share).flatten(1, 2))
        self._adam.step()


def _shares(draw: Draws, amplification: int) -> Tensor | float:
    """What part each pixel's square has in a mean, shape (1, networks, 1, y, x) or the same."""
    if draw.weight is None:
        return 1 / (amplification * draw.target[0, 0].numel())
    pixels = draw.weight.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return (draw.weight / (pixels * amplification))[:, :, None]


class CapturedDescent(Descent):
    """All steps on a draw as one CUDA graph: of small crops a launch costs more than the work.

    Between its steps `pulse` is not called.

    The graph reads buffers that stay where they are, and changes parameters and moments in
    place: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(
        self, group: Group, pulse: Pulse = unheard, second_decay: float = SECOND_DECAY
    ) -> None:
        super().__init__(group, pulse, second_decay)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._capturable = True

    def descend(self, draw: Draws, steps: int) -> int:
        """Make all steps on one draw, or one where the draw was begun before.

        Returns
        -------
        int
            How many were made.
        """
        if steps == STEPS_PER_DRAW and self._graph is None and self._capturable:
            self._try_to_capture(draw)
        if steps < STEPS_PER_DRAW or self._graph is None:
            return super().descend(draw, steps)
        _copy(draw, self._buffers)
        self._graph.replay()
        # Waited for, as launching takes no time: else a stop would be felt when all is done.
        torch.cuda.current_stream(self.group.flat.device).synchronize()
        return STEPS_PER_DRAW

    def _try_to_capture(self, draw: Draws) -> None:
        try:
            device = self.group.flat.device
            # A capture that fails at its end leaves its stream the current one.
            with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
                self._capture(draw)
        except RuntimeError as error:
            if is_lack_of_memory(error):
                raise
            # A library of this machine that cannot be captured costs speed, not the fit. Where
            # the device itself is broken, the next step says so.
            self._graph, self._capturable = None, False

    def _capture(self, draw: Draws) -> None:
        self._buffers = Draws(
            draw.inputs.clone(),
            draw.target.clone(),
            None if draw.weight is None else draw.weight.clone(),
        )
        before = {name: value.clone() for name, value in self.state().items()}
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        try:
            self._warm_up(side)
            self._graph = self._captured(side)
        finally:
            self.restore(before)  # warming up has trained

    def _warm_up(self, side: torch.cuda.Stream) -> None:
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._all_steps()
        finally:
            torch.cuda.current_stream().wait_stream(side)

    def _captured(self, side: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        (options,) = self._adam.param_groups
        # Adam wants to be told, but of a step outside a graph it would then warn.
        options["capturable"] = True
        try:
            # Other threads of the process may use CUDA meanwhile: "global" would fail then.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                self._all_steps()
        finally:
            options["capturable"] = False
        return graph

    def _all_steps(self) -> None:
        for _ in range(STEPS_PER_DRAW):
            self._step(self._buffers, unheard)


def _copy(draw: Draws, buffers: Draws) -> None:
    buffers.inputs.copy_(draw.inputs)
    buffers.target.copy_(draw.target)
    if buffers.weight is not None and draw.weight is not None:
        buffers.weight.copy_(draw.weight)
