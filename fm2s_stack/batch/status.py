"""How far outputs are: what is done, running, failed and left. Needs neither input nor torch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fm2s_stack.batch.ledger import ledger_folder, read_ledger
from fm2s_stack.errors import Fm2sError, OutputError
from fm2s_stack.job.sealing import done_units
from fm2s_stack.job.standing import Standing, standing
from fm2s_stack.job.target import Target, find_target
from fm2s_stack.stack.numbering import natural_key
from fm2s_stack.store.failures import read_failures
from fm2s_stack.store.journal import SUFFIX, journal_folder
from fm2s_stack.store.lock import Holder, live_holders

State = Literal["done", "running", "fitting", "unfinished", "failed", "waiting"]
UNFINISHED = ".unfinished.zarr"
#: seconds without a beat after which a run on another machine, whose clock may be off, is
#: taken for dead; it tells its beat every ten
SILENT = 900.0


@dataclass(frozen=True)
class OutputStatus:
    """How far one output is."""

    name: str  #: of the output
    state: State  #: ``done``; ``running``: somebody holds it; ``fitting``: so, before its units;
    #: ``unfinished``: run the same command again; ``failed``: the last run did, with `reason`;
    #: ``waiting``: of a batch, not begun
    done: int = 0  #: units that are written
    units: int | None = None  #: units it has; None before they are known
    holders: tuple[str, ...] = ()  #: runs on it: ``process 12 on node3``
    reason: str = ""  #: why it failed, one line


def status_of(path: str | Path) -> tuple[OutputStatus, ...]:
    """Status of one output, or of every output in a folder, in natural order.

    Parameters
    ----------
    path
        An output that is there or begun, or a folder of outputs, such as that of a batch.

    Raises
    ------
    OutputError
        If nothing of this package is there.
    """
    given = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."
    if given.name and _is_begun(given):
        return (output_status(given),)
    if not given.is_dir():
        raise OutputError(
            f"{path}: no output of fm2s-stack and no folder of outputs; check the path"
        )
    listed, failures = read_ledger(given), read_failures(ledger_folder(given))
    names = dict.fromkeys([*listed, *_outputs_in(given)])
    if not names:
        raise OutputError(f"{path}: no output of fm2s-stack in this folder; check the path")
    return tuple(output_status(given / name, failures.get(name, "")) for name in names)


def output_status(path: Path, noted: str = "") -> OutputStatus:
    """Status of one output.

    Parameters
    ----------
    path
        Its name; it need not be there.
    noted
        Why a batch failed on it, where it did.
    """
    target = find_target(path, overwrite=False)
    journal = journal_folder(target.zarr)
    try:
        found = standing(target)
        done, units = _units(target, found)
    except Fm2sError as error:
        return OutputStatus(path.name, "failed", reason=str(error))
    holders = tuple(_who(h) for h in live_holders(journal) if _beats(journal, h))
    reason = noted or (list(read_failures(journal).values()) or [""])[-1]
    state = _state(found, bool(holders), bool(reason), bool(noted))
    shown = reason if state == "failed" else ""
    return OutputStatus(path.name, state, done, units, holders, shown)


def exit_code(found: Sequence[OutputStatus]) -> int:
    """0: all is done; 1: something failed; 75: something is left."""
    states = {one.state for one in found}
    if "failed" in states:
        return 1
    return 0 if states == {"done"} else 75


def _state(found: Standing, held: bool, failed: bool, in_batch: bool) -> State:
    # What a batch failed on may stand there all the same, made with other settings.
    if found.state == "finished" and not in_batch:
        return "done"
    if held:
        return "running" if found.state in ("frozen", "sealed") else "fitting"
    if failed:
        return "failed"
    return "waiting" if found.state == "nothing" else "unfinished"


def _units(target: Target, found: Standing) -> tuple[int, int | None]:
    """Units written, and all."""
    plan = found.told.get("plan") or {}
    units = int(plan["units"]) if "units" in plan else None
    if found.state == "frozen":
        return len(done_units(target.zarr)), units
    return (units or 0, units) if found.state in ("sealed", "finished") else (0, units)


def _is_begun(path: Path) -> bool:
    """Whether an output of this name is there, or lies half made beside it."""
    beside = [path, path.with_name(path.name + UNFINISHED), journal_folder(path)]
    return any(one.exists() and _output_of(one) == path.name for one in beside)


def _outputs_in(folder: Path) -> list[str]:
    """Names of the outputs in a folder that are there or begun."""
    names = {name for entry in folder.iterdir() if (name := _output_of(entry)) is not None}
    return sorted(names, key=natural_key)


def _output_of(entry: Path) -> str | None:
    """Name of the output that an entry of a folder is, or lies beside."""
    name = entry.name.removesuffix(SUFFIX)
    if name.endswith(UNFINISHED):
        return name.removesuffix(UNFINISHED)
    is_zarr = name.endswith(".zarr") and entry.is_dir() and _is_ours(entry)
    return name if is_zarr or _is_export(entry) else None


def _is_ours(entry: Path) -> bool:
    from fm2s_stack.store.attributes import output_status as stored

    return entry.name.endswith(SUFFIX) or stored(entry) in ("complete", "incomplete")


def _is_export(file: Path) -> bool:
    from fm2s_stack.store.exported import exported_attributes

    return exported_attributes(file) is not None


def _beats(journal: Path, holder: Holder) -> bool:
    """Whether a holder is here, where it can be asked for, or has told a beat of late."""
    if holder.is_here:
        return True
    lock = journal / f"lock-{holder.part[0]}-of-{holder.part[1]}.json"
    try:
        return time.time() - lock.stat().st_mtime < SILENT
    except OSError:  # it has just ended
        return False


def _who(holder: Holder) -> str:
    share = "" if holder.part == (1, 1) else f", units {holder.part[0]}/{holder.part[1]}"
    return f"process {holder.process} on {holder.host}{share}"
