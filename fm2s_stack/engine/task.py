"""The computing of a run of planes that were read: on the CPU plane by plane, on a GPU together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.job import Job, checkpoints_of
from fm2s_stack.fm2s.checkpoint import Checkpoint
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_network
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
    run: Unit  #: whose planes they are
    planes: NDArray[np.generic]  #: shape (n, y, x), with the halo around the run's own pixels
    core: Core  #: rows and columns of `planes` that are the run's own
    output: NDArray[np.generic]  #: filled; shape (n, rows, columns) of the core

    def denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Denoise with the job's networks."""
        denoiser, positions = self.job.denoisers[self.run.c], self._positions()
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
        """Train a network on each plane and use it there: the published protocol."""
        if devices.kind == "cpu":
            done = devices.each(partial(self._fit_one, progress=progress), len(self.planes))
        else:
            done = [self._fit_on(devices, i, progress) for i in range(len(self.planes))]
        return sum(clipped for clipped, _ in done), [fitted for _, fitted in done]

    def _fit_one(self, i: int, progress: Progress, device: str = "cpu") -> tuple[int, Fitted]:
        channel, pulse = self.job.denoisers[self.run.c], partial(progress.advance, 0)
        source = self._source(i)
        checkpoint = checkpoints_of(self.job.journal).of(*source)
        seed = stream_seed(self.job.fit.seed, *source)
        fitted = fit_plane(self.planes[i], channel, self.job.fit, seed, device, pulse, checkpoint)
        network, one = channel.with_network(fitted.weights), slice(i, i + 1)
        clipped = network.denoise_into(
            self.planes[one], np.zeros(1), self.core, self.output[one], device, pulse
        )
        progress.advance(1)
        return clipped, fitted

    def _fit_on(self, devices: DevicePool, i: int, progress: Progress) -> tuple[int, Fitted]:
        return compute_on(
            devices,
            lambda device: self._fit_one(i, progress, device),
            partial(progress.advance, 0),
            note=progress.note,
        )

    def _source(self, i: int) -> tuple[int, int, int]:
        """Channel, frame and slice of a plane in the source."""
        run, stack = self.run, self.job.stack
        t, z = divmod(i, run.shape[2])
        channel = self.job.denoisers[run.c].channel
        return channel, stack.t_start + run.t[0] + t, stack.z_start + run.z[0] + z

    def _positions(self) -> NDArray[np.float64]:
        """Source index along the stack axis of each plane."""
        number = 1 if self.job.along == "t" else 2
        return np.array([self._source(i)[number] for i in range(len(self.planes))], np.float64)


def fit_plane(
    plane: NDArray[np.generic],
    channel: Denoiser,
    fit: FitSettings,
    seed: int,
    device: str,
    pulse: Pulse = unheard,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train a network on one plane, with the channel's intensity map."""
    unit, valid = channel.intensity.to_unit(plane), None
    if fit.nan == "keep":
        valid = valid_pixels(plane, pulse)
        unit = fill_invalid(np.where(valid, unit, 0).astype(np.float32), valid)
        valid = valid[None]
    return fit_network(
        unit[None], fit, seed, valid=valid, device=device, pulse=pulse, checkpoint=checkpoint
    )
