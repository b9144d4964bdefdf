"""Which units of an output are done, and its seal when all are. Needs neither input nor torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fm2s_stack.engine.unit_record import UnitRecord, journaled_records
from fm2s_stack.errors import OutputError, OutputIncomplete, StoppedEarly
from fm2s_stack.job.doubts import require_no_doubt
from fm2s_stack.job.holding import Holding
from fm2s_stack.job.standing import clear_beside, standing
from fm2s_stack.job.target import Target
from fm2s_stack.plan import Unit
from fm2s_stack.stack.bad_frames import BadFrame
from fm2s_stack.store.attributes import read_attributes, restore_document, seal
from fm2s_stack.store.document import KEY, attributes_of
from fm2s_stack.store.frozen import frozen_of, read_begun
from fm2s_stack.store.integrity import StoredFile, flush_files, is_there, state_of
from fm2s_stack.store.inventory import side_keys, sweep_partial
from fm2s_stack.store.journal import Journal, journal_folder, remove_journal
from fm2s_stack.store.provenance import describe_result
from fm2s_stack.store.spare import sealed_documents, write_spare
from fm2s_stack.store.strays import is_in_hand, stray_keys
from fm2s_stack.store.unit_table import read_units, write_units
from fm2s_stack.store.weights import read_loss, stored_weights_sha256

#: says whether a result can be trusted, from the planes of it that were made up
Judge = Callable[[Sequence[BadFrame]], tuple[str, ...]]


def done_units(path: str | Path) -> dict[int, UnitRecord]:
    """The units of an unfinished output that are journaled and whose files are there.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    """
    return {
        record.index: record
        for record in journaled_units(path)
        if all(is_there(path, file) for file in record.files)
    }


def journaled_units(path: str | Path) -> Iterator[UnitRecord]:
    """The units of an unfinished output that were done, each as often as that was.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    """
    token = read_begun(path).get("token") or ""
    return journaled_records(Journal(str(journal_folder(path)), token))


def is_done(unit: Unit, done: Mapping[int, UnitRecord]) -> bool:
    """Whether a unit is among those done, and was cut the same."""
    return unit.index in done and done[unit.index].is_of(unit)


def progress_text(target: Target) -> str:
    """How many units of an output are done, as the beginning of a sentence; or nothing."""
    found = standing(target)
    if found.state != "frozen":
        return ""
    return f"{len(done_units(target.zarr))} of {found.told['plan']['units']} units are done; "


def finish(
    target: Target,
    hold: Holding,
    known: Sequence[UnitRecord] | None = None,
    judge: Judge | None = None,
) -> tuple[str, ...]:
    """Complete an output of which every unit is done: seal, export, remove the journal.

    Neither input nor torch is needed. One that is finished is rid of what a crash left.

    Parameters
    ----------
    target
        Where the result goes.
    hold
        On the output.
    known
        Units that this run has done or read again; None: all that are journaled.
    judge
        Says whether the result can be trusted; None: nobody does, as the input is not at hand.

    Returns
    -------
    tuple of str
        What was said.

    Raises
    ------
    OutputIncomplete
        If it is not prepared.
    StoppedEarly
        With what is left, if units are.
    OutputError
        If it cannot be written, or files that are no part of it lie in it.
    """
    found = standing(target)
    if found.state in ("nothing", "begun"):
        raise OutputIncomplete(f"{target.path} is not prepared: run the command that makes it")
    if found.state == "frozen":
        done, count = _done(target.zarr, known), found.told["plan"]["units"]
        left = [index for index in range(count) if index not in done]
        if left:
            raise StoppedEarly(
                f"{target.path} is not complete: {len(left)} of {count} units are left "
                f"({_ranges(left)}); run them again, then seal"
            )
        require_no_doubt(Journal(str(hold.folder), found.told["token"]), target.path)
        hold.require()
        _refuse_strays(target, list(done.values()))
        if not reseal(target.zarr, list(done.values())):
            lines = judge(bad_frames(list(done.values()))) if judge is not None else ()
            hold.require()
            seal_output(target.zarr, list(done.values()), lines)
    said = () if found.state == "finished" else read_attributes(target.zarr).get("trust") or ()
    if found.state != "finished":
        target.export(hold)
    remove_journal(hold.folder)
    clear_beside(target)
    return tuple(said)


def _done(path: Path, known: Sequence[UnitRecord] | None) -> dict[int, UnitRecord]:
    there = done_units(path)
    if known is None:
        return there
    return {record.index: record for record in known if record.index in there}


def _refuse_strays(target: Target, records: Sequence[UnitRecord]) -> None:
    """Refuse to seal over files that are no part of an output."""
    kept = frozen_of(target.zarr)
    if kept is None:
        return
    known = {*kept.contents, *(file.key for record in records for file in record.files)}
    strays = [key for key in stray_keys(target.zarr, known) if not is_in_hand(key)]
    if strays:
        more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        raise OutputError(
            f"{target.path} holds files that are no part of it ({strays[0]}{more}): "
            f"fm2s-stack verify {target.path} --repair removes them; then run this again"
        )


def _ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as runs, counted from 1, the first few of them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs[:8]]
    return ", ".join(texts) + (", ..." if len(runs) > 8 else "")


def seal_output(path: str | Path, records: Sequence[UnitRecord], trust: Sequence[str] = ()) -> None:
    """Write the table of units and the rest of the provenance; the status turns ``complete``.

    Parameters
    ----------
    path
        The output.
    records
        Of every unit.
    trust
        Lines that say whether the result can be trusted.

    Raises
    ------
    OutputError
        If it cannot be written, or a network is missing.
    """
    told = read_attributes(path)
    records = sorted(records, key=lambda record: record.index)
    sweep_partial(path)
    write_units(path, [_row(record) for record in records])
    owned = {file.key for record in records for file in record.files}
    write_spare(path, side_keys(path, owned))
    result = describe_result(
        weights_sha256=told.get("weights_sha256") or stored_weights_sha256(path),
        device=", ".join(sorted({record.device for record in records})),
        timings=_timings(told, records),
        loss=read_loss(path),
        clipped=sum(record.clipped for record in records),
        units=len(records),
        bad_frames=bad_frames(records),
        trust=trust,
        files=[list(asdict(f).values()) for f in flush_files(path, side_keys(path, owned))],
    )
    seal(path, result, _displays(records))


def reseal(path: str | Path, records: Sequence[UnitRecord]) -> bool:
    """Seal an output that was complete before as it was then, if every file is what it was.

    That is so after a repair on the same kind of device, and after a seal that was cut short.

    Parameters
    ----------
    path
        The output.
    records
        Of every unit.

    Returns
    -------
    bool
        Whether it is complete now.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    token = read_attributes(path).get("token")
    for document in sealed_documents(path):
        then = attributes_of(document)[KEY]
        if then.get("token") == token and _is_as_then(path, then, records):
            sweep_partial(path)
            restore_document(path, document)
            return True
    return False


def _is_as_then(path: str | Path, then: Mapping[str, Any], records: Sequence[UnitRecord]) -> bool:
    if any(state_of(path, StoredFile(*file)) != "intact" for file in then.get("files") or ()):
        return False
    rows = {row["index"]: UnitRecord.from_row(row).files for row in read_units(path)}
    return rows == {record.index: record.files for record in records}


def bad_frames(records: Sequence[UnitRecord]) -> list[BadFrame]:
    """Every plane that was made up, once, in order: tiles of a plane each tell of it."""
    found = {(bad.t, bad.c, bad.z): bad for record in records for bad in record.bad}
    return [found[place] for place in sorted(found)]


def _timings(told: Mapping[str, Any], records: Sequence[UnitRecord]) -> dict[str, float]:
    """The fit as it was measured, and the seconds of all units, whoever ran them."""
    apply = sum(record.seconds for record in records)
    return {**(told.get("timings") or {}), "apply": round(apply, 3)}


def _displays(records: Sequence[UnitRecord]) -> list[tuple[float, float]]:
    """Grey levels to show of each channel."""
    channels = sorted({record.c for record in records})
    own = [[r.display for r in records if r.c == c and r.display is not None] for c in channels]
    return [(min(low for low, _ in part), max(high for _, high in part)) for part in own]


def _row(record: UnitRecord) -> dict[str, object]:
    return {key: value for key, value in record.row().items() if key != "loss"}
