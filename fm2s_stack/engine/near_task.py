"""Denoising a run of planes from themselves and their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Place
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.seen import Seen
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.near import Surroundings
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress


def with_neighbours(job: Job, denoiser: NeighbourDenoiser, run: Unit) -> Unit:
    """The run with the planes around it that its own are made of."""
    own = run.t if job.along == "t" else run.z
    around = Surroundings.of(job.stack, job.along)
    kept = [p for p in range(*own) if p not in around.excluded]
    windows = [around.window(denoiser.reach, p) for p in kept]
    seen = [plane for window in windows for plane in (*window.planes, *window.past)]
    needed = (min([own[0], *seen]), max([own[1] - 1, *seen]) + 1)
    t, z = (needed, run.z) if job.along == "t" else (run.t, needed)
    return Unit(run.index, t, run.c, z, run.y, run.x)


@dataclass(frozen=True, eq=False)
class NearTask:
    """Planes to denoise with their neighbours, and where the results go."""

    job: Job
    denoiser: NeighbourDenoiser
    run: Unit  #: whose planes they are
    read: Unit  #: what was read, with neighbours and halo
    planes: NDArray[np.generic]  #: of what was read, shape (t, z, y, x)
    core: Core  #: rows and columns of `planes` that are the run's own
    kept: tuple[int, ...]  #: numbers of the run's planes that are denoised: not excluded ones
    output: NDArray[np.generic]  #: filled; shape (n, rows, columns) of the core

    def denoise(self, devices: DevicePool, progress: Progress) -> int:
        """Denoise the planes of the run; how many pixels were clipped."""
        pulse = partial(progress.advance, 0)
        light = self._light(pulse)
        around = Surroundings.of(self.job.stack, self.job.along)

        def one(number: int, device: str = "cpu") -> int:
            i = self.kept[number]
            seen, place = self._window(i, light, around)
            clipped = self.denoiser.fill(seen, place, self.core, self.output[i], device, pulse)
            progress.advance(1)
            return clipped

        if devices.kind == "cpu":
            return sum(devices.each(one, len(self.kept)))
        return sum(
            compute_on(
                devices,
                partial(one, i),
                pulse,
                tf32=self.denoiser.precision == "tf32",
                note=progress.note,
            )
            for i in range(len(self.kept))
        )

    def _light(self, pulse: partial[None]) -> NDArray[np.object_]:
        """Which pixels of each plane that was read carry light, shape (t, z)."""
        light = np.empty(self.planes.shape[:2], dtype=object)
        for place in np.ndindex(light.shape):
            if place[0] + self.read.t[0] in self.job.stack.excluded:
                continue  # nobody sees it, whatever is in it
            light[place] = self.denoiser.light_of(self.planes[place], self._position(*place), pulse)
        return light

    def _window(
        self, i: int, light: NDArray[np.object_], around: Surroundings
    ) -> tuple[Seen, Place]:
        t, z = divmod(i, self.run.shape[2])
        t, z = t + self.run.t[0] - self.read.t[0], z + self.run.z[0] - self.read.z[0]
        is_movie = self.job.along == "t"
        at, first = (t, self.read.t[0]) if is_movie else (z, self.read.z[0])
        window = around.window(self.denoiser.reach, at + first).moved(-first)
        beside = np.s_[:, z] if is_movie else np.s_[t]
        seen = Seen.of(window, self.planes[beside], light[beside].tolist())
        other = z + self.read.z[0] if is_movie else t + self.read.t[0]
        origin = (self.read.y[0], self.read.x[0])
        return seen, Place(self._position(t, z), other, origin)

    def _position(self, t: int, z: int) -> float:
        """Source index along the stack axis of a plane that was read."""
        stack = self.job.stack
        if self.job.along == "t":
            return float(stack.t_start + self.read.t[0] + t)
        return float(stack.z_start + self.read.z[0] + z)
