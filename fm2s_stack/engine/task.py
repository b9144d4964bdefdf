"""The computing of a run of planes that were read: on the CPU plane by plane, on a GPU together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.job import Job, checkpoints_of
from fm2s_stack.fm2s.checkpoint import Checkpoint
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_networks
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress, Pulse, unheard
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.frame_ranges import FrameRanges

Result = tuple[int, list[Fitted]]  #: pixels clipped, and networks trained


@dataclass(frozen=True, eq=False)
class Task:
    """Planes to denoise, and where the results go."""

    job: Job
    denoiser: Denoiser  #: of the run's channel
    run: Unit  #: whose planes they are
    planes: NDArray[np.generic]  #: shape (n, y, x), with the halo around the run's own pixels
    core: Core  #: rows and columns of `planes` that are the run's own
    kept: tuple[int, ...]  #: numbers of the planes that are denoised: not of excluded frames
    output: NDArray[np.generic]  #: filled; shape (n, rows, columns) of the core

    def denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Denoise with the job's networks."""
        denoiser, positions = self.denoiser, self._positions()
        pulse = partial(progress.advance, 0)
        if devices.kind == "cpu":

            def one(number: int) -> int:
                i = self.kept[number]
                clipped = denoiser.fill(
                    self.planes[i], positions[i], self.core, self.output[i], pulse
                )
                progress.advance(1)
                return clipped

            return sum(devices.each(one, len(self.kept))), []

        def some(span: slice, device: str) -> int:
            own = self.planes[span], positions[span], self.core, self.output[span]
            return denoiser.denoise_into(*own, device, pulse)

        clipped = 0
        for span in self._spans():
            clipped += compute_on(
                devices,
                partial(some, span),
                pulse,
                tf32=denoiser.precision == "tf32",
                note=progress.note,
            )
            progress.advance(span.stop - span.start)
        return clipped, []

    def fit_and_denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Train a network on each plane and use it there: the published protocol.

        On a GPU planes of the run that follow each other are trained together; which those are
        never changes. Planes of excluded frames get none: `no_network` stands there.
        """
        pulse = partial(progress.advance, 0)
        is_cpu = devices.kind == "cpu"
        spans = [slice(i, i + 1) for i in self.kept] if is_cpu else self._spans()

        def one(number: int) -> Result:
            span = spans[number]
            if is_cpu:
                done = self._fit_some(span, "cpu", pulse)
            else:
                fit = partial(self._fit_some, span, pulse=pulse)
                done = compute_on(devices, fit, pulse, note=progress.note)
            progress.advance(span.stop - span.start)
            return done

        each = devices.each(one, len(spans)) if is_cpu else [one(n) for n in range(len(spans))]
        networks = [no_network()] * len(self.planes)
        for span, (_, fitted) in zip(spans, each, strict=True):
            networks[span] = fitted
        return sum(clipped for clipped, _ in each), networks

    def _spans(self) -> list[slice]:
        """Runs of planes that are denoised, between excluded ones."""
        runs = FrameRanges.of((i, i + 1) for i in self.kept).runs
        return [slice(*run) for run in runs]

    def _fit_some(self, some: slice, device: str, pulse: Pulse) -> Result:
        """Train on some planes at once, and denoise each with its network."""
        channel, fit = self.denoiser, self.job.fit
        sources = [self._source(i) for i in range(some.start, some.stop)]
        checkpoint = checkpoints_of(self.job.journal).of(*sources[0])
        seeds = [stream_seed(fit.seed, *source) for source in sources]
        networks = fit_planes(self.planes[some], channel, fit, seeds, device, pulse, checkpoint)
        clipped = 0
        for i, fitted in enumerate(networks, some.start):
            own, network = slice(i, i + 1), channel.with_network(fitted.weights)
            clipped += network.denoise_into(
                self.planes[own], np.zeros(1), self.core, self.output[own], device, pulse
            )
        return clipped, networks

    def _source(self, i: int) -> tuple[int, int, int]:
        """Channel, frame and slice of a plane in the source."""
        run, stack = self.run, self.job.stack
        t, z = divmod(i, run.shape[2])
        return self.denoiser.channel, stack.t_start + run.t[0] + t, stack.z_start + run.z[0] + z

    def _positions(self) -> NDArray[np.float64]:
        """Source index along the stack axis of each plane."""
        number = 1 if self.job.along == "t" else 2
        return np.array([self._source(i)[number] for i in range(len(self.planes))], np.float64)


def no_network() -> Fitted:
    """What stands where a plane has no network of its own, being copied as it is."""
    return Fitted(np.zeros(COLLAPSED, np.float32), math.nan)


def fit_planes(
    planes: NDArray[np.generic],
    channel: Denoiser,
    fit: FitSettings,
    seeds: Sequence[int],
    device: str,
    pulse: Pulse = unheard,
    checkpoint: Checkpoint | None = None,
) -> list[Fitted]:
    """Train a network on each plane (n, y, x), with the channel's intensity map."""
    units, masks = [], []
    for plane in planes:
        unit, valid = channel.intensity.to_unit(plane), None
        if fit.nan == "keep":
            valid = valid_pixels(plane, pulse)
            unit = fill_invalid(np.where(valid, unit, 0).astype(np.float32), valid)
        units.append(unit[None])
        masks.append(None if valid is None else valid[None])
    return fit_networks(
        units, fit, seeds, valid=masks, device=device, pulse=pulse, checkpoint=checkpoint
    )
