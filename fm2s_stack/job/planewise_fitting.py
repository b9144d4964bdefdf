"""Measuring and fitting what ``-c auto`` denoises planes by themselves with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import SIZE, PlanewiseDenoiser, fit_planewise
from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.fm2s.padding import valid_pixels
from fm2s_stack.image import StackAxis
from fm2s_stack.job.auto_fitting import fit_size
from fm2s_stack.job.noise import measure_noise
from fm2s_stack.job.planning import INTENSITY_PLANES
from fm2s_stack.job.sampling import (
    Sample,
    Window,
    measure_channel,
    read_sample,
    spread_places,
    training_samples,
)
from fm2s_stack.noise_model.tiles import SIDE
from fm2s_stack.plane import TILE, with_smooth_noise
from fm2s_stack.progress import Progress
from fm2s_stack.settings import Auto, FitSettings
from fm2s_stack.stack.base import Stack

FEWEST = 9  #: squares of `SIDE` pixels that single planes must have for their noise to be told
MANY = 64  #: planes from which on a third of the time is worth a tenth of a decibel

Planes = NDArray[np.generic]
Light = NDArray[np.bool_] | None  #: which pixels carry light; None: all


def measure_planewise(
    stack: Stack, c: int, fit: FitSettings, auto: Auto, told: Progress
) -> PlanewiseDenoiser:
    """The denoiser of a channel with the noise that was measured, and no fit yet.

    Raises
    ------
    NoiseUnknown
        If the pixels do not tell their noise.
    StackError
        If a plane cannot be read.
    """
    noise = measure_noise(stack, c, progress=told)
    if noise.method == "spatial residuals":
        _require_enough(stack)
        planes, light = _sampled(stack, c, fit, _everywhere(stack), told)
        seen = planes if light is None else np.where(light, planes, np.nan)
        noise = with_smooth_noise(seen, noise)
    return PlanewiseDenoiser(
        weights=np.empty((0, SIZE), np.float32),
        positions=np.empty(0),
        noise=noise,
        intensity=measure_channel(stack, c, fit, told),
        preset=auto,
        channel=stack.channel_indices[c],
        nan=fit.nan,
    )


def train_planewise(
    stack: Stack,
    c: int,
    denoiser: PlanewiseDenoiser,
    fit: FitSettings,
    window: Window,
    along: StackAxis,
    seed: int,
    progress: Progress,
    done: Callable[[int, int], None],
) -> Fitted:
    """Fit to the planes of a window.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    samples = training_samples(stack.image.shape, window, along, TILE, stack.excluded)
    planes, light = _sampled(stack, c, fit, samples, progress)
    stride = 2 if len(stack.kept) * stack.image.shape[2] >= MANY else 1

    def told(step: int, of: int) -> None:
        done(step * fit.draws // of, fit.draws)

    fitted = fit_planewise(
        denoiser, planes, light, seed, draws=fit.draws, progress=told, stride=stride
    )
    told(1, 1)
    return fitted


def is_of_one_value(stack: Stack, c: int, fit: FitSettings, told: Progress) -> bool:
    """Whether all pixels of a channel have one value, in planes spread over it."""
    return len(_values(stack, c, fit, told)) < 2


def left_alone(stack: Stack, c: int, fit: FitSettings, auto: Auto, told: Progress) -> LeftAlone:
    """What stands for the denoiser of such a channel, with a note."""
    names = stack.image.channels
    of = f"channel {names[c] if names else stack.channel_indices[c]}"
    what = " and ".join(f"{value:g}" for value in _values(stack, c, fit, told)) or "no number"
    told.note(f"{of} holds nothing but {what}, and is left as it is")
    return LeftAlone(
        weights=np.empty((0, fit_size(auto)), np.float32),
        positions=np.empty(0),
        intensity=measure_channel(stack, c, fit, told),
        preset=auto,
        channel=stack.channel_indices[c],
        nan=fit.nan,
    )


def _values(stack: Stack, c: int, fit: FitSettings, told: Progress) -> list[float]:
    """Values that there are, of which no more than two are told; NaN left out."""
    _, _, slices, rows, columns = stack.image.shape
    kept, found = stack.kept, set[float]()
    for i, z in spread_places((0, len(kept)), (0, slices), INTENSITY_PLANES):
        told.advance(0)  # slow storage: let it be stopped between two planes
        plane = read_sample(stack, c, Sample(kept[i], z, (0, rows), (0, columns)), fit, told)
        if plane.dtype.kind == "f":
            plane = plane[np.isfinite(plane)]
        if plane.size:
            found |= {float(plane.min()), float(plane.max())}
        if len(found) > 1:
            break
    return sorted(found)


def _require_enough(stack: Stack) -> None:
    """Refuse so few pixels that structure would pass for noise."""
    _, _, slices, rows, columns = stack.image.shape
    if len(stack.kept) * slices * (rows // SIDE) * (columns // SIDE) < FEWEST:
        side = 3 * SIDE
        raise NoiseUnknown(
            f"{stack.path}: noise: {rows} x {columns} pixels do not tell it from structure; "
            f"{side} x {side} or more are needed"
        )


def _everywhere(stack: Stack) -> list[Sample]:
    shape = stack.image.shape
    return training_samples(shape, Window(0, shape[0]), "t", TILE, stack.excluded)


def _sampled(
    stack: Stack, c: int, fit: FitSettings, samples: list[Sample], told: Progress
) -> tuple[Planes, Light]:
    """Pixels of samples, shape (samples, y, x), and which of them carry light."""
    planes = np.stack([read_sample(stack, c, sample, fit, told) for sample in samples])
    if fit.nan == "refuse":
        return planes, None
    light = np.stack([valid_pixels(plane, partial(told.advance, 0)) for plane in planes])
    return planes, None if light.all() else light
