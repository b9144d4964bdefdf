"""`compute_unit`: reading a unit's planes and denoising them; nothing is written here."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.engine.job import Job, checkpoints_of
from fm2s_stack.fm2s.checkpoint import Checkpoint
from fm2s_stack.fm2s.denoiser import Denoised, Denoiser
from fm2s_stack.fm2s.fit import Fitted, fit_network
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress, Pulse, unheard
from fm2s_stack.settings import FitSettings
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
    """Read a unit's planes and denoise them on a leased device; nothing is written.

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
        if job.fit.mode == "frame":
            result, networks = _fit_and_denoise(job, run, planes, devices, progress)
            fitted += networks
        else:
            result = _denoise(job, run, planes, core, devices, progress)
            progress.advance(len(planes))
        output[_inside(unit, run)] = result.planes.reshape(run.shape)
        clipped += result.clipped
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


def _read(
    job: Job, run: Unit
) -> tuple[NDArray[np.generic], tuple[tuple[int, int], ...], tuple[BadFrame, ...]]:
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


def _positions(job: Job, run: Unit) -> NDArray[np.float64]:
    """Source index along the stack axis of each plane of a run."""
    start, origin = (run.t, job.stack.t_start) if job.along == "t" else (run.z, job.stack.z_start)
    along = np.arange(*start, dtype=np.float64) + origin
    across = run.shape[2] if job.along == "t" else run.shape[0]
    return np.repeat(along, across) if job.along == "t" else np.tile(along, across)


def _denoise(
    job: Job,
    run: Unit,
    planes: NDArray[np.generic],
    core: tuple,
    devices: DevicePool,
    progress: Progress,
) -> Denoised:
    positions, pulse = _positions(job, run), partial(progress.advance, 0)
    return compute_on(
        devices,
        lambda device: job.denoisers[run.c].denoise(
            planes, positions, core=core, dtype=job.layout.image.dtype, device=device, pulse=pulse
        ),
        pulse,
    )


def _fit_and_denoise(
    job: Job, run: Unit, planes: NDArray[np.generic], devices: DevicePool, progress: Progress
) -> tuple[Denoised, list[Fitted]]:
    """Train a network on each plane and use it there: the published protocol."""
    results, networks = [], []
    places = [(t, z) for t in range(*run.t) for z in range(*run.z)]
    for plane, (t, z) in zip(planes, places, strict=True):
        result, fitted = _fit_and_denoise_plane(job, run.c, plane, (t, z), devices, progress)
        results.append(result)
        networks.append(fitted)
        progress.advance(1)
    stacked = np.concatenate([result.planes for result in results])
    return Denoised(stacked, sum(result.clipped for result in results)), networks


def _fit_and_denoise_plane(
    job: Job,
    c: int,
    plane: NDArray[np.generic],
    place: tuple[int, int],
    devices: DevicePool,
    progress: Progress,
) -> tuple[Denoised, Fitted]:
    channel, pulse = job.denoisers[c], partial(progress.advance, 0)
    source = (channel.channel, job.stack.t_start + place[0], job.stack.z_start + place[1])
    checkpoint = checkpoints_of(job.journal).of(*source)

    def compute(device: str) -> tuple[Denoised, Fitted]:
        seed = stream_seed(job.fit.seed, *source)
        fitted = fit_plane(plane, channel, job.fit, seed, device, pulse, checkpoint)
        network, dtype = channel.with_network(fitted.weights), job.layout.image.dtype
        return network.denoise(
            plane[None], np.zeros(1), dtype=dtype, device=device, pulse=pulse
        ), fitted

    return compute_on(devices, compute, pulse)


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


def _inside(unit: Unit, run: Unit) -> tuple[slice, ...]:
    return (
        slice(run.t[0] - unit.t[0], run.t[1] - unit.t[0]),
        slice(None),
        slice(run.z[0] - unit.z[0], run.z[1] - unit.z[0]),
    )
