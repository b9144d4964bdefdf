"""`run_unit`: the only place where planes are read, denoised and written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.devices import DevicePool, device_kind
from fm2s_stack.fm2s.denoiser import Denoised, Denoiser
from fm2s_stack.fm2s.fit import EachDraw, Fitted, fit_network
from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.image import StackAxis
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.finite import require_finite
from fm2s_stack.store.omezarr import OutputLayout
from fm2s_stack.store.weights import write_weights

DISPLAY_PERCENTS = (0.5, 99.9)
DISPLAY_PIXELS = 2**18


@dataclass(frozen=True, eq=False)
class Job:
    """All that a unit needs; pickles."""

    stack: Stack  #: where planes come from
    layout: OutputLayout  #: where they go
    along: StackAxis  #: the stack axis
    fit: FitSettings  #: with the mode decided
    denoisers: tuple[Denoiser, ...]  #: one a channel; without networks in mode ``frame``


@dataclass(frozen=True)
class UnitRecord:
    """What became of a unit."""

    index: int  #: of the unit
    t: tuple[int, int]  #: frames of the output
    c: int  #: channel of the output
    z: tuple[int, int]  #: slices of the output
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns
    device: str  #: kind of device: ``cpu`` or ``cuda``
    seconds: float  #: from the first read to the last write
    clipped: int  #: pixels clipped to the range of the output's dtype
    display: tuple[float, float]  #: grey levels that hold nearly all pixels
    loss: tuple[float, ...] = ()  #: of each plane's network, in mode ``frame``


def run_unit(job: Job, unit: Unit, devices: DevicePool, progress: Progress) -> UnitRecord:
    """Read a unit's planes, denoise them on a leased device, and write its files.

    The lease covers the computing only, so that several units in flight overlap reading,
    computing and writing. In mode ``frame`` the networks are trained here too, and stored
    with the unit.

    Raises
    ------
    StackError
        If a plane cannot be read.
    OutputError
        If a file cannot be written.
    """
    started = time.perf_counter()
    output = np.empty(unit.shape, job.layout.image.dtype)
    clipped, fitted = 0, []
    for run in block_runs(job, unit):
        planes, core = _read(job, run)
        with devices.lease() as device:
            if job.fit.mode == "frame":
                result, networks = _fit_and_denoise(job, run, planes, device, progress)
                fitted += networks
            else:
                result = _denoise(job, run, planes, core, device)
                progress.advance(len(planes))
        output[_inside(unit, run)] = result.planes.reshape(run.shape)
        clipped += result.clipped
    job.layout.write(unit, output)
    if fitted:
        _store_networks(job, unit, fitted)
    return UnitRecord(
        index=unit.index, t=unit.t, c=unit.c, z=unit.z, y=unit.y, x=unit.x,
        device=device_kind(devices.device),
        seconds=round(time.perf_counter() - started, 3),
        clipped=clipped,
        display=_display(output),
        loss=tuple(network.loss for network in fitted),
    )  # fmt: skip


def block_runs(job: Job, unit: Unit) -> Iterator[Unit]:
    """The unit cut along the stack where the input's blocks end: one block is read once."""
    axis = 0 if job.along == "t" else 2
    start, stop = unit.t if job.along == "t" else unit.z
    edges = np.cumsum(job.stack.array.chunks[axis]).tolist()
    cuts = [start, *(edge for edge in edges if start < edge < stop), stop]
    for a, b in pairwise(cuts):
        t, z = ((a, b), unit.z) if job.along == "t" else (unit.t, (a, b))
        yield Unit(unit.index, t, unit.c, z, unit.y, unit.x)


def _read(job: Job, run: Unit) -> tuple[NDArray[np.generic], tuple[tuple[int, int], ...]]:
    """Planes (n, y, x) with the halo, and where the run's own rows and columns are in them."""
    halo = job.denoisers[run.c].halo
    *_, rows, columns = job.stack.array.shape
    y = (max(run.y[0] - halo, 0), min(run.y[1] + halo, rows))
    x = (max(run.x[0] - halo, 0), min(run.x[1] + halo, columns))
    lazy = job.stack.array[slice(*run.t), run.c : run.c + 1, slice(*run.z), slice(*y), slice(*x)]
    planes = np.asarray(lazy.compute(scheduler="synchronous"))
    if job.fit.nan == "refuse":
        require_finite(job.stack, planes, run.t[0], run.c, run.z[0])
    core = ((run.y[0] - y[0], run.y[1] - y[0]), (run.x[0] - x[0], run.x[1] - x[0]))
    return planes.reshape(-1, *planes.shape[3:]), core


def _positions(job: Job, run: Unit) -> NDArray[np.float64]:
    """Source index along the stack axis of each plane of a run."""
    start, origin = (run.t, job.stack.t_start) if job.along == "t" else (run.z, job.stack.z_start)
    along = np.arange(*start, dtype=np.float64) + origin
    across = run.shape[2] if job.along == "t" else run.shape[0]
    return np.repeat(along, across) if job.along == "t" else np.tile(along, across)


def _denoise(
    job: Job, run: Unit, planes: NDArray[np.generic], core: tuple, device: str
) -> Denoised:
    return job.denoisers[run.c].denoise(
        planes, _positions(job, run), core=core, dtype=job.layout.image.dtype, device=device
    )


def _fit_and_denoise(
    job: Job, run: Unit, planes: NDArray[np.generic], device: str, progress: Progress
) -> tuple[Denoised, list[Fitted]]:
    """Train a network on each plane and use it there: the published protocol."""
    channel = job.denoisers[run.c]
    results, networks = [], []
    places = [(t, z) for t in range(*run.t) for z in range(*run.z)]
    for plane, (t, z) in zip(planes, places, strict=True):
        source = (channel.channel, job.stack.t_start + t, job.stack.z_start + z)
        fitted = fit_plane(
            plane,
            channel,
            job.fit,
            stream_seed(job.fit.seed, *source),
            device,
            lambda done, total: progress.advance(0),  # a fit takes long: let it be stopped
        )
        network = channel.with_network(fitted.weights)
        nowhere = np.zeros(1)
        results.append(
            network.denoise(plane[None], nowhere, dtype=job.layout.image.dtype, device=device)
        )
        networks.append(fitted)
        progress.advance(1)
    stacked = np.concatenate([result.planes for result in results])
    return Denoised(stacked, sum(result.clipped for result in results)), networks


def fit_plane(
    plane: NDArray[np.generic],
    channel: Denoiser,
    fit: FitSettings,
    seed: int,
    device: str,
    each_draw: EachDraw | None = None,
) -> Fitted:
    """Train a network on one plane, with the channel's intensity map."""
    unit = channel.intensity.to_unit(plane)
    if fit.nan == "refuse":
        return fit_network(unit[None], fit, seed, device=device, progress=each_draw)
    valid = valid_pixels(plane)
    filled = fill_invalid(np.where(valid, unit, 0).astype(np.float32), valid)
    return fit_network(
        filled[None], fit, seed, valid=valid[None], device=device, progress=each_draw
    )


def _store_networks(job: Job, unit: Unit, fitted: list[Fitted]) -> None:
    grid = (unit.shape[0], 1, unit.shape[2])
    weights = np.stack([network.weights for network in fitted])
    loss = np.array([network.loss for network in fitted], np.float32)
    write_weights(
        job.layout.path,
        weights.reshape(*grid, -1),
        loss.reshape(grid),
        (unit.t[0], unit.c, unit.z[0]),
    )


def _inside(unit: Unit, run: Unit) -> tuple[slice, ...]:
    return (
        slice(run.t[0] - unit.t[0], run.t[1] - unit.t[0]),
        slice(None),
        slice(run.z[0] - unit.z[0], run.z[1] - unit.z[0]),
    )


def _display(output: NDArray[np.generic]) -> tuple[float, float]:
    flat = output.reshape(-1)
    sample = flat[:: max(1, flat.size // DISPLAY_PIXELS)].astype(np.float64)
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, DISPLAY_PERCENTS)
    return float(low), float(high)
