"""Running units at a place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fm2s_stack.engine.job import Job
from fm2s_stack.engine.unit import run_unit
from fm2s_stack.engine.unit_record import UnitRecord, journaled_records
from fm2s_stack.engine.work import Place, Work
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress
from fm2s_stack.store.integrity import is_there


def run_units(
    job: Job,
    units: Sequence[Unit],
    most: int,
    place: Place,
    progress: Progress,
    check: Callable[[], None],
    threads: int | None = None,
) -> list[UnitRecord]:
    """Run units of a job; parameters and errors as `Place.each`.

    Parameters
    ----------
    most
        Units in flight at a time in one process.
    threads
        That compute at a time in one process on the CPU, at most; None: all that were given.

    Returns
    -------
    list of UnitRecord
        One a unit, in the order given.
    """
    known = partial(journaled_unit, job)
    work = Work(partial(run_unit, job), planes_of, partial(name_unit, job), most, threads, known)
    return place.each(work, units, progress, check)


def journaled_unit(job: Job, unit: Unit) -> UnitRecord | None:
    """The record of a unit that is journaled with its files there; None where it is not."""
    for record in journaled_records(job.journal):
        if record.is_of(unit) and all(is_there(job.layout.path, f) for f in record.files):
            return record
    return None


def planes_of(unit: Unit) -> int:
    """Planes, or tiles of them, that a unit is."""
    return unit.shape[0] * unit.shape[2]


def name_unit(job: Job, unit: Unit) -> str:
    """A unit in words, by its source indices."""
    frames, channels, slices, rows, columns = job.stack.image.shape
    words = []
    if frames > 1:
        words.append(_span("frame", unit.t, job.stack.t_start))
    if channels > 1:
        words.append(f"channel {job.stack.channel_indices[unit.c]}")
    if slices > 1:
        words.append(_span("slice", unit.z, job.stack.z_start))
    if unit.shape[3:] != (rows, columns):
        words += [_span("row", unit.y, 0), _span("column", unit.x, 0)]
    return ", ".join(words) or "the plane"


def _span(what: str, bounds: tuple[int, int], origin: int) -> str:
    first, last = bounds[0] + origin, bounds[1] - 1 + origin
    return f"{what} {first}" if first == last else f"{what}s {first} to {last}"
