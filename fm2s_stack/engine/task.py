"""The computing of a run of planes that were read: on the CPU plane by plane, on a GPU together."""

from __future__ import annotations

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
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress, Pulse, unheard
from fm2s_stack.settings import FitSettings

Result = tuple[int, list[Fitted]]  #: pixels clipped, and networks trained


@dataclass(frozen=True, eq=False)
class Task:
    """Planes to denoise, and where the results go."""

    job: Job
    denoiser: Denoiser  #: of the run's channel
    run: Unit  #: whose planes they are
    planes: NDArray[np.generic]  #: shape (n, y, x), with the halo around the run's own pixels
    core: Core  #: rows and columns of `planes` that are the run's own
    output: NDArray[np.generic]  #: filled; shape (n, rows, columns) of the core

    def denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Denoise with the job's networks."""
        denoiser, positions = self.denoiser, self._positions()
        pulse = partial(progress.advance, 0)
        if devices.kind == "cpu":

            def one(i: int) -> int:
                clipped = denoiser.fill(
                    self.planes[i], positions[i], self.core, self.output[i], pulse
                )
                progress.advance(1)
                return clipped

            return sum(devices.each(one, len(self.planes))), []
        clipped = compute_on(
            devices,
            lambda device: denoiser.denoise_into(
                self.planes, positions, self.core, self.output, device, pulse
            ),
            pulse,
            tf32=denoiser.precision == "tf32",
            note=progress.note,
        )
        progress.advance(len(self.planes))
        return clipped, []

    def fit_and_denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Train a network on each plane and use it there: the published protocol.

        On a GPU the planes of the run are trained together; which those are never changes.
        """
        count, pulse = len(self.planes), partial(progress.advance, 0)
        if devices.kind == "cpu":

            def one(i: int) -> Result:
                done = self._fit_some(slice(i, i + 1), "cpu", pulse)
                progress.advance(1)
                return done

            each = devices.each(one, count)
            return sum(clipped for clipped, _ in each), [fitted[0] for _, fitted in each]
        together = compute_on(
            devices,
            lambda device: self._fit_some(slice(0, count), device, pulse),
            pulse,
            note=progress.note,
        )
        progress.advance(count)
        return together

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
