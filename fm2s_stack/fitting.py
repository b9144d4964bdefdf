"""Fitting a stack: an intensity map a channel, and the networks trained on its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_network
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.image import StackAxis
from fm2s_stack.kept_fits import KeptFits
from fm2s_stack.progress import Progress, Pulse, Silent, Stoppable, unheard
from fm2s_stack.sampling import (
    Sample,
    Window,
    fit_windows,
    measure_channel,
    read_sample,
    training_samples,
)
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.checkpoints import FitCheckpoints


def measure_channels(
    stack: Stack, fit: FitSettings, progress: Progress | None = None
) -> tuple[Denoiser, ...]:
    """One denoiser a channel with its intensity map, and no network yet."""
    told = progress or Silent()
    return tuple(
        Denoiser(
            weights=np.empty((0, COLLAPSED), np.float32),
            positions=np.empty(0),
            intensity=measure_channel(stack, c, fit, told),
            preset=fit.preset,
            channel=stack.channel_indices[c],
            nan=fit.nan,
        )
        for c in range(stack.image.shape[1])
    )


def train_channels(
    stack: Stack,
    channels: tuple[Denoiser, ...],
    fit: FitSettings,
    along: StackAxis,
    devices: DevicePool,
    progress: Progress,
    *,
    checkpoints: FitCheckpoints | None = None,
    kept: KeptFits | None = None,
    check: Pulse = unheard,
) -> tuple[Denoiser, ...]:
    """The denoisers with a network for each channel and window.

    Fits run side by side, one a device slot; each has its own random stream, so that the
    order never shows. Those that were stopped go on from `checkpoints`, to the same bits;
    those that were finished are taken from `kept`. `check` is called a few times a second and
    raises to stop.
    """
    axis, origin = (0, stack.t_start) if along == "t" else (2, stack.z_start)
    windows = fit_windows(stack.image.shape[axis], fit)
    tasks = [(c, window) for c in range(len(channels)) for window in windows]
    told = Stoppable(progress)
    told.start("fit", len(tasks) * fit.draws, "draws")

    known = kept.load() if kept is not None else {}

    def train(task: tuple[int, Window]) -> Fitted:
        c, window = task
        place = (channels[c].channel, window.start)
        if place in known:
            told.advance(fit.draws)
            return known[place]
        fitted = _train(stack, channels[c], c, window, fit, along, devices, told, checkpoints)
        if kept is not None:
            kept.save(place, fitted)
        if checkpoints is not None:
            checkpoints.of(*_first_plane(stack, channels[c], window, along)).remove()
        return fitted

    fitted = run_in_threads(train, tasks, devices.slots, told, check)
    told.finish()
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


def _train(
    stack: Stack,
    channel: Denoiser,
    c: int,
    window: Window,
    fit: FitSettings,
    along: StackAxis,
    devices: DevicePool,
    progress: Progress,
    checkpoints: FitCheckpoints | None,
) -> Fitted:
    samples = training_samples(stack.image.shape, window, along, fit.preset.stride)
    planes, valid = _training_planes(stack, channel.intensity, samples, c, fit, progress)
    place = _first_plane(stack, channel, window, along)
    seed = stream_seed(fit.seed, *place)
    told = _FurtherDraws(progress)
    pulse = partial(progress.advance, 0)
    checkpoint = None if checkpoints is None else checkpoints.of(*place)
    return compute_on(
        devices,
        lambda device: fit_network(
            planes, fit, seed, valid=valid, device=device,
            progress=told, pulse=pulse, checkpoint=checkpoint,
        ),
        pulse,
    )  # fmt: skip


def _first_plane(
    stack: Stack, channel: Denoiser, window: Window, along: StackAxis
) -> tuple[int, int, int]:
    """Channel, frame and slice in the source at which a window begins."""
    t, z = (window.start, 0) if along == "t" else (0, window.start)
    return channel.channel, stack.t_start + t, stack.z_start + z


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
