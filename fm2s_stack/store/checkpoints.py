"""Long fits kept in files beside an unfinished output, so that they can be continued.

A file is the SHA-256 of what follows it, and numpy's ``.npz`` of the state's arrays with the
key they belong to. It is replaced whole, and never unpickled.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.store.files import replacing

SUFFIX = ".fit"
DIGEST_BYTES = 32
KEY = "key"  # name of the array that holds the key


@dataclass(frozen=True)
class FileCheckpoint:
    """The state of one fit in one file. Nothing is there before the first save."""

    path: Path  #: the file
    token: str  #: of the job that it belongs to

    def load(self, key: str) -> dict[str, NDArray] | None:
        """The arrays last saved for this job and key.

        Returns
        -------
        dict or None
            None where there are none, where they are another job's or fit's, and where the
            file is damaged or cannot be read: the fit starts anew then.
        """
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        digest, packed = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(packed).digest() != digest:
            return None
        with np.load(io.BytesIO(packed), allow_pickle=False) as found:
            arrays = dict(found)
        return arrays if arrays.pop(KEY).item() == self._whole(key) else None

    def save(self, key: str, state: Mapping[str, NDArray]) -> None:
        """Keep arrays in place of those kept before.

        A file system that refuses (full, read-only, the folder's parent gone) costs what a
        checkpoint would have saved, not the fit; the output's own files fail where they must.
        """
        packed = io.BytesIO()
        np.savez(packed, **{KEY: np.array(self._whole(key))}, **state)  # type: ignore[arg-type]
        content = packed.getvalue()
        with suppress(OSError):
            # Not its parents: a run whose output was removed must not bring it back.
            self.path.parent.mkdir(exist_ok=True)
            with replacing(self.path) as temporary:
                temporary.write_bytes(hashlib.sha256(content).digest() + content)

    def remove(self) -> None:
        """Remove the file, if there is one.

        Raises
        ------
        OSError
            Of the file system.
        """
        self.path.unlink(missing_ok=True)

    def _whole(self, key: str) -> str:
        return f"{self.token}\n{key}"


@dataclass(frozen=True)
class FitCheckpoints:
    """The checkpoints of a job's fits, in a folder of their own; pickles."""

    folder: Path  #: made at the first save; its parent must exist
    token: str  #: of the job: those of another one are never used

    def of(self, channel: int, t: int, z: int) -> FileCheckpoint:
        """That of the fit whose (first) plane has these indices in the source, from 0."""
        return FileCheckpoint(self.folder / f"c{channel}-t{t}-z{z}{SUFFIX}", self.token)

    def clear(self) -> None:
        """Remove all of them, what killed processes left, and the folder if it is empty then.

        Raises
        ------
        OSError
            If a file cannot be removed.
        """
        if not self.folder.is_dir():
            return
        for file in list(self.folder.iterdir()):
            if file.suffix == SUFFIX:
                file.unlink(missing_ok=True)
        with suppress(OSError):  # of others' files
            self.folder.rmdir()
