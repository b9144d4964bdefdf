"""Notes of what failed, for ``fm2s-stack status``: why an output, or a share of it, is not done.

A note is a small file in a folder that goes when the work is done: the journal of an output,
or the ledger of a batch. It decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from fm2s_stack.errors import OutputExists, OutputLocked, StoppedEarly, UsageError
from fm2s_stack.store.files import replacing

_PREFIX = "failed-"


def note_failure(folder: str | Path, who: str, reason: str) -> None:
    """Leave a note, if the folder is there; never fails.

    Parameters
    ----------
    folder
        Journal or ledger.
    who
        Whose failure: a name, or a share such as ``2-of-16``.
    reason
        What happened, on one line.
    """
    told = {"reason": reason, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    # What failed may well be the disk: the note is not to hide the error it is about.
    with suppress(OSError):
        if Path(folder).is_dir():
            with replacing(_file(folder, who)) as temporary:
                temporary.write_text(json.dumps(told), encoding="utf-8")


def clear_failure(folder: str | Path, who: str) -> None:
    """Remove a note, where there is one; never fails."""
    with suppress(OSError):
        _file(folder, who).unlink(missing_ok=True)


def read_failures(folder: str | Path) -> dict[str, str]:
    """Reason by name, latest last, of every note in a folder."""
    found = []
    for file in Path(folder).glob(f"{_PREFIX}*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(file.read_text(encoding="utf-8"))
            found.append((str(told["when"]), file.stem.removeprefix(_PREFIX), str(told["reason"])))
    return {who: reason for _, who, reason in sorted(found)}


@contextmanager
def noting_failure(journal: str | Path, part: tuple[int, int]) -> Iterator[None]:
    """Leave a note in a journal if the block fails, and remove an older one when it begins.

    Parameters
    ----------
    journal
        Its folder.
    part
        The share of the units that the block works on.
    """
    who = f"{part[0]}-of-{part[1]}"
    clear_failure(journal, who)
    try:
        yield
    except (StoppedEarly, OutputExists, OutputLocked, UsageError):
        raise  # that says nothing about the output
    except Exception as error:
        note_failure(journal, who, one_line(error))
        raise


def one_line(error: BaseException) -> str:
    """What an error says, on one line; its kind too, where the text alone does not tell."""
    text = " ".join(str(error).split())
    if type(error).__module__.startswith("fm2s_stack."):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _file(folder: str | Path, who: str) -> Path:
    return Path(folder) / f"{_PREFIX}{who}.json"
