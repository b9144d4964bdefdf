"""Holding an output while a run works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fm2s_stack.errors import OutputError
from fm2s_stack.standing import require_at_journal
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import make_folder
from fm2s_stack.store.lock import WHOLE, Part, locked


@contextmanager
def held(
    folder: Path, stop: Stop, note: Callable[[str], None], part: Part | None = None
) -> Iterator[Callable[[], None]]:
    """Hold an output, or a part of its units, for the block.

    Parameters
    ----------
    folder
        Of its journal; made where it is not there, and removed if nothing was put into it.
    stop
        Looked at by what is yielded.
    note
        Told when another holder is watched for a while.
    part
        Share of the units; None: all.

    Yields
    ------
    callable
        To be called a few times a second. It raises when the run is to stop, or the folder
        was removed under it.

    Raises
    ------
    OutputLocked
        If another run holds it.
    OutputError
        If the folder cannot be written, or is something else.
    """
    require_at_journal(folder)
    make_folder(folder)
    try:
        with locked(folder, part or WHOLE, note) as lock:

            def check() -> None:
                stop.check()
                if lock.is_lost:
                    raise OutputError(f"{folder} was removed or replaced while the run went on")

            yield check
    finally:
        with suppress(OSError):  # not empty: that is what it is for
            folder.rmdir()
