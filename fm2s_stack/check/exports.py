"""Checking an exported TIFF or PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fm2s_stack.check.findings import Damage, Report
from fm2s_stack.progress import Progress
from fm2s_stack.store.exported import exported_attributes, is_whole_png
from fm2s_stack.store.tiff_checksum import checksums

_NOTHING_READ = "is damaged, or fm2s-stack did not write it: no provenance can be read from it"
_OTHER_BYTES = "holds other bytes than were written (its checksum differs)"


def check_export(path: Path, told: Progress, check: Callable[[], None]) -> Report:
    """Check a TIFF by the checksum over all of it that is in it, a PNG by its own.

    Parameters
    ----------
    path
        The file.
    told
        Told of every megabyte.
    check
        Called a few times a second; raises to stop.

    Raises
    ------
    OSError
        If it cannot be read.
    StoppedEarly
        Of `check`.
    """
    attributes = exported_attributes(path)
    wrong, unchecked = "", ""
    if attributes is None:
        wrong = _NOTHING_READ
    elif path.suffix.lower() == ".png":
        wrong = "" if is_whole_png(path) else _OTHER_BYTES
    else:
        wrong, unchecked = _check_tiff(path, told, check, must="terms" in attributes)
    damages = (Damage("", "changed", wrong),) if wrong else ()
    size = path.stat().st_size
    return Report(str(path), "complete", 1, size, 0, 0, unchecked, damages)


def _check_tiff(
    path: Path, told: Progress, check: Callable[[], None], *, must: bool
) -> tuple[str, str]:
    """What is wrong, and what could not be checked."""
    from fm2s_stack.errors import Fm2sError

    told.start("check", max(path.stat().st_size // 10**6, 1), "MB")
    shown = read = 0

    def advance(count: int) -> None:
        nonlocal shown, read
        check()
        read += count
        told.advance(read // 10**6 - shown)
        shown = read // 10**6

    try:
        found = checksums(path, advance)
    except (Fm2sError, OSError):
        raise
    except Exception:  # tifffile fails in every way on damaged files
        return _NOTHING_READ, ""
    told.finish()
    if found is None:
        missing = "it has no checksum in it"
        return ("is damaged: " + missing, "") if must else ("", f"pixels: {missing}")
    return ("" if found[0] == found[1] else _OTHER_BYTES), ""
