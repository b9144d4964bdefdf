"""Memory as one formula in bytes, and what the machine allows."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

BASE = 450 * 2**20  #: interpreter, torch, zarr, dask and their pools, measured
WORKER = 48 * 2**20  #: hidden channels of a tile and what the libraries keep for a thread
SAFE_SHARE = 0.8  #: of the memory that is free, left to the run by default


@dataclass(frozen=True)
class MemoryModel:
    """Bytes that a run holds at its peak."""

    input_itemsize: int  #: bytes a pixel read
    output_itemsize: int  #: bytes a pixel written
    block_bytes: int  #: largest block of the stack's Dask array

    def unit(self, depth: int, rows: int, columns: int) -> int:
        """Bytes of a unit in flight.

        Its output and the encoder's copies of it (compressed chunks and the shard joined of
        them), the pyramid, and two blocks of the input (one read, one cut from it).
        """
        output = 3 * depth * rows * columns * self.output_itemsize
        return output + 2 * self.block_bytes

    def thread(self, rows: int, columns: int) -> int:
        """Bytes that computing takes in each thread: a plane in single and double precision."""
        return 28 * rows * columns + WORKER

    def process(self, working: int) -> int:
        """Bytes of the process with `working` bytes in use."""
        return BASE + working


def allowed_memory() -> int:
    """Bytes that this process may use: free memory, or less where a cgroup says so."""
    limits = [_available(), *_cgroup_limits()]
    return int(SAFE_SHARE * min(limits))


def memory_of_worker(memory: int | None, workers: int) -> int:
    """Bytes for each of so many processes beside this one, of those that a run may use.

    Parameters
    ----------
    memory
        Bytes that the run may use; None: what the machine allows.
    workers
        Processes that compute.
    """
    return max((memory or allowed_memory()) - BASE, 0) // workers


def _available() -> int:
    told = _proc_bytes("/proc/meminfo", "MemAvailable:")
    if told is not None:
        return told
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30


def _proc_bytes(file: str, key: str) -> int | None:
    """A figure that Linux tells in kB, in bytes; None elsewhere."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


def _cgroup_limits() -> list[int]:
    """Limits of the control group, version 2 and 1, and of every group above it."""
    found = []
    for pattern in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory"):
        for folder in (Path(pattern), *_own_groups(Path(pattern))):
            for name in ("memory.max", "memory.limit_in_bytes"):
                try:
                    text = (folder / name).read_text().strip()
                except OSError:
                    continue
                if text.isdecimal() and int(text) < 2**60:
                    found.append(int(text))
    return found


def _own_groups(root: Path) -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        path = Path(line.split(":", 2)[-1].lstrip("/"))
        groups += [root / path, *(root / parent for parent in path.parents)]
    return groups


def peak_memory() -> int | None:
    """Peak resident bytes of this process so far; None where the platform does not tell."""
    # Linux hands a child the maximum of its parent in getrusage, not here.
    told = _proc_bytes("/proc/self/status", "VmHWM:")
    if told is not None:
        return told
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
