"""What a batch is to do, kept in its folder of outputs until all of it is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fm2s_stack.batch.recordings import Failure, Recording
from fm2s_stack.errors import Fm2sError, OutputError
from fm2s_stack.job.standing import standing
from fm2s_stack.job.target import find_target
from fm2s_stack.store.failures import clear_failure, note_failure, read_failures
from fm2s_stack.store.files import replacing

NAME = "fm2s-batch"
_LIST = "recordings.json"


def ledger_folder(outputs: str | Path) -> Path:
    """The ledger of a folder of outputs."""
    return Path(outputs) / NAME


def begin_ledger(outputs: str | Path, recordings: Sequence[Recording]) -> None:
    """Write down all recordings of a batch; its parts write the same.

    Raises
    ------
    OutputError
        If the folder cannot be made or written.
    """
    folder = ledger_folder(outputs)
    recordings = in_order(outputs, recordings)
    told = [{"source": r.source, "output": r.output.name} for r in recordings]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / _LIST) as temporary:
            temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error


def in_order(outputs: str | Path, recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Recordings as the ledger has them, then those that came later.

    So each stays in its share of a batch when more files arrive between the parts.
    """
    known = {name: place for place, name in enumerate(read_ledger(outputs))}
    return tuple(sorted(recordings, key=lambda r: known.get(r.output.name, len(known))))


def read_ledger(outputs: str | Path) -> list[str]:
    """Names of the outputs of an unfinished batch, in its order; empty where there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads((ledger_folder(outputs) / _LIST).read_text(encoding="utf-8"))
        return [str(row["output"]) for row in told]
    return []


def note_recording(outputs: str | Path, recording: Recording, failure: Failure | None) -> None:
    """Note that a recording failed, or that it did not; never fails."""
    if failure is None:
        clear_failure(ledger_folder(outputs), recording.output.name)
    else:
        note_failure(ledger_folder(outputs), recording.output.name, failure.reason)


def end_ledger_if_done(outputs: str | Path, recordings: Sequence[Recording]) -> None:
    """Remove the ledger once every output is finished; never fails, as the work is done."""
    folder = ledger_folder(outputs)
    if read_failures(folder):
        return
    targets = (find_target(recording.output, overwrite=False) for recording in recordings)
    with suppress(Fm2sError):
        if all(standing(target).state == "finished" for target in targets):
            shutil.rmtree(folder, ignore_errors=True)
