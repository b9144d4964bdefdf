"""Training networks on the recording itself (arXiv 2412.10031, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.fm2s.checkpoint import Checkpoint, run_with_checkpoint, training_key
from fm2s_stack.fm2s.trainer import EachDraw, Trainer
from fm2s_stack.fm2s.training_planes import TrainingPlane, prepare_plane
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import FitSettings, Preset

__all__ = ["EachDraw", "Fitted", "fit_network", "fit_networks", "one_thread"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network."""

    weights: NDArray[np.float32]  #: collapsed parameters, shape (3529,)
    loss: float  #: mean squared error over the last draws, on the scale of 0 to 1


def fit_network(
    planes: NDArray[np.float32],
    settings: FitSettings,
    seed: int,
    *,
    valid: NDArray[np.bool_] | None = None,
    device: str = "cpu",
    progress: EachDraw | None = None,
    pulse: Pulse = unheard,
    checkpoint: Checkpoint | None = None,
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
        Told after each draw; a fit that is continued tells at once of the draws behind it.
    pulse
        Called every second or so; what it raises ends the fit.
    checkpoint
        Where the fit is kept once a minute and continued from, to the same bits.
    """
    (fitted,) = fit_networks(
        [planes], settings, [seed], valid=[valid], device=device,
        progress=progress, pulse=pulse, checkpoint=checkpoint,
    )  # fmt: skip
    return fitted


def fit_networks(
    planes: Sequence[NDArray[np.float32]],
    settings: FitSettings,
    seeds: Sequence[int],
    *,
    valid: Sequence[NDArray[np.bool_] | None] | None = None,
    device: str = "cpu",
    progress: EachDraw | None = None,
    pulse: Pulse = unheard,
    checkpoint: Checkpoint | None = None,
) -> list[Fitted]:
    """Train several networks at once, each as `fit_network` would, up to rounding.

    On a GPU that takes little longer than one; on the CPU as long as one after the other.

    Parameters
    ----------
    planes
        What each network is trained on: shape (n, y, x), the same for all, on the unit
        scale, finite.
    settings
        Preset, crop, and number of draws.
    seeds
        One a network, from `stream_seed`.
    valid
        Which pixels of each take part, shape of its planes; None: all.
    device, progress, pulse
        As for `fit_network`.
    checkpoint
        Where the fit of all is kept and continued from; of the same networks in this order.

    Returns
    -------
    list of Fitted
        One a network, in order.

    Raises
    ------
    ValueError
        If there are no planes, or their shapes or the numbers of planes, seeds and masks differ.
    """
    masks = [None] * len(planes) if valid is None else list(valid)
    if len({own.shape for own in planes}) != 1:
        raise ValueError(f"planes of shapes {[own.shape for own in planes]}: expected one shape")
    with one_thread():
        training = [
            _prepared(own, mask, settings.published, device, pulse)
            for own, mask in zip(planes, masks, strict=True)
        ]
        trainer = Trainer(training, settings, seeds, device, pulse)
        if checkpoint is None:
            trainer.run(progress, pulse)
        else:
            key = training_key(planes, masks, settings, seeds, device)
            run_with_checkpoint(trainer, checkpoint, key, progress, pulse)
        return [Fitted(*result) for result in trainer.result()]


def _prepared(
    planes: NDArray[np.float32],
    valid: NDArray[np.bool_] | None,
    preset: Preset,
    device: str,
    pulse: Pulse,
) -> list[TrainingPlane]:
    masks = [None] * len(planes) if valid is None else list(valid)
    return [
        prepare_plane(plane, preset, device, mask, pulse)
        for plane, mask in zip(planes, masks, strict=True)
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread in this thread: two change 90 % of 16-bit pixels of a fit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
