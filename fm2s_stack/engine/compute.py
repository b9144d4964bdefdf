"""`compute_unit`: reading a unit's planes and denoising them; nothing is written here."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.task import Task
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
        planes, core, made_up = _read(job, run)
        bad += made_up
        crc32 = zlib.crc32(np.ascontiguousarray(planes).data, crc32)
        part = output[_inside(unit, run)]  # whole along the other axes: a view after reshaping
        task = Task(job, run, planes, core, part.reshape(len(planes), *part.shape[3:]))
        result = task.fit_and_denoise if job.fit.mode == "frame" else task.denoise
        count, networks = result(devices, progress)
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
        crc32 = zlib.crc32(np.ascontiguousarray(_read(job, run)[0]).data, crc32)
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


def _read(job: Job, run: Unit) -> tuple[NDArray[np.generic], Core, tuple[BadFrame, ...]]:
    """Planes (n, y, x) with the halo; the run's own rows and columns in them; made-up ones."""
    halo = job.denoisers[run.c].halo
    *_, rows, columns = job.stack.array.shape
    y = (max(run.y[0] - halo, 0), min(run.y[1] + halo, rows))
    x = (max(run.x[0] - halo, 0), min(run.x[1] + halo, columns))
    box = Box(run.t, run.c, run.z, y, x)
    planes, bad = read_box(job.stack, box, job.along, job.fit.on_bad_frame)
    if job.fit.nan == "refuse":
        require_finite(job.stack, planes, run.t[0], run.c, run.z[0])
    core = ((run.y[0] - y[0], run.y[1] - y[0]), (run.x[0] - x[0], run.x[1] - x[0]))
    return planes.reshape(-1, *planes.shape[3:]), core, bad


def _inside(unit: Unit, run: Unit) -> tuple[slice, ...]:
    return (
        slice(run.t[0] - unit.t[0], run.t[1] - unit.t[0]),
        slice(None),
        slice(run.z[0] - unit.z[0], run.z[1] - unit.z[0]),
    )
