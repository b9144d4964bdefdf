"""The terms of a job: all that decides its pixels and files, and the token made of them.

Two runs may share an output only if their terms agree. Where a run happens (device, memory,
threads, engine) is no term; how the units were cut is kept beside them, in the output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b

from fm2s_stack.image import Image, StackAxis
from fm2s_stack.settings import PIXEL_VERSION, FitSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.provenance import Json, jsonable

Terms = Mapping[str, Json]

MOST_TOLD = 80  #: characters of one term in a message: of excluded frames there may be many

_NAMES: Mapping[str, str] = {
    "pixel_version": "the arithmetic of this version of fm2s-stack",
    "source": "the content of the input",
    "fit_from": "the networks of --fit-from",
    "fit.mode": "--fit",
    "fit.every": "--fit-every",
    "fit.crop": "--fit-crop",
    "fit.draws": "--steps",
    "shape": "shape of the output",
    "channels": "--channel",
    "ome_zarr": "--ome-zarr",
}


def job_terms(
    stack: Stack,
    fit: FitSettings,
    write: WriteSettings,
    image: Image,
    along: StackAxis,
    *,
    fit_from: str | None = None,
) -> Terms:
    """The terms of a run.

    Parameters
    ----------
    stack
        The input; its place and time stamps are no terms, a copy is the same stack.
    fit
        With the mode decided.
    write
        What the output looks like.
    image
        Of the output.
    along
        The stack axis.
    fit_from
        sha256 of borrowed networks; None: trained on the stack.
    """
    trained = {f"fit.{key}": value for key, value in asdict(fit).items() if key != "preset"}
    preset = {f"preset.{k}": v for k, v in asdict(fit.preset).items() if k != "name"}
    if fit_from is not None:
        kept = ("fit.nan", "fit.on_bad_frame")
        trained, preset = {key: trained[key] for key in kept if key in trained}, {}
    told = {
        "pixel_version": PIXEL_VERSION,
        "source": stack.identity.digest,
        "frames": (stack.t_start, stack.t_start + stack.image.shape[0]),
        "slices": (stack.z_start, stack.z_start + stack.image.shape[2]),
        "channels": stack.channel_indices,
        **{f"--{key}": value for key, value in stack.asked.items()},
        **_left_apart(stack),
        "along": along,
        "fit_from": fit_from,
        **trained,
        **preset,
        "shape": image.shape,
        "dtype": image.dtype.name,
        "precision": write.precision,
        "pyramid": write.pyramid,
        "ome_zarr": write.ome_zarr,
        "chunks": write.chunks,
    }
    return {key: jsonable(value) for key, value in told.items()}


def _left_apart(stack: Stack) -> dict[str, str]:
    """The trials and excluded frames that the user named, by source index, where there are any."""
    told = {}
    if stack.cuts:
        told["--breaks"] = ",".join(str(frame + stack.t_start) for frame in stack.cuts)
    if stack.excluded:
        # The number first: of a long list a message shows the beginning.
        count, runs = stack.excluded.count, stack.excluded.moved(stack.t_start)
        told["--exclude-frames"] = f"{count} frame{'s' * (count > 1)}, {runs}"
    return told


def token_of(terms: Terms, weights_sha256: str = "") -> str:
    """A short name that other terms, or other networks, do not have."""
    text = json.dumps([dict(terms), weights_sha256], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def differences(made: Mapping[str, object], wanted: Terms) -> list[str]:
    """What differs between the terms of an output and those of a run, one text each."""
    keys = [*wanted, *(key for key in made if key not in wanted)]
    return [
        f"{_name(key)} ({_text(made.get(key))} there, {_text(wanted.get(key))} now)"
        for key in keys
        if made.get(key) != wanted.get(key)
    ]


def _name(key: str) -> str:
    """What a user calls it."""
    if key in _NAMES or key.startswith("--"):
        return _NAMES.get(key, key)
    name = key.removeprefix("fit.").removeprefix("preset.")
    return "--" + name.replace("_", "-")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ":".join(map(_text, value))
    text = "none" if value is None else str(value)
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}..."
