"""What the journal keeps of whether all units were made of one and the same input."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.store.journal import Journal

_RAISED, _SETTLED, _SAME = "source_changed", "source_checked", "source_same"


def raise_doubt(journal: Journal, units: tuple[int, int] | None) -> None:
    """Keep that the input changed while a run, or its share ``(i, n)`` of the units, went on."""
    journal.append(_RAISED, {"id": uuid.uuid4().hex, "units": list(units or (1, 1))})


def open_doubts(journal: Journal, units: tuple[int, int] | None = None) -> list[str]:
    """Those not settled yet that a run can settle: all, or those of the same share."""
    settled = {one for body in journal.read(_SETTLED) for one in body.get("of", ())}
    mine = None if units is None else list(units)
    raised = [body for body in journal.read(_RAISED) if mine in (None, body.get("units"))]
    return [str(body.get("id")) for body in raised if body.get("id") not in settled]


def settle_doubts(journal: Journal, doubts: Sequence[str]) -> None:
    """Keep that the units in doubt were compared, and are void where they differed."""
    if doubts:
        journal.append(_SETTLED, {"of": list(doubts)})


def keep_same(journal: Journal, stamp: str, records: Sequence[UnitRecord]) -> None:
    """Keep that the input of units was found the same in files with this stamp."""
    if records:
        units = [[record.index, record.source_crc32] for record in records]
        journal.append(_SAME, {"stamp": stamp, "of": units})


def not_known_same(journal: Journal, stamp: str, records: Sequence[UnitRecord]) -> list[UnitRecord]:
    """The units that were made of files with another stamp, and not compared with these."""
    same = {
        tuple(unit)
        for body in journal.read(_SAME)
        if body.get("stamp") == stamp
        for unit in body.get("of", ())
    }
    others = [record for record in records if record.source_stamp != stamp]
    return [record for record in others if (record.index, record.source_crc32) not in same]


def require_no_doubt(journal: Journal, path: Path) -> None:
    """Refuse to seal what may be made of two inputs.

    Raises
    ------
    StoppedEarly
        If the input changed while units were done, and those were not compared since.
    """
    if open_doubts(journal):
        raise StoppedEarly(
            f"{path} is not complete: its input changed while units were done; run the command "
            "that makes it again, which compares them with the input"
        )
