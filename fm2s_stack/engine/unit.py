"""`run_unit`: the only place where planes are read, denoised and written."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.compute import compute_unit
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.job import Job, checkpoints_of
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.fm2s.fit import Fitted
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress
from fm2s_stack.stack.frame_ranges import FrameRanges
from fm2s_stack.store.integrity import flush_files
from fm2s_stack.store.weights import write_weights

DISPLAY_PERCENTS = (0.5, 99.9)
DISPLAY_PIXELS = 2**18


def run_unit(job: Job, unit: Unit, devices: DevicePool, progress: Progress) -> UnitRecord:
    """Read a unit's planes, denoise them on a leased device, write its files, journal it.

    The lease covers the computing only, so that several units in flight overlap reading,
    computing and writing. In mode ``frame`` the networks are trained here too, and stored
    with the unit. Cut at any instant, the unit is either journaled, its files whole and on
    the disk, or to be done again.

    Raises
    ------
    StackError
        If a plane cannot be read.
    OutputError
        If a file cannot be written, or the output is held by another run by now.
    """
    started = time.perf_counter()
    made = compute_unit(job, unit, devices, progress)
    if job.claim is not None:
        job.claim.require()
    with devices.writing:
        keys = job.layout.write(unit, made.planes)
    if made.networks:
        keys += _store_networks(job, unit, made.networks)
    files = flush_files(job.layout.path, keys)
    record = UnitRecord(
        index=unit.index, t=unit.t, c=unit.c, z=unit.z, y=unit.y, x=unit.x,
        device=devices.kind,
        seconds=round(time.perf_counter() - started, 3),
        clipped=made.clipped,
        display=_display(made.planes, job.stack.excluded.moved(-unit.t[0])),
        loss=tuple(network.loss for network in made.networks if math.isfinite(network.loss)),
        bad=made.bad,
        source_crc32=made.source_crc32, source_stamp=job.stack.identity.times.stamp,
        files=files,
    )  # fmt: skip
    job.journal.append("unit", record.row())
    if made.networks:
        _forget_checkpoints(job, unit)
    return record


def _store_networks(job: Job, unit: Unit, fitted: Sequence[Fitted]) -> tuple[str, ...]:
    grid = (unit.shape[0], 1, unit.shape[2])
    weights = np.stack([network.weights for network in fitted])
    loss = np.array([network.loss for network in fitted], np.float32)
    return write_weights(
        job.layout.path,
        weights.reshape(*grid, -1),
        loss.reshape(grid),
        (unit.t[0], unit.c, unit.z[0]),
    )


def _forget_checkpoints(job: Job, unit: Unit) -> None:
    """Remove the states of a journaled unit's fits; what stays is only litter."""
    channel, checkpoints = job.denoisers[unit.c].channel, checkpoints_of(job.journal)
    for t, z in product(range(*unit.t), range(*unit.z)):
        with suppress(OSError):
            checkpoints.of(channel, job.stack.t_start + t, job.stack.z_start + z).remove()


def _display(output: NDArray[np.generic], excluded: FrameRanges) -> tuple[float, float] | None:
    """Grey levels that hold nearly all pixels of planes (t, 1, z, y, x); None if none counts."""
    parts = [output[a:b].reshape(-1) for a, b in excluded.gaps(0, len(output))]
    if not parts:
        return None
    step = max(1, sum(part.size for part in parts) // DISPLAY_PIXELS)
    sample = np.concatenate([part[::step] for part in parts]).astype(np.float64)
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, DISPLAY_PERCENTS)
    return float(low), float(high)
