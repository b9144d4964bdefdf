"""Whether an output is what was written, and what its input gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fm2s_stack.check_export import check_export
from fm2s_stack.checks import check_sealed, check_unfinished
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.findings import Report
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.sealed import Sealed, whole_document
from fm2s_stack.settings import RunSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.target import find_target


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
    target, told, stop = find_target(path, overwrite=False), progress or Silent(), stop or Stop()
    if target.kind != "zarr" and target.path.is_file():
        report = check_export(target.path, told, stop.check)
    elif target.zarr.is_dir():
        document = whole_document(target.zarr)
        report = (
            check_unfinished(target.zarr, told, stop.check)
            if document is None
            else check_sealed(Sealed.of(target.zarr, document), told, stop.check)
        )
    else:
        raise OutputError(f"{path}: no such output; give one that fm2s-stack made")
    if source is None:
        return report
    from fm2s_stack.recompute import check_source

    found = check_source(
        target, report, source,
        planes=planes, seed=seed, run=run, cache_dir=cache_dir, told=told, check=stop.check,
    )  # fmt: skip
    return replace(report, source=found)
