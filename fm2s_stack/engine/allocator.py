"""How this process's memory comes from the system, where that is glibc's to decide."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

#: Bytes from which a buffer is mapped by itself, and given back when freed: the pixels of
#: units, encoded shards and the blocks that are read. Below are what the network holds between
#: its layers (6.6 MB a tile), which would cost thousands of page faults a frame.
MAPPED = 15 * 2**19
KEPT = 64 * 2**20  #: free bytes at the end of a heap above which they are given back

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def return_large_buffers() -> None:
    """Let buffers of units go back to the system when they are freed; once a process.

    Left alone, glibc raises its threshold to 32 MB by itself, after which such buffers leave holes
    in the heaps of many threads: 0.77 GB at the peak where 0.70 do, and more the longer the movie
    (mallopt(3)). Elsewhere nothing is changed.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, MAPPED)
        library.mallopt(_TRIM_THRESHOLD, KEPT)
