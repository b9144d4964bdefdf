"""Fitting a stack: which planes are sampled, and the networks trained on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_network
from fm2s_stack.fm2s.intensity import IntensityMap, measure_intensity
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.image import StackAxis
from fm2s_stack.planning import (
    FIT_PLANES,
    INTENSITY_PIXELS,
    INTENSITY_PLANES,
    affordable_planes,
)
from fm2s_stack.progress import Progress, Stoppable
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.finite import require_finite


@dataclass(frozen=True)
class Window:
    """A run along the stack axis that shares one network, indices into the stack."""

    start: int  #: first plane
    stop: int  #: one past the last

    @property
    def centre(self) -> float:
        """Where the network applies alone."""
        return (self.start + self.stop - 1) / 2


def fit_windows(length: int, fit: FitSettings) -> tuple[Window, ...]:
    """The windows of a stack: one, or runs of ``fit.every`` planes.

    A last window of less than half the planes is joined to the one before it, so that no
    network is trained on a few planes alone.
    """
    if fit.mode != "every":
        return (Window(0, length),)
    starts = list(range(0, length, fit.every))
    if len(starts) > 1 and 2 * (length - starts[-1]) < fit.every:
        starts.pop()
    stops = [*starts[1:], length]
    return tuple(Window(a, b) for a, b in zip(starts, stops, strict=True))


def measure_channels(stack: Stack, fit: FitSettings) -> tuple[Denoiser, ...]:
    """One denoiser a channel with its intensity map, and no network yet."""
    return tuple(
        Denoiser(
            weights=np.empty((0, COLLAPSED), np.float32),
            positions=np.empty(0),
            intensity=_measure_channel(stack, c, fit),
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
) -> tuple[Denoiser, ...]:
    """The denoisers with a network for each channel and window.

    Fits run side by side, one a device slot; each has its own random stream, so that the
    order never shows.
    """
    axis, origin = (0, stack.t_start) if along == "t" else (2, stack.z_start)
    windows = fit_windows(stack.image.shape[axis], fit)
    tasks = [(c, window) for c in range(len(channels)) for window in windows]
    told = Stoppable(progress)
    told.start("fit", len(tasks) * fit.draws, "draws")

    def train(task: tuple[int, Window]) -> Fitted:
        c, window = task
        return _train(stack, channels[c], c, window, fit, along, devices, told)

    with ThreadPoolExecutor(devices.slots, thread_name_prefix="fit") as threads:
        try:
            fitted = list(threads.map(train, tasks))
        except BaseException:  # a failed fit, or an interrupt of the waiting thread
            told.stop()
            raise
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
) -> Fitted:
    places = _places(stack, window, along, FIT_PLANES)
    planes, valid = _training_planes(stack, channel.intensity, places, c, fit)
    t, z = (window.start, 0) if along == "t" else (0, window.start)
    seed = stream_seed(fit.seed, channel.channel, stack.t_start + t, stack.z_start + z)
    with devices.lease() as device:
        return fit_network(
            planes, fit, seed, valid=valid, device=device,
            progress=lambda done, total: progress.advance(1),
        )  # fmt: skip


def _training_planes(
    stack: Stack,
    intensity: IntensityMap,
    places: list[tuple[int, int]],
    c: int,
    fit: FitSettings,
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    planes = [_sample(stack, t, c, z, fit) for t, z in places]
    unit = [intensity.to_unit(plane) for plane in planes]
    if fit.nan == "refuse":
        return np.stack(unit), None
    valid = [valid_pixels(plane) for plane in planes]
    filled = [
        fill_invalid(np.where(good, plane, 0).astype(np.float32), good)
        for plane, good in zip(unit, valid, strict=True)
    ]
    return np.stack(filled), np.stack(valid)


def _measure_channel(stack: Stack, c: int, fit: FitSettings) -> IntensityMap:
    whole = Window(0, stack.image.shape[0])
    places = _places(stack, whole, "t", INTENSITY_PLANES)
    pixels = math.prod(stack.image.shape[3:]) * len(places)
    step = -(-pixels // INTENSITY_PIXELS)
    samples = []
    for t, z in places:
        plane = _sample(stack, t, c, z, fit)
        good = valid_pixels(plane) if fit.nan == "keep" else np.ones(plane.shape, bool)
        samples.append(plane[good][::step])
    return measure_intensity(np.concatenate(samples), stack.image.dtype)


def _sample(stack: Stack, t: int, c: int, z: int, fit: FitSettings) -> NDArray[np.generic]:
    plane = stack.plane(t, c, z)
    if fit.nan == "refuse":
        require_finite(stack, plane[None, None, None], t, c, z)
    return plane


def _places(stack: Stack, window: Window, along: StackAxis, most: int) -> list[tuple[int, int]]:
    """(frame, slice) of planes spread evenly over a window, first of all over time."""
    frames, _, slices, rows, columns = stack.image.shape
    t_range = (window.start, window.stop) if along == "t" else (0, frames)
    z_range = (window.start, window.stop) if along == "z" else (0, slices)
    count = affordable_planes(rows * columns, most)
    return spread_places(t_range, z_range, count)


def spread_places(
    frames: tuple[int, int], slices: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """At most `count` distinct (frame, slice) pairs, evenly spread over both ranges."""
    t_count, z_count = frames[1] - frames[0], slices[1] - slices[0]
    if t_count * z_count <= count:
        return [(t, z) for t in range(*frames) for z in range(*slices)]
    chosen: dict[tuple[int, int], None] = {}
    for i in range(count):
        # The golden ratio visits slices evenly whatever their number; frames go in order.
        z = int(((i + 0.5) * (math.sqrt(5) - 1) / 2 % 1) * z_count) if t_count > 1 else 0
        t = (2 * i + 1) * t_count // (2 * count)
        if t_count == 1:
            z = (2 * i + 1) * z_count // (2 * count)
        chosen[frames[0] + t, slices[0] + z] = None
    return list(chosen)
