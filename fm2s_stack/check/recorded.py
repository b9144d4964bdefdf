"""The run that made an output, from what the output tells: its input, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.job.planning import stack_axis
from fm2s_stack.job.reload import preset_of
from fm2s_stack.job.target import Target
from fm2s_stack.job.terms import differences, job_terms
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import FrameRanges
from fm2s_stack.stack.open import open_stack

Told = Mapping[str, Any]


def open_source(told: Told, source: str | Path, cache_dir: str | Path | None) -> Stack:
    """Open an input as that of an output was opened, with nothing selected of it yet.

    Parameters
    ----------
    told
        The attribute ``fm2s_stack`` of the output.
    source
        The input.
    cache_dir
        Folder of page tables; None: the user's cache folder.

    Raises
    ------
    StackError
        If it cannot be opened.
    """
    asked = told["selection"]["asked"]
    series = asked.get("series")
    return open_stack(
        source,
        axes=asked.get("axes"),
        series=None if series is None else int(series),
        cache_dir=cache_dir,
    )


def difference_to(told: Told, stack: Stack) -> str:
    """In what an input is not that of an output; empty if it is."""
    made = told["source"]
    if stack.identity.digest == made["digest"]:
        return ""
    sizes = f"{stack.identity.size} bytes, expected {made['size']}"
    same = stack.identity.size == made["size"]
    how = "the same size, but other bytes" if same else sizes
    return f"is not what the output was made of ({made['name']}): {how}"


def select_recorded(told: Told, stack: Stack) -> Stack:
    """The part of an input that an output was made of."""
    selection = told["selection"]
    names, kept = stack.image.channels, selection["channels"]
    chosen = [] if kept == list(stack.channel_indices) else kept
    # A number may be the name of another channel: the name goes first, where there is one.
    words = [names[c] if c < len(names) and names.index(names[c]) == c else str(c) for c in chosen]
    first_t, last_t = selection["frames"]
    first_z, last_z = selection["slices"]
    selected = stack.select(
        frames=(first_t, last_t), slices=(first_z, last_z), channels=tuple(words)
    )
    excluded = FrameRanges.of((a, b) for a, b in selection.get("excluded", ()))
    return selected.split_at(selection.get("cuts", ())).without(excluded)


def recorded_wanted(target: Target, told: Told, stack: Stack, run: RunSettings) -> Wanted:
    """What the run that made an output was asked to make, to continue it.

    Parameters
    ----------
    target
        The output.
    told
        Its attribute ``fm2s_stack``.
    stack
        From `select_recorded`.
    run
        Where to compute.

    Raises
    ------
    OutputError
        If it cannot be made again: by other arithmetic, or its record cannot be understood.
    """
    try:
        fit, write = _fit_settings(told), _write_settings(told)
        along = told["settings"]["run"]["along"]
        lent = told["terms"]["fit_from"]
        made = dict(told["terms"])
    except (KeyError, TypeError) as error:
        raise OutputError(f"{target.path}: its record cannot be understood ({error!r})") from error
    image = stack.image.with_dtype(np.dtype(write.dtype))
    run = replace(run, along=along, units=None)
    terms = job_terms(stack, fit, write, image, along, fit_from=lent)
    if other := differences(made, terms):
        raise OutputError(f"{target.path} cannot be made again here: {', '.join(other[:3])}")
    return Wanted(
        stack=stack,
        target=target,
        image=image,
        along=stack_axis(stack, run, write),
        fit=fit,
        write=write,
        run=run,
        borrowed=None,  # its own networks are used, wherever they came from
        fit_from=None,
        command=(),
        terms=terms,
    )


def _fit_settings(told: Told) -> FitSettings:
    kept = dict(told["settings"]["fit"])
    kept["mode"] = "stack" if kept["mode"] == "from" else kept["mode"]
    # What happens to bad frames may have been changed while the output was made.
    kept["on_bad_frame"] = told["terms"]["fit.on_bad_frame"]
    return FitSettings(preset_of(told["preset"]), **kept)


def _write_settings(told: Told) -> WriteSettings:
    names = {field.name for field in fields(WriteSettings)} - {"overwrite"}
    kept = {key: value for key, value in told["settings"]["write"].items() if key in names}
    chunks = kept.get("chunks")
    return WriteSettings(**{**kept, "chunks": None if chunks is None else tuple(chunks)})
