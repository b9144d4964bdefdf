"""Fitting a stack: an intensity map a channel, and the networks trained on its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import PlanewiseDenoiser
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.engine.work import Place, Work
from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_network
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.image import StackAxis
from fm2s_stack.job.auto_fitting import measure_auto, train_auto
from fm2s_stack.job.kept_fits import KeptFits
from fm2s_stack.job.planewise_fitting import (
    is_of_one_value,
    left_alone,
    measure_planewise,
    train_planewise,
)
from fm2s_stack.job.sampling import (
    Sample,
    Window,
    fit_windows,
    measure_channel,
    read_sample,
    training_samples,
)
from fm2s_stack.progress import Progress, Pulse, Silent, unheard
from fm2s_stack.settings import Auto, FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import NO_FRAMES
from fm2s_stack.store.checkpoints import FitCheckpoints

FitTask = tuple[int, Window]  #: channel of the stack, and planes that share a network


def measure_channels(
    stack: Stack, fit: FitSettings, along: StackAxis, progress: Progress | None = None
) -> tuple[AnyDenoiser, ...]:
    """One denoiser a channel with its intensity map, and no network yet.

    Raises
    ------
    NoiseUnknown
        If its noise is to be measured, and the pixels of a channel do not tell it.
    """
    told = progress or Silent()
    if isinstance(fit.preset, Auto):
        return tuple(
            _measured(stack, c, fit, fit.preset, along, told) for c in range(stack.image.shape[1])
        )
    return tuple(
        Denoiser(
            weights=np.empty((0, COLLAPSED), np.float32),
            positions=np.empty(0),
            intensity=measure_channel(stack, c, fit, told),
            preset=fit.published,
            channel=stack.channel_indices[c],
            nan=fit.nan,
        )
        for c in range(stack.image.shape[1])
    )


def _measured(
    stack: Stack, c: int, fit: FitSettings, auto: Auto, along: StackAxis, told: Progress
) -> AnyDenoiser:
    try:
        if fit.is_planewise:
            return measure_planewise(stack, c, fit, auto, told)
        return measure_auto(stack, c, fit, auto, along, told)
    except NoiseUnknown as error:
        if is_of_one_value(stack, c, fit, told):
            return left_alone(stack, c, fit, auto, told)
        raise NoiseUnknown(
            f"{error}; -c auto, the default, needs it: give a preset, such as -c srdtrans"
        ) from None


def train_channels(
    stack: Stack,
    channels: tuple[AnyDenoiser, ...],
    fit: FitSettings,
    along: StackAxis,
    place: Place,
    progress: Progress,
    *,
    checkpoints: FitCheckpoints | None = None,
    kept: KeptFits | None = None,
    check: Pulse = unheard,
) -> tuple[AnyDenoiser, ...]:
    """The denoisers with a network for each channel and window.

    Fits run side by side, as many as the place computes; each has its own random stream, so
    that the order never shows. Those that were stopped go on from `checkpoints`, to the same
    bits; those that were finished are taken from `kept`. `check` is called a few times a
    second and raises to stop.
    """
    axis, origin = (0, stack.t_start) if along == "t" else (2, stack.z_start)
    excluded = stack.excluded if along == "t" else NO_FRAMES
    windows = fit_windows(stack.image.shape[axis], fit, excluded)
    tasks = [(c, window) for c in range(len(channels)) for window in windows]
    known = {} if kept is None else kept.load()
    left = [task for task in tasks if _place(channels, task) not in known]
    training = _Training(stack, channels, fit, along, checkpoints, kept)
    work = Work(training.train, lambda task: fit.draws, training.name)
    progress.start("fit", len(tasks) * fit.draws, "draws")
    progress.advance((len(tasks) - len(left)) * fit.draws)
    made = dict(zip(left, place.each(work, left, progress, check), strict=True)) if left else {}
    progress.finish()
    fitted = [made[task] if task in made else known[_place(channels, task)] for task in tasks]
    positions = np.array([window.centre + origin for window in windows])
    return tuple(
        replace(
            channel,
            weights=np.stack([f.weights for f in own]),
            positions=positions,
            loss=tuple(f.loss for f in own),
        )
        for channel, own in zip(channels, _split(fitted, len(windows)), strict=True)
    )


def _split(fitted: list[Fitted], size: int) -> Iterator[list[Fitted]]:
    for start in range(0, len(fitted), size):
        yield fitted[start : start + size]


def _place(channels: tuple[AnyDenoiser, ...], task: FitTask) -> tuple[int, int]:
    """Channel of the source and first plane: what a kept fit is known by."""
    return channels[task[0]].channel, task[1].start


@dataclass(frozen=True, eq=False)
class _Training:
    """All that the fits of a stack need; pickles."""

    stack: Stack
    channels: tuple[AnyDenoiser, ...]
    fit: FitSettings
    along: StackAxis
    checkpoints: FitCheckpoints | None
    kept: KeptFits | None

    def train(self, task: FitTask, devices: DevicePool, progress: Progress) -> Fitted:
        """Train the network of a channel and window, and keep it."""
        fitted = self._train(*task, devices, progress)
        if self.kept is not None:
            self.kept.save(_place(self.channels, task), fitted)
        return fitted

    def name(self, task: FitTask) -> str:
        """A fit in words."""
        c, window = task
        return f"the fit of channel {self.channels[c].channel}, planes from {window.start}"

    def _train(self, c: int, window: Window, devices: DevicePool, progress: Progress) -> Fitted:
        stack, channel, fit = self.stack, self.channels[c], self.fit
        t, z = (window.start, 0) if self.along == "t" else (0, window.start)
        source = (channel.channel, stack.t_start + t, stack.z_start + z)
        seed = stream_seed(fit.seed, *source)
        told, pulse = _FurtherDraws(progress), partial(progress.advance, 0)
        if isinstance(channel, LeftAlone):
            told(fit.draws, fit.draws)
            return Fitted(np.zeros(channel.weights.shape[1], np.float32), 0.0)
        if isinstance(channel, PlanewiseDenoiser):
            return train_planewise(stack, c, channel, fit, window, self.along, seed, progress, told)
        if isinstance(channel, NeighbourDenoiser):
            return train_auto(
                stack, c, channel, fit, window, self.along, seed, devices, progress, told
            )
        stride = fit.published.stride
        samples = training_samples(stack.image.shape, window, self.along, stride, stack.excluded)
        planes, valid = _training_planes(stack, channel.intensity, samples, c, fit, progress)
        checkpoint = None if self.checkpoints is None else self.checkpoints.of(*source)
        return compute_on(
            devices,
            lambda device: fit_network(
                planes, fit, seed, valid=valid, device=device,
                progress=told, pulse=pulse, checkpoint=checkpoint,
            ),
            pulse,
        )  # fmt: skip


class _FurtherDraws:
    """Counts the draws of one fit, which may begin in the middle, or again after a fault."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._told = progress, 0

    def __call__(self, done: int, total: int) -> None:
        self._progress.advance(max(done - self._told, 0))
        self._told = max(done, self._told)


def _training_planes(
    stack: Stack,
    intensity: IntensityMap,
    samples: list[Sample],
    c: int,
    fit: FitSettings,
    told: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    planes = [read_sample(stack, c, sample, fit, told) for sample in samples]
    unit = [intensity.to_unit(plane) for plane in planes]
    if fit.nan == "refuse":
        return np.stack(unit), None
    valid = [valid_pixels(plane) for plane in planes]
    filled = [
        fill_invalid(np.where(good, plane, 0).astype(np.float32), good)
        for plane, good in zip(unit, valid, strict=True)
    ]
    return np.stack(filled), np.stack(valid)
