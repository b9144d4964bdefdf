"""Open, plan, fit, apply, write, seal: the whole line, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fm2s_stack.borrow import borrow, require_axis
from fm2s_stack.engine.devices import DevicePool, device_kind, find_device, usable_threads
from fm2s_stack.engine.local import run_local
from fm2s_stack.engine.unit import Job, UnitRecord
from fm2s_stack.errors import UsageError
from fm2s_stack.fitting import measure_channels, train_channels
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.image import StackAxis
from fm2s_stack.memory import peak_memory
from fm2s_stack.plan import Plan
from fm2s_stack.planning import decide_mode, output_dtype, plan_stack
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.record import job_attributes, load_denoisers, seal_output, store_fit
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.omezarr import OutputLayout
from fm2s_stack.target import Target, find_target

__all__ = ["Summary", "denoise_stack", "fit_stack", "load_denoisers", "plan_stack"]


@dataclass(frozen=True)
class Summary:
    """What a run did and cost."""

    output: str  #: what was written
    source: str  #: what was read
    axes: str  #: axes of the output
    shape: tuple[int, ...]  #: lengths along them
    dtype: str  #: pixel type of the output
    planes: int  #: planes denoised
    units: int  #: units they were cut into
    device: str  #: where it was computed
    fit_seconds: float  #: training
    apply_seconds: float  #: reading, denoising and writing
    total_seconds: float  #: from the plan to the end
    planes_per_second: float  #: of the apply step, disk to disk
    loss: tuple[float, ...]  #: last training loss of each network, channel by channel
    clipped: int  #: pixels clipped to the range of the output's dtype
    projected_bytes: int  #: peak memory that was projected
    peak_bytes: int | None  #: peak resident memory of the process, where it can be told


def denoise_stack(
    stack: Stack,
    output: str | Path,
    fit: FitSettings | str | None = None,
    *,
    write: WriteSettings = WriteSettings(),  # noqa: B008 - frozen
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    fit_from: str | Path | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Summary:
    """Denoise a stack into an OME-Zarr, a TIFF or a PNG, by the output's suffix.

    Parameters
    ----------
    stack
        From `open_stack`.
    output
        ``.zarr``; ``.tif`` or ``.tiff``: OME-TIFF; ``.png`` for one plane.
    fit
        How to train: settings, or the name of a preset; None only with `fit_from`.
    write, run
        What the output looks like, and where to compute.
    fit_from
        An output whose networks and intensity maps are used instead of training.
    command
        The command line, for the provenance.
    progress
        Told what happens; None: silent.

    Returns
    -------
    Summary
        What was done and what it cost.

    Raises
    ------
    Fm2sError
        One of `fm2s_stack.errors`. An output that was begun says ``incomplete``.
    """
    started, told = time.perf_counter(), progress or Silent()
    borrowed = None if fit_from is None else borrow(stack, fit_from)
    settings = _settings(stack, fit, borrowed)
    target = find_target(output, overwrite=write.overwrite)
    image = stack.image.with_dtype(output_dtype(stack, write))
    target.check(stack.path, image)
    devices = DevicePool(find_device(run.device), usable_threads(run.threads))
    plan = plan_stack(stack, settings, write=write, run=run, trained=borrowed is not None)
    plan.require_memory()
    _tell(stack, plan, devices, told)
    if borrowed is None or fit_from is None:
        denoisers = _fit(stack, settings, plan.along, devices, told)
    else:
        require_axis(borrowed, fit_from, plan.along)
        denoisers = tuple(replace(denoiser, nan=settings.nan) for denoiser in borrowed)
    fitted = time.perf_counter()

    layout = OutputLayout(str(target.zarr), image, plan.levels, write.ome_zarr)
    job = Job(stack, layout, plan.along, settings, denoisers)
    target.clear()
    layout.create(job_attributes(job, write, run, command, fit_from))
    store_fit(job, plan)
    told.start(*_step(job, plan, devices))
    records = run_local(job, plan, devices, told)
    told.finish()
    applied = time.perf_counter()
    timings = {"fit": fitted - started, "apply": applied - fitted}
    seal_output(job, records, timings, devices.device)
    target.export()
    return _summary(job, plan, target, devices, records, (started, fitted, applied))


def fit_stack(
    stack: Stack,
    fit: FitSettings | str,
    *,
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> tuple[Denoiser, ...]:
    """Train on a stack: one denoiser a channel.

    Parameters
    ----------
    stack
        From `open_stack`.
    fit
        Settings, or the name of a preset. The mode ``frame``, of which `denoise_stack` trains
        a network for each plane as it goes, is ``stack`` here where there are several planes.
    run
        Where to compute.
    progress
        Told what happens; None: silent.

    Raises
    ------
    Fm2sError
        If settings, device or pixels cannot be used.
    """
    settings = _settings(stack, fit, None)
    if settings.mode == "frame":
        settings = replace(settings, mode="stack")
    devices = DevicePool(find_device(run.device), usable_threads(run.threads))
    along = run.along or stack.image.default_along()
    return _fit(stack, settings, along, devices, progress or Silent())


def _settings(
    stack: Stack, fit: FitSettings | str | None, borrowed: tuple[Denoiser, ...] | None
) -> FitSettings:
    if isinstance(fit, str):
        fit = FitSettings(find_preset(fit))
    if borrowed is not None:
        nan = fit.nan if fit is not None else borrowed[0].nan
        return FitSettings(borrowed[0].preset, mode="stack", nan=nan)
    if fit is None:
        raise UsageError("no preset: give one, or networks of another output to use")
    return decide_mode(stack, fit)


def _fit(
    stack: Stack,
    fit: FitSettings,
    along: StackAxis,
    devices: DevicePool,
    progress: Progress,
) -> tuple[Denoiser, ...]:
    channels = measure_channels(stack, fit)
    if fit.mode == "frame":
        return channels
    return train_channels(stack, channels, fit, along, devices, progress)


def _step(job: Job, plan: Plan, devices: DevicePool) -> tuple[str, int, str]:
    """Name, amount and kind of the work that the units are."""
    first = plan.units[0]
    *_, rows, columns = plan.levels[0].shape
    tiles = -(-rows // first.y[1]) * -(-columns // first.x[1])  # of one plane
    name = "fit and denoise" if job.fit.mode == "frame" else "denoise"
    unit = "planes" if tiles == 1 else "tiles of planes"
    return f"{name} on {devices.device}", job.stack.image.planes * tiles, unit


def _tell(stack: Stack, plan: Plan, devices: DevicePool, progress: Progress) -> None:
    for note in stack.notes:
        progress.note(note)
    image, count = stack.image, len(plan.units)
    sizes = " x ".join(map(str, image.real_shape))
    progress.note(
        f"{stack.format}, {image.axes} {sizes} {image.dtype}: {count} unit{'s' * (count > 1)} "
        f"on {devices.device}, {plan.projected_bytes / 1e9:.2f} GB of memory at most"
    )


def _summary(
    job: Job,
    plan: Plan,
    target: Target,
    devices: DevicePool,
    records: Sequence[UnitRecord],
    times: tuple[float, float, float],
) -> Summary:
    started, fitted, applied = times
    image = job.layout.image
    loss = [f for denoiser in job.denoisers for f in denoiser.loss]
    return Summary(
        output=str(target.path),
        source=job.stack.path,
        axes=image.axes,
        shape=image.real_shape,
        dtype=image.dtype.name,
        planes=image.planes,
        units=len(plan.units),
        device=device_kind(devices.device),
        fit_seconds=round(fitted - started, 3),
        apply_seconds=round(applied - fitted, 3),
        total_seconds=round(time.perf_counter() - started, 3),
        planes_per_second=round(image.planes / (applied - fitted), 2),
        loss=tuple(loss or (f for record in records for f in record.loss)),
        clipped=sum(record.clipped for record in records),
        projected_bytes=plan.projected_bytes,
        peak_bytes=peak_memory(),
    )
