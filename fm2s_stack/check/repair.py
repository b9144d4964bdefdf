"""Making an output again what was written: copies put back, and units computed again.

Cut at any instant, the same repair goes on, and so does the command that made the output:
what is put back appears whole, and before units are removed the output is one that is being
made, whose journal has every good one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fm2s_stack.check.findings import Damage
from fm2s_stack.check.sealed import TABLE, Sealed, side_files, whole_bytes, whole_document
from fm2s_stack.check.verify import Examined, examine_zarr
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.job.holding import held
from fm2s_stack.job.target import Target, find_target
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.settings import RunSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.attributes import restore_document, set_attributes
from fm2s_stack.store.files import replacing, sync_folder
from fm2s_stack.store.frozen import frozen_of, restore_frozen
from fm2s_stack.store.integrity import describe_file, state_of
from fm2s_stack.store.inventory import sweep_partial
from fm2s_stack.store.journal import Journal, clear_journal, journal_folder
from fm2s_stack.store.spare import is_spare, root_files, sealed_documents, write_spare

if TYPE_CHECKING:
    from fm2s_stack.job.wanted import Wanted


@dataclass(frozen=True)
class Repaired:
    """What a repair did."""

    damages: tuple[Damage, ...]  #: what was wrong
    units: int  #: units that were computed
    identical: bool  #: whether every byte is again what was sealed; not so where other
    #: arithmetic (another kind of device, another version) computed, or nothing was sealed


def repair_output(
    path: str | Path,
    source: str | Path | None = None,
    *,
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Repaired:
    """Repair an OME-Zarr: put back what it has a copy of, compute units again.

    What does not belong to it is removed. An output that is being made is completed, where the
    input is given.

    Parameters
    ----------
    path
        The output.
    source
        The input it was made of; needed where units are damaged or left.
    run
        Where to compute.
    cache_dir
        Folder of page tables; None: the user's cache folder.
    progress
        Told what happens; None: silent.
    stop
        Through which another thread or a signal ends it early.

    Raises
    ------
    UsageError
        If the input is needed and was not given, or is another one.
    OutputError
        If something is damaged that nothing can restore, or it cannot be written.
    OutputLocked
        If a run works on it.
    StoppedEarly
        If `stop` asked for it; the same call goes on.
    Fm2sError
        Of the units, as `fm2s_stack.pipeline.denoise_stack`.
    """
    target, told, stop = find_target(path, overwrite=False), progress or Silent(), stop or Stop()
    if not target.zarr.is_dir():
        raise OutputError(f"{path}: no OME-Zarr to repair; make what is damaged again")
    before = sealed_documents(target.zarr)
    with held(journal_folder(target.zarr), stop, told.note) as check:
        found = examine_zarr(target.zarr, told, check)
        wanted = _wanted(target, found, source, run, cache_dir)
        if found.report.state == "complete":
            _mend(target.zarr, found.report.damages)
        else:
            _mend_begun(target.zarr, found.report.damages)
        if wanted is not None:
            wanted = _confirmed(wanted, found, told, check)
            _reopen(target.zarr, found)
    units = _make(wanted, told, stop) if wanted is not None else 0
    identical = any(document in before for document in sealed_documents(target.zarr)[:1])
    return Repaired(found.report.damages, units, identical)


def _wanted(
    target: Target,
    found: Examined,
    source: str | Path | None,
    run: RunSettings,
    cache_dir: str | Path | None,
) -> Wanted | None:
    """What has to be computed again, as the output was asked for; None where nothing has."""
    report = found.report
    _refuse_hopeless(target, found)
    units = {damage.unit for damage in report.damages} - {None}
    if not units and (report.state == "complete" or (report.damages and source is None)):
        return None
    left = len(units) + report.units_left
    if source is None:
        raise UsageError(
            f"{target.path}: units to compute again: {left}; give the input, with --source"
        )
    from fm2s_stack.check.recorded import (
        difference_to,
        open_source,
        recorded_wanted,
        select_recorded,
    )

    stack = open_source(found.told, source, cache_dir)
    if other := difference_to(found.told, stack):
        raise UsageError(f"--source {source} {other}; give the input of {target.path}")
    return recorded_wanted(target, found.told, select_recorded(found.told, stack), run)


def _confirmed(
    wanted: Wanted, found: Examined, told: Progress, check: Callable[[], None]
) -> Wanted:
    """The same, of a complete output with the input of the damaged units compared."""
    from fm2s_stack.check.recompute import require_same_units

    if found.report.state != "complete":
        return wanted
    units = {damage.unit for damage in found.report.damages}
    require_same_units(wanted, [row for row in found.rows if row["index"] in units], told, check)
    return replace(wanted, is_confirmed=True)


def _refuse_hopeless(target: Target, found: Examined) -> None:
    """Refuse what cannot be restored, before anything is touched."""
    if found.report.state == "unprepared":
        raise OutputError(f"{target.path} is not prepared: run the command that makes it")
    for damage in found.report.damages:
        if damage.unit is None and damage.kind != "unknown" and _is_lost(target.zarr, damage):
            raise OutputError(
                f"{target.path}: {damage.text}, and cannot be restored; make it anew with "
                "--overwrite"
            )


def _is_lost(path: Path, damage: Damage) -> bool:
    """Whether nothing has the bytes of a damaged piece that is no unit's."""
    kept = None if sealed_documents(path) else frozen_of(path)
    if kept is not None:
        return damage.key not in kept.contents
    document = whole_document(path)
    if document is None or damage.key == TABLE:
        return True
    side = side_files(document)
    file = next((file for file in side if file.key == damage.key), None)
    copied = file is not None and not is_spare(file.key)
    return file is not None and copied and whole_bytes(path, side, file) is None


def _mend(path: Path, damages: Sequence[Damage]) -> None:
    """Put back everything that is no unit's; remove what does not belong to the output."""
    document = whole_document(path)
    if document is None:
        raise OutputError(f"{path} changed while it was repaired; try again")
    sealed = Sealed.of(path, document)
    with _writing(path):
        sweep_partial(path)
        bad = {damage.key for damage in damages if damage.unit is None}
        for damage in damages:
            if damage.kind == "unknown":
                _remove_stray(path, damage.key)
        if bad & root_files(document).keys():
            (path / "fm2s_stack/spare").mkdir(parents=True, exist_ok=True)
            restore_document(path, document)
        for file in sealed.side:
            if file.key in bad and not is_spare(file.key):
                content = whole_bytes(path, sealed.side, file)
                _put(path / file.key, content or b"")
        if any(is_spare(key) for key in bad & sealed.keys - root_files(document).keys()):
            _renew_spare(sealed)


def _mend_begun(path: Path, damages: Sequence[Damage]) -> None:
    """The same of an output that is being made, of the copy in its journal."""
    with _writing(path):
        for damage in damages:
            if damage.kind == "unknown":
                _remove_stray(path, damage.key)
            elif damage.unit is None and (path / damage.key).is_dir():
                shutil.rmtree(path / damage.key)
        restore_frozen(path)


def _renew_spare(sealed: Sealed) -> None:
    """Copy again what the copies are of, and the root's document."""
    write_spare(sealed.path, [file.key for file in sealed.side])
    restore_document(sealed.path, sealed.document)
    if all(state_of(sealed.path, file) == "intact" for file in sealed.side):
        return
    # Another version of zarr writes other metadata: then this is what was written.
    now = [describe_file(sealed.path, file.key) for file in sealed.side]
    set_attributes(sealed.path, files=[list(asdict(file).values()) for file in now])


def _reopen(path: Path, found: Examined) -> None:
    """Turn an output into one that is being made, and of which the damaged units are left."""
    folder = journal_folder(path)
    if found.report.state == "complete":
        clear_journal(folder)
        journal = Journal(str(folder), found.told["token"])
        for row in found.good_rows:
            journal.append("unit", row)
        set_attributes(path, status="incomplete")
    with _writing(path):
        for damage in found.report.damages:
            if damage.unit is not None:
                _remove(path / damage.key)


def _make(wanted: Wanted, told: Progress, stop: Stop) -> int:
    from fm2s_stack.pipeline import make

    summary = make(wanted, told, stop)
    return summary.units_done - summary.units_before


def _put(file: Path, content: bytes) -> None:
    """Put bytes in the place of whatever stands there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        shutil.rmtree(file)
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def _remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    if file.parent.is_dir():
        sync_folder(file.parent)


def _remove_stray(path: Path, key: str) -> None:
    """Remove a file that is no part of an output, and the folders that it alone was in."""
    _remove(path / key)
    for folder in (path / key).parents:
        if folder == path or any(folder.iterdir()):
            return
        folder.rmdir()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be repaired: {error}") from error
