"""Whether the input is still what the units that are done were made of.

The digest that tells inputs apart is of sampled pages. So an input whose files were touched
since (size, time of change) is read again as far as units are done, and compared by their
checksums; and a run looks at its end whether the files changed while it read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fm2s_stack.engine.compute import source_checksum
from fm2s_stack.engine.devices import usable_threads
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.engine.run import name_unit, planes_of
from fm2s_stack.engine.unit_record import VOID, UnitRecord
from fm2s_stack.errors import OutputExists, StackError
from fm2s_stack.job.doubts import (
    keep_same,
    not_known_same,
    open_doubts,
    raise_doubt,
    settle_doubts,
)
from fm2s_stack.job.sealing import done_units, is_done
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.plan import Plan, share_of
from fm2s_stack.progress import Progress, Stoppable

_NAMED = 3  # of the places that differ


@contextmanager
def watched(job: Job, units: tuple[int, int] | None) -> Iterator[None]:
    """Run units, then look whether the input changed meanwhile; the journal remembers it.

    Parameters
    ----------
    job
        Whose input is read.
    units
        The share of the units, if it is one.

    Raises
    ------
    StackError
        If the input is not what it was when it was opened. Another error goes first.
    """
    try:
        yield
    except BaseException:
        if job.stack.identity.times.have_changed():
            raise_doubt(job.journal, units)
        raise
    if job.stack.identity.times.have_changed():
        raise_doubt(job.journal, units)
        raise StackError(
            f"{job.stack.path} changed while it was read: units done since then may hold either; "
            "run the command again once the input is as it should be, and units whose input "
            "differs are done again"
        )


def confirm_source(
    wanted: Wanted, job: Job, plan: Plan, told: Progress, check: Callable[[], None]
) -> None:
    """Compare the input with what the done units were made of, where it was touched since.

    Units that were done while the input changed are void where it differs now.

    Parameters
    ----------
    wanted, job, plan
        What is continued.
    told, check
        As for `fm2s_stack.engine.work.Place.each`.

    Raises
    ------
    OutputExists
        If the content differs though no run met a change: the places are named.
    StackError
        If a plane cannot be read.
    """
    share, done = wanted.run.units, done_units(job.layout.path)
    doubts = open_doubts(job.journal, share)
    records = [done[u.index] for u in share_of(plan.units, share or (1, 1)) if is_done(u, done)]
    stamp = wanted.stack.identity.times.stamp
    if not doubts:
        records = not_known_same(job.journal, stamp, records)
    other = unlike_units(job, records, wanted.run.threads, told, check)
    if other and not doubts:
        raise OutputExists(
            f"{wanted.target.path}: the content of {wanted.stack.path} differs in "
            f"{places_text(job, other)} from what was denoised: give the input as it was, or "
            "--overwrite to make it anew"
        )
    _tell(job, records, other, told)
    for record in other:
        job.journal.append(VOID, record.row())
    keep_same(job.journal, stamp, [record for record in records if record not in other])
    settle_doubts(job.journal, doubts)


def unlike_units(
    job: Job,
    records: Sequence[UnitRecord],
    threads: int | None,
    progress: Progress,
    check: Callable[[], None],
) -> list[UnitRecord]:
    """Units whose input is another than it was; those without a checksum are passed over.

    Parameters
    ----------
    job
        With the input as it is now.
    records
        Of units that are done.
    threads
        Reading at a time; None: as many as there are cores.
    progress, check
        As for `fm2s_stack.engine.work.Place.each`.

    Raises
    ------
    StackError
        If a plane cannot be read.
    StoppedEarly
        Of `check`.
    """
    known = [record for record in records if record.source_crc32 is not None]
    if not known:
        return []
    told = Stoppable(progress)
    told.start("compare the input", sum(planes_of(record.unit) for record in known), "planes")

    def differs(record: UnitRecord) -> bool:
        crc32 = source_checksum(job, record.unit)
        told.advance(planes_of(record.unit))
        return crc32 != record.source_crc32

    found = run_in_threads(differs, known, usable_threads(threads), told, check)
    told.finish()
    return [record for record, is_other in zip(known, found, strict=True) if is_other]


def places_text(job: Job, records: Sequence[UnitRecord]) -> str:
    """Where units are, by source indices; the first few of them."""
    first = "; ".join(name_unit(job, record.unit) for record in records[:_NAMED])
    more = len(records) - _NAMED
    return first if more <= 0 else f"{first}; and {more} more unit{'s' * (more > 1)}"


def _tell(
    job: Job, records: Sequence[UnitRecord], other: Sequence[UnitRecord], told: Progress
) -> None:
    if not records:
        return
    known = sum(record.source_crc32 is not None for record in records)
    same = f"the input of {known - len(other)} of {len(records)} units that are done is the same"
    told.note(f"{job.stack.path} was copied or touched, or changed: {same}")
    if other:
        told.note(f"it differs in {places_text(job, other)}: done again")
    if known < len(records):
        told.note(f"{len(records) - known} of them have no checksum of their input to compare")
