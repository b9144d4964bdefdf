"""Measuring and training what ``-c auto`` denoises a stack with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from fm2s_stack.auto import numbers
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.lesson import Lesson
from fm2s_stack.auto.light import lost_light
from fm2s_stack.auto.numbers import unpacked
from fm2s_stack.auto.planewise import SIZE
from fm2s_stack.auto.reach import reach_of
from fm2s_stack.auto.skewness import measure_skewness
from fm2s_stack.auto.trainer import train
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.image import StackAxis
from fm2s_stack.job.auto_measuring import study
from fm2s_stack.job.auto_sampling import looks_of, training_runs
from fm2s_stack.job.noise import measure_noise
from fm2s_stack.job.sampling import Window, measure_channel
from fm2s_stack.progress import Progress
from fm2s_stack.settings import Auto, FitSettings
from fm2s_stack.stack.base import Stack


def measure_auto(
    stack: Stack, c: int, fit: FitSettings, auto: Auto, along: StackAxis, told: Progress
) -> NeighbourDenoiser:
    """The denoiser of a channel with what is measured, and no network yet.

    Raises
    ------
    NoiseUnknown
        If the pixels do not tell their noise.
    StackError
        If a plane cannot be read.
    """
    noise = measure_noise(stack, c, progress=told)
    for note in noise.notes:
        told.note(": ".join(filter(None, [stack.name_channel(c), note])))
    studied = study(stack, c, fit, along, noise, told)
    reach = reach_of(auto.neighbours or 0, causal=auto.causal)
    return NeighbourDenoiser(
        weights=np.empty((0, fit_size(auto)), np.float32),
        positions=np.empty(0),
        background=studied.background,
        components=studied.components,
        folds=studied.folds,
        noise=noise,
        reach=reach,
        intensity=measure_channel(stack, c, fit, told),
        preset=auto,
        channel=stack.channel_indices[c],
        nan=fit.nan,
    )


def fit_size(auto: Auto) -> int:
    """Numbers of a network, or of what is fitted in its place."""
    reach = reach_of(auto.neighbours or 0, causal=auto.causal)
    return SIZE if auto.alone else numbers.fit_size(channel_count(reach.count))


def train_auto(
    stack: Stack,
    c: int,
    denoiser: NeighbourDenoiser,
    fit: FitSettings,
    window: Window,
    along: StackAxis,
    seed: int,
    devices: DevicePool,
    progress: Progress,
    done: Callable[[int, int], None],
) -> Fitted:
    """Train the network of a channel and window.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    lesson = _lesson(stack, c, denoiser, fit, window, along, seed, progress)
    pulse, told = partial(progress.advance, 0), lambda step: done(step, fit.draws)
    if devices.kind == "cpu":
        return Fitted(*train(lesson, side_by_side=devices.each, progress=told, pulse=pulse))
    return Fitted(
        *compute_on(
            devices, lambda device: train(lesson, device, progress=told, pulse=pulse), pulse
        )
    )


def with_light(
    stack: Stack,
    c: int,
    denoiser: NeighbourDenoiser,
    fit: FitSettings,
    along: StackAxis,
    told: Progress,
) -> NeighbourDenoiser:
    """A denoiser with lent networks, and what these lose of this stack's light, if that is sure.

    Those of the same stack lose none, and give the bits they gave.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    whole = Window(0, stack.image.shape[0 if along == "t" else 2])
    lesson = _lesson(stack, c, denoiser, fit, whole, along, fit.seed, told)
    pulse = partial(told.advance, 0)
    lost = [lost_light(lesson, *unpacked(one), pulse=pulse).sure for one in denoiser.weights]
    return replace(denoiser, light=np.array(lost))


def _lesson(
    stack: Stack,
    c: int,
    denoiser: NeighbourDenoiser,
    fit: FitSettings,
    window: Window,
    along: StackAxis,
    seed: int,
    progress: Progress,
) -> Lesson:
    """What a network is trained with, or measured on, in a window of a stack."""
    runs = training_runs(stack, c, fit, window, along, denoiser.reach, progress)
    skewness = measure_skewness(
        looks_of(runs, denoiser.background, denoiser.reach.looked_at), denoiser.noise
    )
    return Lesson(
        runs=runs,
        background=denoiser.background,
        noise=denoiser.noise,
        skewness=skewness,
        reach=denoiser.reach,
        crop=fit.crop or min(runs[0].planes.shape[1:]),
        steps=fit.draws,
        seed=seed,
        folds=denoiser.folds,
        components=denoiser.components,
    )
