"""Reading again what earlier runs wrote, before it is sealed with what this one writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.errors import OutputError
from fm2s_stack.job.sealing import done_units, journaled_units
from fm2s_stack.progress import Progress, Stoppable
from fm2s_stack.store.integrity import StoredFile, state_of

READERS = 8  #: files read at a time: network file systems want several


def intact_units(
    path: str | Path, progress: Progress, check: Callable[[], None]
) -> dict[int, UnitRecord]:
    """The units of an unfinished output whose files hold the bytes that were journaled.

    Files that hold others are removed, so that their units count as left from now on.

    Parameters
    ----------
    path
        The output, held by the caller.
    progress
        Told of every file, and of each unit that is dropped.
    check
        Called a few times a second; raises to stop.

    Raises
    ------
    OutputError
        If there is no output of this package at the path, or a file cannot be removed.
    StoppedEarly
        Of `check`.
    """
    there = done_units(path)
    records = [record for record in journaled_units(path) if record.index in there]
    if not records:
        return {}
    told = Stoppable(progress)
    told.start("check", sum(len(record.files) for record in records), "files")

    def work(record: UnitRecord) -> list[StoredFile]:
        bad = []
        for file in record.files:
            told.advance(1)
            bad += [] if _is_intact(path, file) else [file]
        return bad

    found = run_in_threads(work, records, READERS, told, check)
    told.finish()
    # A unit that was done twice is good if one of its records fits.
    good = {r.index: r for r, bad in zip(records, found, strict=True) if not bad}
    dropped = {r.index: bad for r, bad in zip(records, found, strict=True) if r.index not in good}
    for index, files in dropped.items():
        progress.note(
            f"{files[0].key} holds other bytes than were written: unit {index + 1} is to do again"
        )
        _remove(Path(path), files)
    return good


def _is_intact(path: str | Path, file: StoredFile) -> bool:
    try:
        return state_of(path, file) == "intact"
    except OSError:
        return False


def _remove(path: Path, files: Sequence[StoredFile]) -> None:
    try:
        for file in files:
            (path / file.key).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: a damaged file cannot be removed: {error}") from error
