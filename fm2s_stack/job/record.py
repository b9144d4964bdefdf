"""What joins an output to the run that made it: its provenance, networks and their reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.numbers import unpacked
from fm2s_stack.auto.planewise import PlanewiseDenoiser
from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.image import StackAxis
from fm2s_stack.job.terms import token_of
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.plan import Plan
from fm2s_stack.settings import PIXEL_VERSION
from fm2s_stack.stack.base import Identity, Stack
from fm2s_stack.stack.frame_ranges import Bounds
from fm2s_stack.store.attributes import read_attributes, set_attributes
from fm2s_stack.store.files import sync_folder
from fm2s_stack.store.frozen import keep_frozen
from fm2s_stack.store.headers import write_headers
from fm2s_stack.store.integrity import flush_files
from fm2s_stack.store.inventory import side_keys
from fm2s_stack.store.provenance import describe_job
from fm2s_stack.store.studies import write_study
from fm2s_stack.store.weights import (
    create_weights,
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
    breaks: tuple[int, ...]  #: frames of the output at which a file or trial starts
    cuts: tuple[int, ...]  #: source indices of frames at which further trials were said to start
    excluded: tuple[Bounds, ...]  #: runs of frames that stay as they are: source index of the
    #: first, and one past the last
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
            tuple(frame + stack.t_start for frame in stack.cuts),
            stack.excluded.moved(stack.t_start).runs,
            stack.notes,
        )


def job_attributes(wanted: Wanted, denoisers: Sequence[AnyDenoiser]) -> Mapping[str, object]:
    """The provenance known before the first unit."""
    fit = {key: value for key, value in asdict(wanted.fit).items() if key != "preset"}
    if wanted.borrowed is not None:
        fit = {"mode": "from", "nan": wanted.fit.nan, "on_bad_frame": wanted.fit.on_bad_frame}
    return {
        **describe_job(
            command=wanted.command,
            pixel_version=PIXEL_VERSION,
            source=_source(wanted.stack.identity),
            selection=Selection.of(wanted.stack),
            settings={
                "fit": fit,
                "fit_from": None if wanted.fit_from is None else wanted.fit_from.name,
                "write": {**asdict(wanted.write), "dtype": wanted.image.dtype.name},
                "run": _run_settings(wanted),
            },
            seed=wanted.fit.seed
            if wanted.fit_from is None
            else read_attributes(wanted.fit_from)["seed"],
            preset=wanted.fit.preset,
        ),
        "intensity": [_intensity(denoiser) for denoiser in denoisers],
        "noise": [_noise(denoiser) for denoiser in denoisers],
        "terms": wanted.terms,
    }


def _source(identity: Identity) -> Mapping[str, object]:
    """What an output tells of its input."""
    return {key: getattr(identity, key) for key in ("name", "size", "mtime", "digest")}


def _run_settings(wanted: Wanted) -> dict[str, object]:
    """Where the run happened; of a cluster only that there was one, since an address is private."""
    told = {**asdict(wanted.run), "along": wanted.along}
    return {**told, "scheduler": wanted.run.scheduler and "given"}


def freeze(wanted: Wanted, denoisers: Sequence[AnyDenoiser], plan: Plan, fit_seconds: float) -> str:
    """Write networks and raw headers into a new output; from then on it can be continued.

    Returns
    -------
    str
        The job's token, which the output has when everything else is on the disk.
    """
    path = str(wanted.target.zarr)
    sha256 = _store_fit(wanted, denoisers, plan)
    keys = side_keys(path, ())
    flush_files(path, keys)
    sync_folder(wanted.target.zarr.parent)
    token, cut = token_of(wanted.terms, sha256), plan.cut
    frozen = {
        "token": token,
        "weights_sha256": sha256 or None,
        "photometry": [_photometry(denoiser) for denoiser in denoisers],
        "plan": {**asdict(cut), "along": plan.along, "units": len(plan.units)},
        "timings": {"fit": round(fit_seconds, 3)},
    }
    keep_frozen(path, keys, **frozen)
    set_attributes(path, **frozen)
    return token


def _store_fit(wanted: Wanted, denoisers: Sequence[AnyDenoiser], plan: Plan) -> str:
    """Write the networks; their sha256, or nothing where units will bring them."""
    path = wanted.target.zarr
    frames, channels, slices = wanted.image.shape[:3]
    if wanted.stack.headers:
        write_headers(path, wanted.stack.headers)
    if wanted.fit.mode == "frame":
        first = plan.units[0].shape
        size = denoisers[0].weights.shape[-1]
        create_weights(path, (frames, channels, slices, size), depth=(first[0], first[2]))
        return ""
    for c, denoiser in enumerate(denoisers):
        if isinstance(denoiser, NeighbourDenoiser):
            write_study(path, c, denoiser.study)
    weights, loss = _windows(denoisers, plan.along)
    create_weights(path, weights.shape, knots=denoisers[0].positions.tolist())
    write_weights(path, weights, loss)
    return stored_weights_sha256(path)


def _windows(denoisers: Sequence[AnyDenoiser], along: StackAxis) -> tuple[Any, Any]:
    """Weights (t windows, c, z windows, parameters) and losses of all channels."""
    weights = np.stack([denoiser.weights for denoiser in denoisers])  # (c, windows, p)
    loss = np.array([denoiser.loss for denoiser in denoisers], np.float32)
    if along == "t":
        return weights.transpose(1, 0, 2)[:, :, None], loss.T[:, :, None]
    return weights[None], loss[None]


def _noise(denoiser: AnyDenoiser) -> dict[str, object] | None:
    """What was measured of the noise; None with a preset, or of a channel without any."""
    if isinstance(denoiser, NeighbourDenoiser | PlanewiseDenoiser):
        return denoiser.noise.as_json()
    return None


def _photometry(denoiser: AnyDenoiser) -> dict[str, object] | None:
    """What was measured to make up for what denoising takes; None but for networks of auto."""
    if not isinstance(denoiser, NeighbourDenoiser):
        return None
    shifts = denoiser.background.level_map
    return {
        "levels": [round(level, 3) for level in shifts.levels.tolist()],
        "shifts": [round(shift, 4) for shift in shifts.shifts.tolist()],
        "heed": [round(unpacked(numbers)[1], 6) for numbers in denoiser.weights],
    }


def _intensity(denoiser: AnyDenoiser) -> dict[str, object]:
    return {"channel": denoiser.channel, **asdict(denoiser.intensity)}
