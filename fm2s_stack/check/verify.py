"""Whether an output is what was written, and what its input gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fm2s_stack.check.exports import check_export
from fm2s_stack.check.files import check_sealed, check_unfinished
from fm2s_stack.check.findings import Report
from fm2s_stack.check.sealed import Row, Sealed, whole_document
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.job.sealing import journaled_units
from fm2s_stack.job.target import Target, find_target
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.settings import RunSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.exported import exported_attributes
from fm2s_stack.store.frozen import read_begun


def verify_output(
    path: str | Path,
    source: str | Path | None = None,
    *,
    planes: int = 4,
    seed: int | None = None,
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Report:
    """Check an output: every file of it, and with its input some planes.

    Nothing is written. Of a complete OME-Zarr every file is compared with the size and the
    checksum that the seal recorded; of one that is being made, the files of units that are
    done; of a TIFF every byte, and of a PNG what its own checksums cover.

    Parameters
    ----------
    path
        The output.
    source
        The input it was made of. Its content is compared with the identity that was recorded,
        and planes are computed again from the stored networks. None: neither.
    planes
        How many, 0 or more: random frames and slices, each in every channel.
    seed
        They are drawn with; None: another one each time, which the report tells.
    run
        Where to compute; only `device` and `threads` count.
    cache_dir
        Folder of page tables; None: the user's cache folder.
    progress
        Told what happens; None: silent.
    stop
        Through which another thread or a signal ends it early.

    Returns
    -------
    Report
        What was found; what is damaged is no error.

    Raises
    ------
    OutputError
        If there is no output of this package at the path, or its root and the copy of that are
        both damaged.
    StackError
        If `source` cannot be opened.
    UsageError
        If the path is none of an output.
    StoppedEarly
        If `stop` asked for it.
    """
    if planes < 0:
        raise UsageError(f"--planes {planes}: expected 0 or more")
    told, stop = progress or Silent(), stop or Stop()
    target = find_target(path, overwrite=False)
    examined = _examine(target, told, stop.check)
    if source is None or not examined.told:
        return examined.report
    from fm2s_stack.check.recompute import Draw, check_source

    found = check_source(
        target, examined.told, examined.comparable_rows, source,
        draw=Draw.of(planes, seed), run=run, cache_dir=cache_dir,
        progress=told, check=stop.check,
    )  # fmt: skip
    return replace(examined.report, source=found)


@dataclass(frozen=True)
class Examined:
    """An output after its files were checked."""

    report: Report  #: what was found
    told: Mapping[str, Any]  #: its attribute ``fm2s_stack``
    rows: tuple[Row, ...] = ()  #: of units that are done

    @property
    def good_rows(self) -> tuple[Row, ...]:
        """Rows of units whose files are what was written."""
        bad = {damage.unit for damage in self.report.damages}
        return tuple(row for row in self.rows if row["index"] not in bad)

    @property
    def comparable_rows(self) -> tuple[Row, ...]:
        """The same; none where networks or metadata that they need may be damaged."""
        wrong = [d for d in self.report.damages if d.unit is None and d.kind != "unknown"]
        return () if wrong else self.good_rows


def _examine(target: Target, told: Progress, check: Callable[[], None]) -> Examined:
    if target.kind != "zarr" and target.path.is_file():
        attributes = exported_attributes(target.path) or {}
        return Examined(check_export(target.path, told, check), attributes)
    if not target.zarr.is_dir():
        raise OutputError(f"{target.path}: no such output; give one that fm2s-stack made")
    return examine_zarr(target.zarr, told, check)


def examine_zarr(path: Path, told: Progress, check: Callable[[], None]) -> Examined:
    """Check the files of an OME-Zarr.

    Parameters
    ----------
    path
        The output.
    told, check
        As for `fm2s_stack.check.files.check_sealed`.

    Raises
    ------
    OutputError
        As `verify_output`.
    """
    document = whole_document(path)
    if document is None:
        rows = {record.index: record.row() for record in journaled_units(path)}
        report = check_unfinished(path, told, check)
        return Examined(report, read_begun(path), tuple(rows.values()))
    sealed = Sealed.of(path, document)
    return Examined(check_sealed(sealed, told, check), sealed.told, sealed.rows or ())
