"""What a verification found: damaged pieces, and how it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["missing", "resized", "changed", "unreadable", "unknown"]
State = Literal["complete", "incomplete", "unprepared"]


@dataclass(frozen=True)
class Damage:
    """A piece of an output that is not what was written."""

    key: str  #: file, relative to the output; empty: the file itself, of a TIFF or PNG
    kind: Kind  #: ``missing``; ``resized``: of another size; ``changed``: other bytes;
    #: ``unreadable``: the disk fails; ``unknown``: no part of the output
    detail: str  #: what was met and what was expected
    unit: int | None = None  #: index of the unit it is of; None: of none
    place: str = ""  #: the unit's frames, channel and slices in the output, from 0

    @property
    def text(self) -> str:
        """One line."""
        where = f" (unit {self.unit + 1}: {self.place})" if self.unit is not None else ""
        return f"{self.key or 'the file'}: {self.detail}{where}"


@dataclass(frozen=True)
class Plane:
    """A plane that was computed again, indices into the output."""

    t: int  #: frame
    c: int  #: channel
    z: int  #: slice
    difference: float | None  #: largest difference to what is stored, grey levels; None: one of
    #: them has NaN where the other has not
    allowed: float  #: what it may be: 0 on the kind of device, and version of torch, of the run
    made_on: str  #: kind of device that made it
    computed_on: str  #: kind of device that computed it again

    @property
    def is_good(self) -> bool:
        """Whether it agrees."""
        return self.difference is not None and self.difference <= self.allowed


@dataclass(frozen=True)
class SourceCheck:
    """What came of the comparison with the input."""

    name: str  #: of the input
    differs: str = ""  #: in what it is not what the output was made of; empty: it is
    seed: int = 0  #: the planes were drawn with
    units: int = 0  #: whose input was read as a whole and compared by its CRC-32
    units_unlike: tuple[str, ...] = ()  #: frames of those whose input differs, source indices
    planes: tuple[Plane, ...] = ()  #: that were computed again
    skipped: str = ""  #: why none was; empty where they were

    @property
    def is_good(self) -> bool:
        """Whether the input is the right one, in every unit, and all planes agree."""
        same = not self.differs and not self.units_unlike
        return same and all(plane.is_good for plane in self.planes)


@dataclass(frozen=True)
class Report:
    """What `verify_output` found."""

    output: str  #: path
    state: State  #: ``complete``, ``incomplete``, or ``unprepared``: no networks yet
    files: int  #: that were checked
    bytes: int  #: in them, as they should be
    units: int  #: whose files were checked
    units_left: int  #: that are still to be computed
    unchecked: str = ""  #: what could not be checked, and why; empty: nothing
    damages: tuple[Damage, ...] = ()  #: every damaged or unknown piece
    source: SourceCheck | None = None  #: where an input was given

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with what is there."""
        return not self.damages and (self.source is None or self.source.is_good)

    @property
    def exit_code(self) -> int:
        """0: complete and good; 1: something is wrong; 75: good, but not complete."""
        if not self.is_good:
            return 1
        return 0 if self.state == "complete" else 75


def damage_of(
    key: str, kind: Kind, size: int, expected: int, unit: Mapping[str, Any] | None = None
) -> Damage:
    """The damage of a file, in words.

    Parameters
    ----------
    key, kind
        Which file, and what is wrong.
    size, expected
        Bytes it has, and should have.
    unit
        Row of the unit it is of.
    """
    details: Mapping[Kind, str] = {
        "missing": "is missing",
        "resized": f"has {size} bytes, expected {expected}",
        "changed": "holds other bytes than were written (CRC-32 differs)",
        "unreadable": "cannot be read",
        "unknown": "is no part of the output",
    }
    if unit is None:
        return Damage(key, kind, details[kind])
    return Damage(key, kind, details[kind], unit["index"], place_of(unit))


def place_of(unit: Mapping[str, Any]) -> str:
    """The box of a unit in words, from 0, last included."""
    words = [f"frames {_span(unit['t'])}", f"channel {unit['c']}", f"slices {_span(unit['z'])}"]
    return ", ".join(words) + f", rows {_span(unit['y'])}, columns {_span(unit['x'])}"


def _span(ends: tuple[int, int]) -> str:
    start, stop = ends
    return f"{start}" if stop - start == 1 else f"{start}-{stop - 1}"
