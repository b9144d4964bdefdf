"""What became of a unit, as the journal and the sealed output keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from fm2s_stack.plan import Unit
from fm2s_stack.stack.bad_frames import BadFrame
from fm2s_stack.store.integrity import StoredFile
from fm2s_stack.store.journal import Journal
from fm2s_stack.store.provenance import Json, jsonable

VOID = "void"  #: in the journal: a record of a unit whose input was another than it is


@dataclass(frozen=True)
class UnitRecord:
    """What became of a unit."""

    index: int  #: of the unit
    t: tuple[int, int]  #: frames of the output
    c: int  #: channel of the output
    z: tuple[int, int]  #: slices of the output
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns
    device: str  #: kind of device: ``cpu`` or ``cuda``
    seconds: float  #: from the first read to the last flush
    clipped: int  #: pixels clipped to the range of the output's dtype
    display: tuple[float, float] | None  #: grey levels that hold nearly all pixels of frames that
    #: are not excluded; None: all of its frames are
    loss: tuple[float, ...] = ()  #: of each network that was trained, in mode ``frame``
    bad: tuple[BadFrame, ...] = ()  #: planes that could not be read and were made up
    source_crc32: int | None = None  #: of the input's planes as read; older outputs have none
    source_stamp: str = ""  #: of the input's files when the run opened them; empty: unknown
    files: tuple[StoredFile, ...] = ()  #: what it wrote, flushed

    def row(self) -> Mapping[str, Json]:
        """The record as JSON holds it; a file is key, size and CRC-32."""
        files: list[Json] = [[file.key, file.size, file.crc32] for file in self.files]
        told = {key: jsonable(value) for key, value in asdict(self).items() if key != "files"}
        return {**told, "files": files}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> UnitRecord:
        """The record that a row was made of.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it was not made by `row`.
        """
        known = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        told: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in known.items()
        }
        told["files"] = tuple(StoredFile(*file) for file in row["files"])
        told["bad"] = tuple(BadFrame.from_row(frame) for frame in row["bad"])
        return cls(**told)

    @property
    def unit(self) -> Unit:
        """The unit it tells of."""
        return Unit(self.index, self.t, self.c, self.z, self.y, self.x)

    def is_of(self, unit: Unit) -> bool:
        """Whether it tells of this unit."""
        return self.unit == unit


def journaled_records(journal: Journal) -> Iterator[UnitRecord]:
    """Units that were done, each as often as that was, but for those found to be void."""
    void = set(_records(journal, VOID))
    return (record for record in _records(journal, "unit") if record not in void)


def _records(journal: Journal, kind: str) -> Iterator[UnitRecord]:
    for body in journal.read(kind):
        with suppress(KeyError, TypeError, ValueError):
            yield UnitRecord.from_row(body)
