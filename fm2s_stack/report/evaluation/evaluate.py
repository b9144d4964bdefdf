"""`evaluate`: open, look at a sample of the truth, measure all frames in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fm2s_stack.metrics import (
    AgainstTruth,
    Event,
    WithoutTruth,
    adjacent_pairs,
    find_events,
    isolated,
    trust_line,
    without_truth,
)
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.report.evaluation.beside import Regions, events_of, regions_of, simulated_detector
from fm2s_stack.report.evaluation.passes import (
    NOISY,
    RESULT,
    TRUTH,
    Look,
    look_at_truth,
    measure,
    similarities,
)
from fm2s_stack.report.evaluation.recordings import Recordings, open_recordings

PathLike = str | Path


@dataclass(frozen=True)
class Column:
    """One recording, measured against the truth."""

    path: str  #: as given
    measures: AgainstTruth  #: all but SSIM
    ssim: float | None  #: mean over up to 64 frames; None of planes below 7x7


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found."""

    shape: tuple[int, int, int, int]  #: lengths along t, z, y, x
    truth: str  #: its path, as given
    dark: float | None  #: grey level without light; None: not known
    saturated: float | None  #: grey level at which the detector saturates; None: not known
    regions: int  #: how many regions there were
    adjacent: int  #: how many pairs of them are adjacent
    events: int  #: how many events
    isolated: int  #: how many of them have calm before
    columns: Mapping[str, Column]  #: ``noisy`` where given, ``result``, then others by name
    trust: WithoutTruth | None  #: measures without truth, where the noisy movie is given
    trust_line: str | None  #: of them
    notes: tuple[str, ...]  #: what was used, and what was left out and why


def evaluate(
    result: PathLike,
    truth: PathLike,
    noisy: PathLike | None = None,
    *,
    against: Sequence[PathLike] = (),
    regions: PathLike | None = None,
    traces: PathLike | None = None,
    dark: float | None = None,
    saturated: float | None = None,
    channel: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a result against its truth.

    Movies, z-stacks and single images; memory does not grow with their length but by the
    traces. Each file is read once, and some frames of it again.

    Parameters
    ----------
    result, truth
        Anything that `open_stack` opens, of one shape, in the same grey levels.
    noisy
        What the result was made from; it is measured beside it.
    against
        Other results to measure beside it.
    regions
        Label image of cells; None: what a simulation left beside the truth, else what
        changes most in it.
    traces
        CSV with the true trace of label i + 1 in its column i; None: beside the truth,
        else the regions' own.
    dark
        Grey level of a pixel without light; None: known of simulations only.
    saturated
        Grey level at which the detector saturates; the truth counts as clipped there.
        None: known of simulations only.
    channel
        Which one of recordings with several.
    progress
        Told of what is done.

    Raises
    ------
    UsageError
        If shapes differ or an option does not fit.
    StackError, OutputIncomplete
        If a recording, a label image or a table cannot be used.
    """
    noisy_first: dict[str, PathLike] = {} if noisy is None else {NOISY: noisy}
    names = {**noisy_first, RESULT: result, **_named(against)}
    opened = open_recordings({TRUTH: truth, **names}, channel)
    told = simulated_detector(opened.stacks[TRUTH])
    dark = told.dark if dark is None else dark
    saturated = told.saturated if saturated is None else saturated
    look = look_at_truth(opened, saturated)
    cells = _cells(opened, truth, regions, traces, look)
    labels = None if cells.regions is None else cells.regions.labels
    passes = measure(opened, list(names), look.edges, labels, saturated, progress or Silent())
    truths = passes[RESULT].traces()
    events = find_events(truths[1]) if truths and cells.events is None else cells.events or ()
    trust = _trust(opened) if noisy is not None and _is_movie(opened) else None
    measures = {name: gathered.measures(events) for name, gathered in passes.items()}
    data_range = measures[RESULT].moments.data_range
    alike = similarities(opened, list(names), data_range, saturated)
    return Evaluation(
        shape=opened.shape,
        truth=str(truth),
        dark=dark,
        saturated=saturated,
        regions=0 if labels is None else int(np.unique(labels[labels > 0]).size),
        adjacent=0 if labels is None else len(adjacent_pairs(labels)),
        events=len(events),
        isolated=len(isolated(truths[1], events)) if truths else 0,
        columns={n: Column(str(p), measures[n], alike[n]) for n, p in names.items()},
        trust=trust,
        trust_line=trust_line(trust, opened.stacks[RESULT].image.scale.x) if trust else None,
        notes=(*cells.notes, *_left_out(opened, dark, noisy)),
    )


def _named(against: Sequence[PathLike]) -> dict[str, PathLike]:
    """Others by their file names, numbered where these are taken."""
    names: dict[str, PathLike] = {}
    for number, path in enumerate(against, start=1):
        name = Path(path).name
        taken = name in names or name in (TRUTH, NOISY, RESULT)
        names[f"{name} ({number})" if taken else name] = path
    return names


class _Cells(NamedTuple):
    """Regions, their events where these are known beforehand, and what to say of them."""

    regions: Regions | None
    events: tuple[Event, ...] | None
    notes: tuple[str, ...]


def _cells(
    opened: Recordings,
    truth: PathLike,
    regions: PathLike | None,
    traces: PathLike | None,
    look: Look,
) -> _Cells:
    if not _is_movie(opened):
        left = "cells and whatever else changes over time are left out: "
        why = "it needs frames of single planes" if opened.over_time else "there are no frames"
        return _Cells(None, None, (left + why,))
    rows, columns = opened.shape[2:]
    found = regions_of(regions, truth, (rows, columns), look.variance[0])
    if found is None:
        return _Cells(None, None, ("no regions: the truth does not change",))
    events, source = events_of(traces, truth, opened.frames, found.labels)
    return _Cells(found, events, (f"regions: {found.source}; events: {source}",))


def _is_movie(opened: Recordings) -> bool:
    return opened.over_time and opened.planes_a_frame == 1


def _trust(opened: Recordings) -> WithoutTruth:
    raw, result = (
        opened.stacks[name].array[:, opened.channels[name], 0] for name in (NOISY, RESULT)
    )
    return without_truth(raw, result)


def _left_out(opened: Recordings, dark: float | None, noisy: PathLike | None) -> list[str]:
    notes = []
    if dark is None:
        notes.append("bias as a part of the light is left out: give --dark, the level without it")
    if noisy is None:
        notes.append("nothing to compare with: give --noisy, the movie that it was made from")
    return notes
