"""What stands at a target, and whether a run may continue it or has nothing left to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fm2s_stack.errors import OutputError, OutputExists, OutputLocked
from fm2s_stack.job.target import Target
from fm2s_stack.job.terms import Terms, differences
from fm2s_stack.plan import Cut
from fm2s_stack.store.attributes import clear_output, output_status, read_attributes
from fm2s_stack.store.creation import is_half_made
from fm2s_stack.store.exported import exported_attributes
from fm2s_stack.store.frozen import frozen_of
from fm2s_stack.store.journal import journal_folder, remove_journal
from fm2s_stack.store.lock import WHOLE, locked

ON_BAD_FRAME = "fit.on_bad_frame"

#: what may lie in a journal; an NFS keeps removed files that are open under names of its own
_JOURNALED = re.compile(
    r".*\.jsonl|(lock|failed|probe)-.*|creating\.json|frozen\.zip|stale-.*|fits|\..*\.partial.*|\.nfs.*"
    # what desktops leave in every folder
    r"|\.DS_Store|\._.*|\.directory|Thumbs\.db|desktop\.ini"
)

State = Literal["nothing", "begun", "frozen", "sealed", "finished"]


@dataclass(frozen=True)
class Standing:
    """What stands at a target.

    The states, in the order a run passes them: ``nothing``; ``begun``: made, but without its
    networks; ``frozen``: units may be computed; ``sealed``: every unit is there, a TIFF or PNG
    is still to be exported; ``finished``.
    """

    state: State  #: how far it is
    told: Mapping[str, Any] = field(default_factory=dict)  #: its attribute ``fm2s_stack``

    @property
    def cut(self) -> Cut | None:
        """How its units were cut, once that is decided."""
        plan = self.told.get("plan")
        return Cut(plan["depth"], plan["rows"], plan["columns"]) if plan else None


def standing(target: Target) -> Standing:
    """What stands at a target; a TIFF or PNG that is to be replaced does not count.

    Raises
    ------
    OutputExists
        If it is not of this package.
    """
    exported = target.kind != "zarr" and not target.overwrite
    if exported and (target.path.exists() or target.path.is_symlink()):
        told = exported_attributes(target.path)
        if told is None:
            raise _foreign(target.path, "a file")
        return Standing("finished", told)
    status = output_status(target.zarr)
    if status in ("absent", "empty"):
        return Standing("nothing")
    kept = None if status == "complete" else frozen_of(target.zarr)
    if status == "foreign" and kept is None:
        if is_half_made(target.zarr, journal_folder(target.zarr)):
            return Standing("begun")
        raise _foreign(target.zarr, "an output")
    # What is being made may be damaged: then its copy tells what it is.
    told = read_attributes(target.zarr) if kept is None else kept.told
    if status == "complete":
        return Standing("finished" if target.kind == "zarr" else "sealed", told)
    if target.zarr.is_symlink():  # its journal is beside the folder, not beside the link
        raise OutputExists(f"{target.zarr} is a link: name {target.zarr.resolve()} instead")
    return Standing("frozen" if told.get("token") else "begun", told)


def require_same_terms(target: Target, found: Standing, terms: Terms) -> None:
    """Refuse to continue, or to take for finished, what was made under other terms.

    Raises
    ------
    OutputExists
        With what differs.
    """
    if found.state in ("nothing", "begun"):
        return
    made = found.told.get("terms")
    if not isinstance(made, Mapping):
        raise OutputExists(
            f"{target.path} was made by a version of fm2s-stack that kept no terms: give another "
            "name, or --overwrite to make it anew"
        )
    other = differences(made, terms)
    if other and not may_continue(found, terms):
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise OutputExists(
            f"{target.path} was made otherwise: {', '.join(other[:3])}{more}; give another name, "
            "or --overwrite to make it anew"
        )


def may_continue(found: Standing, terms: Terms) -> bool:
    """Whether a run under other terms may continue an output.

    One that stopped at a bad frame may, where bad frames are now made up: until there no pixel
    would be another. Not so where planes are cut into tiles, since a plane may be bad in one
    of its tiles only.
    """
    made = found.told.get("terms") or {}
    if found.state != "frozen" or made.get(ON_BAD_FRAME) != "fail":
        return False
    plan, shape = found.told["plan"], made["shape"]
    is_tiled = (plan["rows"], plan["columns"]) != tuple(shape[3:])
    return not is_tiled and not differences({**made, ON_BAD_FRAME: terms[ON_BAD_FRAME]}, terms)


def tidy(target: Target, note: Callable[[str], None]) -> None:
    """Remove what a crash between the last steps of a finished output has left beside it.

    Parameters
    ----------
    target
        Finished.
    note
        Told when a lock of another machine is watched for a while.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    folder = journal_folder(target.zarr)
    if folder.is_dir() and _is_journal(folder):
        # Held: by whoever seals it at this moment, and removes it then.
        with suppress(OutputLocked), locked(folder, WHOLE, note):
            remove_journal(folder)
    clear_beside(target)


def clear_beside(target: Target) -> None:
    """Remove the OME-Zarr that a finished TIFF or PNG was exported from.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    ours = ("complete", "incomplete", "empty")
    if target.kind != "zarr" and output_status(target.zarr) in ours:
        clear_output(target.zarr)


def require_at_journal(folder: Path) -> None:
    """Refuse a folder of the journal's name that is none.

    Raises
    ------
    OutputError
        If a file, or a folder with other things in it, stands where the journal goes.
    """
    if folder.exists() and not _is_journal(folder):
        raise OutputError(f"{folder} is not a journal of fm2s-stack: remove it, or choose another")


def _is_journal(folder: Path) -> bool:
    return folder.is_dir() and all(_JOURNALED.fullmatch(entry.name) for entry in folder.iterdir())


def _foreign(path: Path, what: str) -> OutputExists:
    return OutputExists(f"{path} exists and is not {what} of fm2s-stack: give another name")
