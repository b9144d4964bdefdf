"""Reading every file of an output, and telling which are not what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fm2s_stack.check.findings import Damage, Report, damage_of
from fm2s_stack.check.sealed import TABLE, Row, Sealed, files_of
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.errors import OutputError
from fm2s_stack.job.sealing import journaled_units
from fm2s_stack.progress import Progress, Stoppable
from fm2s_stack.store.frozen import frozen_of, read_begun
from fm2s_stack.store.integrity import StoredFile, state_of
from fm2s_stack.store.spare import root_files
from fm2s_stack.store.strays import stray_keys, strays_of_begun
from fm2s_stack.store.weights import stored_weights_sha256

READERS = 8  #: files read at a time: network file systems want several
_NOTHING_KEPT = "metadata beside the networks: no whole copy of them is in the journal"

Piece = tuple[Row | None, list[StoredFile]]


def check_sealed(sealed: Sealed, told: Progress, check: Callable[[], None]) -> Report:
    """Check every file of a complete output, and look for others among them.

    Parameters
    ----------
    sealed
        What it must hold.
    told
        Told of every file.
    check
        Called a few times a second; raises to stop.

    Raises
    ------
    StoppedEarly
        Of `check`.
    """
    pieces: list[Piece] = [(None, sealed.side)]
    pieces += [(row, files_of(row)) for row in sealed.rows or ()]
    damages = _root_damages(sealed)
    damages += [one for part in _check_all(sealed.path, pieces, told, check) for one in part]
    if sealed.rows is None:
        damages.append(Damage(TABLE, "changed", "is damaged, as is its copy: no unit was checked"))
    else:
        damages += [damage_of(key, "unknown", 0, 0) for key in stray_keys(sealed.path, sealed.keys)]
    files = [file for _, part in pieces for file in part]
    root = root_files(sealed.document)
    return Report(
        output=str(sealed.path),
        state="complete",
        files=len(files) + len(root),
        bytes=sum(file.size for file in files) + sum(map(len, root.values())),
        units=len(sealed.rows or ()),
        units_left=0,
        damages=tuple(damages),
    )


def check_unfinished(path: Path, told: Progress, check: Callable[[], None]) -> Report:
    """Check what is done of an output that is being made, and all that it was begun with.

    Parameters
    ----------
    path
        The output.
    told, check
        As for `check_sealed`.

    Raises
    ------
    OutputError
        If there is no output of this package at the path.
    StoppedEarly
        Of `check`.
    """
    made, kept = read_begun(path), frozen_of(path)
    rows = [record.row() for record in journaled_units(path)]
    pieces: list[Piece] = [(None, list(kept.files if kept else ()))]
    pieces += [(row, files_of(row)) for row in rows]
    side, *found = _check_all(path, pieces, told, check)
    # A unit that was done twice is good if one of its records fits.
    good = {row["index"] for row, part in zip(rows, found, strict=True) if not part}
    damages = [*side, *(one for part in found for one in part if one.unit not in good)]
    units = {row["index"] for row in rows}
    files = [file for _, part in pieces for file in part]
    if kept is None:
        damages = [*_network_damages(path, made.get("weights_sha256")), *damages]
    else:
        strays = strays_of_begun(path, {file.key for file in files}, kept.contents)
        damages += [damage_of(key, "unknown", 0, 0) for key in strays]
    return Report(
        output=str(path),
        state="incomplete" if made.get("token") else "unprepared",
        files=len(files),
        bytes=sum(file.size for file in files),
        units=len(units),
        units_left=int((made.get("plan") or {}).get("units", 0)) - len(units),
        unchecked="" if kept or not made.get("token") else _NOTHING_KEPT,
        damages=tuple(damages),
    )


def _network_damages(path: Path, sha256: str | None) -> list[Damage]:
    if not sha256:
        return []
    try:
        same = stored_weights_sha256(path) == sha256
    except OutputError:
        same = False
    return [] if same else [Damage("fm2s_stack/weights", "changed", "are not those it began with")]


def _root_damages(sealed: Sealed) -> list[Damage]:
    """Of the files with the root's document, which are compared byte for byte."""
    found = [
        _root_damage(sealed.path, key, content)
        for key, content in root_files(sealed.document).items()
    ]
    return [damage for damage in found if damage is not None]


def _root_damage(path: Path, key: str, expected: bytes) -> Damage | None:
    file = path / key
    try:
        if not file.is_file():
            return damage_of(key, "missing", 0, 0)
        content = file.read_bytes()
    except OSError:
        return damage_of(key, "unreadable", 0, 0)
    return None if content == expected else Damage(key, "changed", "is not what the seal wrote")


def _check_all(
    path: Path, pieces: Sequence[Piece], progress: Progress, check: Callable[[], None]
) -> list[list[Damage]]:
    """Damages of the files of each piece; several are read at a time."""
    told = Stoppable(progress)
    told.start("check", sum(len(files) for _, files in pieces), "files")

    def work(piece: Piece) -> list[Damage]:
        found = []
        for file in piece[1]:
            told.advance(1)
            found.append(_check(path, file, piece[0]))
        return [damage for damage in found if damage is not None]

    found = run_in_threads(work, pieces, READERS, told, check)
    told.finish()
    return found


def _check(path: Path, file: StoredFile, row: Mapping[str, Any] | None) -> Damage | None:
    try:
        state = state_of(path, file)
        size = (path / file.key).stat().st_size if state == "resized" else 0
    except OSError:
        return damage_of(file.key, "unreadable", 0, file.size, row)
    return None if state == "intact" else damage_of(file.key, state, size, file.size, row)
