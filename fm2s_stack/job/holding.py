"""Holding an output while a run works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fm2s_stack.job.standing import require_at_journal
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import make_folder
from fm2s_stack.store.lock import WHOLE, Lock, Part, locked


@dataclass(frozen=True, eq=False)
class Holding:
    """An output that is held."""

    folder: Path  #: of its journal
    lock: Lock  #: beating
    stop: Stop  #: through which the run is stopped

    def __call__(self) -> None:
        """Look whether to go on; to be called a few times a second.

        Raises
        ------
        StoppedEarly
            If the run is to stop.
        OutputError
            If the output is not held any more.
        """
        self.stop.check()
        if self.lock.is_lost:
            self.lock.claim.require()

    def require(self) -> None:
        """Ask on the disk whether the output is still held, before what cannot be undone.

        Raises
        ------
        OutputError
            If it is not.
        """
        self.lock.claim.require()


@contextmanager
def held(
    folder: Path, stop: Stop, note: Callable[[str], None], part: Part | None = None
) -> Iterator[Holding]:
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
            yield Holding(folder, lock, stop)
    finally:
        with suppress(OSError):  # not empty: that is what it is for
            folder.rmdir()
