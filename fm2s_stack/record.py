"""What joins an output to the run that made it: its provenance, networks and their reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.engine.devices import device_kind
from fm2s_stack.engine.unit import Job, UnitRecord
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.plan import Plan
from fm2s_stack.settings import PIXEL_VERSION, NanPolicy, Preset, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.attributes import read_attributes, require_complete, seal
from fm2s_stack.store.headers import write_headers
from fm2s_stack.store.provenance import describe_job, describe_result
from fm2s_stack.store.weights import (
    create_weights,
    read_loss,
    read_weights,
    stored_weights_sha256,
    write_weights,
)


@dataclass(frozen=True)
class Selection:
    """Which part of the source an output was made of."""

    format: str  #: what the source was read as
    asked: Mapping[str, str]  #: options given at opening that change what is read
    frames: tuple[int, int]  #: source index of the first frame, and one past the last
    slices: tuple[int, int]  #: source index of the first slice, and one past the last
    channels: tuple[int, ...]  #: source index of each channel
    breaks: tuple[int, ...]  #: frames at which a new file or trial starts
    notes: tuple[str, ...]  #: what was assumed or dropped

    @classmethod
    def of(cls, stack: Stack) -> Selection:
        """The selection that a stack is."""
        frames, _, slices, _, _ = stack.image.shape
        return cls(
            stack.format,
            stack.asked,
            (stack.t_start, stack.t_start + frames),
            (stack.z_start, stack.z_start + slices),
            stack.channel_indices,
            stack.breaks,
            stack.notes,
        )


def job_attributes(
    job: Job,
    write: WriteSettings,
    run: RunSettings,
    command: Sequence[str],
    fit_from: str | Path | None,
) -> Mapping[str, object]:
    """The provenance known before the first unit."""
    fit = {key: value for key, value in asdict(job.fit).items() if key != "preset"}
    return {
        **describe_job(
            command=command,
            pixel_version=PIXEL_VERSION,
            source=job.stack.identity,
            selection=Selection.of(job.stack),
            settings={
                "fit": fit if fit_from is None else {"mode": "from", "nan": job.fit.nan},
                "fit_from": None if fit_from is None else Path(fit_from).name,
                "write": {**asdict(write), "dtype": job.layout.image.dtype.name},
                "run": {**asdict(run), "along": job.along},
            },
            seed=job.fit.seed if fit_from is None else read_attributes(fit_from)["seed"],
            preset=job.fit.preset,
        ),
        "intensity": [_intensity(denoiser) for denoiser in job.denoisers],
    }


def store_fit(job: Job, plan: Plan) -> None:
    """Write the networks and raw headers into a new output."""
    path = job.layout.path
    frames, channels, slices = job.layout.image.shape[:3]
    if job.fit.mode == "frame":
        first = plan.units[0].shape
        create_weights(path, (frames, channels, slices, COLLAPSED), depth=(first[0], first[2]))
    else:
        weights, loss = _windows(job)
        knots = job.denoisers[0].positions.tolist()
        create_weights(path, weights.shape, knots=knots)
        write_weights(path, weights, loss)
    if job.stack.headers:
        write_headers(path, job.stack.headers)


def _windows(job: Job) -> tuple[Any, Any]:
    """Weights (t windows, c, z windows, parameters) and losses of all channels."""
    weights = np.stack([denoiser.weights for denoiser in job.denoisers])  # (c, windows, p)
    loss = np.array([denoiser.loss for denoiser in job.denoisers], np.float32)
    if job.along == "t":
        return weights.transpose(1, 0, 2)[:, :, None], loss.T[:, :, None]
    return weights[None], loss[None]


def seal_output(
    job: Job, records: Sequence[UnitRecord], timings: Mapping[str, float], device: str
) -> None:
    """Write the rest of the provenance and turn the status to ``complete``."""
    path = job.layout.path
    displays = [
        [record.display for record in records if record.c == c]
        for c in range(job.layout.image.shape[1])
    ]
    seal(
        path,
        describe_result(
            intensity=[_intensity(denoiser) for denoiser in job.denoisers],
            weights_sha256=stored_weights_sha256(path),
            device=device_kind(device),
            timings=timings,
            loss=read_loss(path),
            clipped=sum(record.clipped for record in records),
            units=[_row(record) for record in records],
        ),
        [(min(low for low, _ in own), max(high for _, high in own)) for own in displays],
    )


def load_denoisers(path: str | Path) -> tuple[Denoiser, ...]:
    """The denoisers that made an output, one a channel.

    Parameters
    ----------
    path
        A complete OME-Zarr of `denoise_stack`.

    Raises
    ------
    OutputIncomplete
        If it was never sealed.
    OutputError
        If it is no output of ours, or damaged.
    UsageError
        If every plane of it has a network of its own, which fits no other plane.
    """
    if not Path(path).is_dir():
        raise OutputError(f"{path}: no such output; give an OME-Zarr that fm2s-stack made")
    require_complete(path)
    told = _Told.of(path)
    if told.per_plane:
        raise UsageError(
            f"{path} was made with --fit frame, a network for each plane; "
            "expected one of --fit stack or --fit-every"
        )
    stored = read_weights(path)
    positions = stored.knots if len(stored.knots) else np.zeros(1)
    return tuple(
        Denoiser(
            weights=stored.weights[:, i].reshape(-1, COLLAPSED),
            positions=positions,
            intensity=told.maps[i],
            preset=told.preset,
            channel=channel,
            loss=tuple(stored.loss[:, i].ravel().tolist()),
            nan=told.nan,
        )
        for i, channel in enumerate(told.channels)
    )


@dataclass(frozen=True)
class _Told:
    """What the provenance of an output says of its denoisers."""

    preset: Preset
    channels: tuple[int, ...]
    maps: tuple[IntensityMap, ...]
    nan: NanPolicy
    per_plane: bool

    @classmethod
    def of(cls, path: str | Path) -> _Told:
        told = read_attributes(path)
        try:
            selection, fit = told["selection"], told["settings"]["fit"]
            spans = (selection["frames"], selection["slices"])
            return cls(
                preset=Preset(**told["preset"]),
                channels=tuple(selection["channels"]),
                maps=tuple(
                    IntensityMap(m["low"], m["high"], m["clamp"]) for m in told["intensity"]
                ),
                nan=fit["nan"],
                per_plane=fit["mode"] == "frame" and any(b - a > 1 for a, b in spans),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path}: its provenance is damaged ({error}); make it anew"
            ) from error


def _intensity(denoiser: Denoiser) -> dict[str, object]:
    return {"channel": denoiser.channel, **asdict(denoiser.intensity)}


def _row(record: UnitRecord) -> dict[str, object]:
    left_out = ("display", "loss")
    return {key: value for key, value in asdict(record).items() if key not in left_out}
