"""Denoising a run of planes by themselves, by the noise that was measured; on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import PlanewiseDenoiser, fit_planewise
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.job import Job
from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress

Result = tuple[int, list[Fitted]]  #: pixels clipped, and fits


@dataclass(frozen=True, eq=False)
class PlanewiseTask:
    """Planes to denoise, and where the results go."""

    job: Job
    denoiser: PlanewiseDenoiser | LeftAlone  #: of the run's channel
    run: Unit  #: whose planes they are
    planes: NDArray[np.generic]  #: shape (n, y, x), with the halo around the run's own pixels
    core: Core  #: rows and columns of `planes` that are the run's own
    kept: tuple[int, ...]  #: numbers of the planes that are denoised: not of excluded frames
    output: NDArray[np.generic]  #: filled; shape (n, rows, columns) of the core

    def denoise(self, devices: DevicePool, progress: Progress) -> Result:
        """Denoise with the job's fits, or in mode ``frame`` with one of each plane."""
        pulse = partial(progress.advance, 0)

        def one(number: int) -> Result:
            i = self.kept[number]
            denoiser, fitted = self._own(i, pulse)
            clipped = denoiser.fill(
                self.planes[i], self._position(i), self.core, self.output[i], pulse
            )
            progress.advance(1)
            return clipped, fitted

        each = devices.each(one, len(self.kept))
        return sum(clipped for clipped, _ in each), self._networks([own for _, own in each])

    def _networks(self, fitted: list[list[Fitted]]) -> list[Fitted]:
        """A fit for each plane of the run in mode ``frame``, nothing where it is copied."""
        if self.job.fit.mode != "frame":
            return []
        networks = [self._nothing(math.nan)] * len(self.planes)
        for i, (own,) in zip(self.kept, fitted, strict=True):
            networks[i] = own
        return networks

    def _nothing(self, loss: float) -> Fitted:
        return Fitted(np.zeros(self.denoiser.weights.shape[1], np.float32), loss)

    def _own(
        self, i: int, pulse: partial[None]
    ) -> tuple[PlanewiseDenoiser | LeftAlone, list[Fitted]]:
        """What denoises a plane, and what was fitted for it."""
        denoiser = self.denoiser
        if self.job.fit.mode != "frame":
            return denoiser, []
        fitted = self._nothing(0.0)
        if isinstance(denoiser, PlanewiseDenoiser):
            seed = stream_seed(self.job.fit.seed, denoiser.channel, *self._source(i))
            light = denoiser.light_of(self.planes[i], self._position(i), pulse)
            fitted = fit_planewise(
                denoiser,
                self.planes[i][None],
                None if light is None else light[None],
                seed,
                draws=self.job.fit.draws,
                progress=lambda done, total: pulse(),
            )
        return denoiser.with_network(fitted.weights), [fitted]

    def _source(self, i: int) -> tuple[int, int]:
        """Frame and slice of a plane in the source."""
        t, z = divmod(i, self.run.shape[2])
        stack = self.job.stack
        return stack.t_start + self.run.t[0] + t, stack.z_start + self.run.z[0] + z

    def _position(self, i: int) -> float:
        """Source index of a plane along the stack axis."""
        t, z = self._source(i)
        return float(t if self.job.along == "t" else z)
