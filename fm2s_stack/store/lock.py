"""One run at a time on an output, on local disks and network file systems alike.

A lock is a file in the journal's folder, made with ``O_EXCL``. Its holder counts up a number
in it every few seconds. Nothing relies on ``flock``, on clocks that agree, or on renames
between folders. Should two runs get past it all the same, they waste work and no more: a file
of an output is replaced whole, and both would write the same bytes.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fm2s_stack.errors import OutputError, OutputLocked
from fm2s_stack.store.processes import NOWHERE, is_alive, place_of_processes, process_start

BEAT = 10.0  #: seconds between counts
PATIENCE = 35.0  #: seconds without a count, after which a holder elsewhere is taken for dead
_WIDTH = 512  # bytes of a lock file, always: it is rewritten in place

Part = tuple[int, int]  #: share i of n of the units, i from 1 to n
WHOLE: Part = (1, 1)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    owner: str  #: unlike any other
    part: Part  #: the units that are claimed
    host: str  #: name of the machine, for people
    place: str  #: from `place_of_processes`
    process: int  #: number of the process
    started: str | None  #: from `process_start`
    count: int = 0  #: beats so far

    @classmethod
    def here(cls, part: Part) -> Holder:
        """The process that asks."""
        number = os.getpid()
        return cls(
            owner=uuid.uuid4().hex, part=part, host=platform.node()[:64],
            place=place_of_processes(), process=number, started=process_start(number),
        )  # fmt: skip

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, which can be asked for."""
        return self.place == place_of_processes() != NOWHERE


@dataclass(frozen=True)
class Claim:
    """A lock that somebody holds, as other threads and processes of the same run know it."""

    path: Path  #: of the lock's file
    owner: str  #: who must be in it

    def require(self) -> None:
        """Ask on the disk whether it is still held.

        A process that was stopped for long, or cut off from the disk, may have been taken for
        dead; it must write nothing more.

        Raises
        ------
        OutputError
            If it is another's, or gone.
        """
        for _ in range(5):
            holder = read_holder(self.path)
            if holder is not None or not self.path.exists():
                break
            time.sleep(0.02)  # its count is being written
        if holder is None or holder.owner != self.owner:
            raise OutputError(
                f"{self.path.parent} was removed or taken over while the run went on: "
                "another run goes on with the output"
            )


class Lock:
    """A held lock, beating until `release`."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self._holder = holder
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    @property
    def claim(self) -> Claim:
        """For those who work under this lock."""
        return Claim(self.path, self._holder.owner)

    @property
    def is_lost(self) -> bool:
        """Whether the file is gone or another's: someone removed the journal's folder."""
        return self._lost.is_set()

    def release(self) -> None:
        """Stop beating and remove the file, if it is still ours."""
        self._ended.set()
        self._thread.join()
        current = read_holder(self.path)
        if current is not None and current.owner == self._holder.owner:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        holder = self._holder
        while not self._ended.wait(BEAT):
            holder = replace(holder, count=holder.count + 1)
            with suppress(OSError):  # a full disk, or a network that comes back
                current = read_holder(self.path)
                if not self.path.exists() or (current and current.owner != holder.owner):
                    self._lost.set()
                    return
                if current is not None:  # else it may be another's, half written
                    self._count(holder)

    def _count(self, holder: Holder) -> None:
        handle = os.open(self.path, os.O_WRONLY)
        try:
            os.write(handle, _encoded(holder))
        finally:
            os.close(handle)


@contextmanager
def locked(
    folder: str | Path, part: Part = WHOLE, note: Callable[[str], None] | None = None
) -> Iterator[Lock]:
    """Hold an output, or a part of its units, for the block.

    Parameters
    ----------
    folder
        Of the journal; it is there.
    part
        What to hold; parts that share no unit do not exclude each other.
    note
        Told when a holder on another machine has to be watched for a while.

    Raises
    ------
    OutputLocked
        If a live process holds any of it.
    OutputError
        If the folder cannot be written.
    """
    lock = _acquire(Path(folder), part, note or (lambda text: None))
    try:
        yield lock
    finally:
        lock.release()


def live_holders(folder: str | Path) -> list[Holder]:
    """Holders in a folder, without those of this machine that are known to be dead."""
    found = [read_holder(path) for path in sorted(Path(folder).glob("lock-*.json"))]
    return [holder for holder in found if holder is not None and not _is_dead_here(holder)]


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock file; None where it is gone, or cut short by a crash of its writer."""
    try:
        told = json.loads(path.read_bytes())
        return Holder(**{**told, "part": (int(told["part"][0]), int(told["part"][1]))})
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


def _acquire(folder: Path, part: Part, note: Callable[[str], None]) -> Lock:
    path, holder = folder / f"lock-{part[0]}-of-{part[1]}.json", Holder.here(part)
    _remove_dead([path], note)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise _refusal(path) from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    try:
        _write(handle, holder)
        # Ours is visible before we look: of two that come together at least one steps back.
        found = (other for other in sorted(folder.glob("lock-*.json")) if other != path)
        others = [other for other in found if _overlap(part, _part_of(other))]
        _remove_dead(others, note)
        for other in others:
            if other.exists():
                raise _refusal(other)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Lock(path, holder)


def _write(handle: int, holder: Holder) -> None:
    try:
        os.write(handle, _encoded(holder))
        os.fsync(handle)
    except OSError as error:
        raise OutputError(f"the lock of an output cannot be written: {error}") from error
    finally:
        os.close(handle)


def _refusal(path: Path) -> OutputLocked:
    holder = read_holder(path)
    output = path.parent.name.removesuffix(".journal")
    who = "another run" if holder is None else f"process {holder.process} on {holder.host}"
    return OutputLocked(
        f"{output} is being written by {who}: wait for it, or stop it and run this again"
    )


def _remove_dead(paths: Sequence[Path], note: Callable[[str], None]) -> None:
    """Remove the locks whose holders are dead; those that cannot be asked are watched."""
    unknown: dict[Path, Holder | None] = {}
    for path in paths:
        holder = read_holder(path)
        if holder is not None and holder.is_here:
            if _is_dead_here(holder):
                _remove(path, holder)
        elif path.exists():
            unknown[path] = holder
    for path in _still(unknown, note) if unknown else ():
        _remove(path, unknown[path])


def _remove(path: Path, holder: Holder | None) -> None:
    # Taken aside first: what is removed must be what was judged, not a newer one.
    aside = path.with_name(f"stale-{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        taken = read_holder(aside)
        if taken is not None and (holder is None or taken.owner != holder.owner):
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _is_dead_here(holder: Holder) -> bool:
    return holder.is_here and not is_alive(holder.process, holder.started)


def _still(found: Mapping[Path, Holder | None], note: Callable[[str], None]) -> set[Path]:
    """Watch locks of other machines, all together: those whose count stands still."""
    hosts = sorted({"another machine" if h is None else h.host for h in found.values()})
    note(f"held by a run on {', '.join(hosts)}: watching it for up to {PATIENCE:.0f} s")
    still, watched, pause = set(found), 0.0, min(0.5, PATIENCE / 10)
    while still and watched < PATIENCE:
        began = time.monotonic()
        time.sleep(pause)
        # Not the time in which a server stalled, or we were stopped: nothing was seen then.
        watched += min(time.monotonic() - began, 2 * pause)
        still = {path for path in still if path.exists() and read_holder(path) == found[path]}
    return still


def _part_of(path: Path) -> Part:
    share, _, count = path.stem.removeprefix("lock-").partition("-of-")
    return (int(share), int(count)) if share.isdecimal() and count.isdecimal() else WHOLE


def _overlap(one: Part, other: Part) -> bool:
    """Whether two shares have a unit in common, as far as fractions tell."""
    (i, n), (j, m) = one, other
    return (i - 1) * m < j * n and (j - 1) * n < i * m


def _encoded(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode().ljust(_WIDTH)
