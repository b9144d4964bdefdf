"""Whether the files of an input are untouched since they were opened."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path


@dataclass(frozen=True)
class FileTimes:
    """Sizes and times of change of the files of an input; pickles small, whatever their number.

    A look costs what opening did: one question to the file system for each file.
    """

    names: bytes = b""  #: absolute paths, separated by NUL, compressed
    stamp: str = ""  #: blake2b over size and time of change (ns) of each; empty: nothing is known

    @classmethod
    def of(cls, files: Sequence[Path], statuses: Iterable[os.stat_result]) -> FileTimes:
        """What was met at opening.

        Parameters
        ----------
        files
            Every file, in the order of the recording.
        statuses
            Of each.
        """
        names = b"\0".join(os.fsencode(os.path.abspath(file)) for file in files)  # noqa: PTH100
        return cls(zlib.compress(names, 1), _stamp(statuses))

    def have_changed(self) -> bool:
        """Whether a file is gone, or has another size or time of change than at opening."""
        if not self.stamp:
            return False
        names = zlib.decompress(self.names).split(b"\0")
        try:
            return _stamp(os.stat(name) for name in names) != self.stamp  # noqa: PTH116 - bytes
        except OSError:
            return True


def _stamp(statuses: Iterable[os.stat_result]) -> str:
    digest = blake2b(digest_size=16)
    for status in statuses:
        digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
