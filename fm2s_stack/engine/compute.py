"""`compute_unit`: reading a unit's planes and denoising them; nothing is written here."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.excluded import copy_excluded, kept_planes
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.near_task import NearTask, with_neighbours
from fm2s_stack.engine.planewise_task import PlanewiseTask
from fm2s_stack.engine.task import Result, Task
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress
from fm2s_stack.stack.bad_frames import BadFrame, read_box
from fm2s_stack.stack.finite import require_finite
from fm2s_stack.stack.reading import Box


@dataclass(frozen=True, eq=False)
class Computed:
    """A unit's pixels, and what was met on the way; nothing is written yet."""

    planes: NDArray[np.generic]  #: axes tczyx, dtype of the output
    clipped: int  #: pixels clipped to the range of the dtype
    networks: tuple[Fitted, ...]  #: of each plane, in mode ``frame``
    bad: tuple[BadFrame, ...]  #: planes that were made up
    source_crc32: int = 0  #: as `source_checksum`


def compute_unit(job: Job, unit: Unit, devices: DevicePool, progress: Progress) -> Computed:
    """Read a unit's planes and denoise them on leased devices; nothing is written.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    output = np.empty(unit.shape, job.layout.image.dtype)
    clipped, fitted, crc32 = 0, [], 0
    bad: list[BadFrame] = []
    for run in block_runs(job, unit):
        read, planes, made_up = _read(job, run)
        bad += made_up
        crc32 = zlib.crc32(np.ascontiguousarray(planes).data, crc32)
        part = output[_inside(unit, run)]  # whole along the other axes: a view after reshaping
        result = part.reshape(-1, *part.shape[3:])
        count, networks = _denoise(job, run, read, planes, result, devices, progress)
        clipped += count
        fitted += networks
    return Computed(output, clipped, tuple(fitted), tuple(bad), crc32)


def source_checksum(job: Job, unit: Unit) -> int:
    """CRC-32 over the planes that a unit reads, in order, with their halo; nothing is computed.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    crc32 = 0
    for run in block_runs(job, unit):
        crc32 = zlib.crc32(np.ascontiguousarray(_read(job, run)[1]).data, crc32)
    return crc32


def block_runs(job: Job, unit: Unit) -> Iterator[Unit]:
    """The unit cut along the stack where the input's blocks end: one block is read once."""
    axis = 0 if job.along == "t" else 2
    start, stop = unit.t if job.along == "t" else unit.z
    edges = np.cumsum(job.stack.array.chunks[axis]).tolist()
    cuts = [start, *(edge for edge in edges if start < edge < stop), stop]
    for a, b in pairwise(cuts):
        t, z = ((a, b), unit.z) if job.along == "t" else (unit.t, (a, b))
        yield Unit(unit.index, t, unit.c, z, unit.y, unit.x)


def _denoise(
    job: Job,
    run: Unit,
    read: Unit,
    planes: NDArray[np.generic],
    result: NDArray[np.generic],
    devices: DevicePool,
    progress: Progress,
) -> Result:
    """Denoise a run of what was read into `result`, shape (n, y, x)."""
    denoiser, kept = job.denoisers[run.c], kept_planes(job.stack, run)
    core: Core = (_moved(run.y, read.y[0]), _moved(run.x, read.x[0]))
    copied = copy_excluded(job, run, read, planes[:, 0], core, result, progress)
    if isinstance(denoiser, NeighbourDenoiser):
        near = NearTask(job, denoiser, run, read, planes[:, 0], core, kept, result)
        return copied + near.denoise(devices, progress), []
    each = planes.reshape(-1, *planes.shape[3:])
    if isinstance(denoiser, Denoiser):
        task = Task(job, denoiser, run, each, core, kept, result)
        how = task.fit_and_denoise if job.fit.mode == "frame" else task.denoise
    else:
        how = PlanewiseTask(job, denoiser, run, each, core, kept, result).denoise
    clipped, networks = how(devices, progress)
    return copied + clipped, networks


def _read(job: Job, run: Unit) -> tuple[Unit, NDArray[np.generic], tuple[BadFrame, ...]]:
    """What is read for a run, with halo and neighbours; planes (t, 1, z, y, x); made-up ones."""
    denoiser = job.denoisers[run.c]
    *_, rows, columns = job.stack.array.shape
    y = (max(run.y[0] - denoiser.halo, 0), min(run.y[1] + denoiser.halo, rows))
    x = (max(run.x[0] - denoiser.halo, 0), min(run.x[1] + denoiser.halo, columns))
    near = with_neighbours(job, denoiser, run) if isinstance(denoiser, NeighbourDenoiser) else run
    read = replace(near, y=y, x=x)
    box = Box(read.t, read.c, read.z, read.y, read.x)
    planes, bad = read_box(job.stack, box, job.along, job.fit.on_bad_frame)
    if job.fit.nan == "refuse":
        require_finite(job.stack, planes, read.t[0], read.c, read.z[0])
    return read, planes, tuple(one for one in bad if _is_own(job, run, one))


def _is_own(job: Job, run: Unit, bad: BadFrame) -> bool:
    """Whether a plane that was made up is of the run, and not only a neighbour of it."""
    t, z = bad.t - job.stack.t_start, bad.z - job.stack.z_start
    return run.t[0] <= t < run.t[1] and run.z[0] <= z < run.z[1]


def _moved(bounds: tuple[int, int], by: int) -> tuple[int, int]:
    return bounds[0] - by, bounds[1] - by


def _inside(unit: Unit, run: Unit) -> tuple[slice, ...]:
    return (
        slice(run.t[0] - unit.t[0], run.t[1] - unit.t[0]),
        slice(None),
        slice(run.z[0] - unit.z[0], run.z[1] - unit.z[0]),
    )
