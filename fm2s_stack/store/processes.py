"""Which process wrote a file, and whether it still runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

NOWHERE = "00000000"  #: the place where a system does not tell which one it is


def is_alive(process: int, started: str | None = None) -> bool:
    """Whether a process of this machine runs, and is the one that started then.

    Parameters
    ----------
    process
        Its number.
    started
        From `process_start`; None: whichever has the number.
    """
    if process == os.getpid():
        return _is_same(process, started)
    if _is_zombie(process):
        return False
    try:
        # On Windows, where signal 0 would end it, nothing is asked: places are unknown there.
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        pass
    return _is_same(process, started)


def _is_same(process: int, started: str | None) -> bool:
    """Whether a process started then, as far as the system tells (see hidepid in man 5 proc)."""
    now = process_start(process)
    return started is None or now is None or now == started


def process_start(process: int) -> str | None:
    """When a process started, in ticks since the machine did; None where that is not told."""
    fields = _stat(process)
    return fields[19] if len(fields) > 19 else None


def _is_zombie(process: int) -> bool:
    return _stat(process)[:1] == ["Z"]


def _stat(process: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold anything (man 5 proc)."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def place_of_processes() -> str:
    """Where process numbers mean the same: a started machine, and a container on it."""
    # Host names are not enough: nodes and containers that share a folder may share a name.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path, "pid:[4026531836]"
    except OSError:  # not Linux
        return NOWHERE
    return hashlib.sha256(f"{boot}{space}".encode()).hexdigest()[:8]
