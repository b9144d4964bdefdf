"""The journal: which fits and units of an unfinished output are done.

It is a folder beside the output, ``out.zarr.journal``, with one file a process, so that
nothing is appended to together over a network file system. A line is ``crc32c JSON``, written
at once and flushed before the next step; a torn one is ignored, which costs the unit that it
was to record. Nothing else decides what is done.

Order for a unit, which a crash may cut anywhere: its files are unlinked, written and flushed,
then the line is appended and flushed. The folder goes after the seal.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fm2s_stack.errors import OutputError
from fm2s_stack.store.files import sync_folder
from fm2s_stack.store.processes import place_of_processes

SUFFIX = ".journal"
_APPENDING = threading.Lock()  # threads of a process share a file


def journal_folder(output: str | Path) -> Path:
    """The journal of an output: beside it, its name and ``.journal``."""
    path = Path(output)
    return path.with_name(path.name + SUFFIX)


@dataclass(frozen=True)
class Journal:
    """What is done under one token. Holds nothing open; pickles."""

    folder: str  #: from `journal_folder`
    token: str  #: lines with another one are of another job, and ignored

    def append(self, kind: str, body: Mapping[str, object]) -> None:
        """Record that something is done; on the disk when this returns.

        Parameters
        ----------
        kind
            What: ``unit`` or ``fit``.
        body
            JSON-safe.

        Raises
        ------
        OutputError
            If the folder is gone, or cannot be written.
        """
        text = json.dumps({"token": self.token, "kind": kind, **body}, separators=(",", ":"))
        line = f"{_crc(text):08x} {text}\n".encode()
        file = Path(self.folder) / f"{_process_name(os.getpid())}.jsonl"
        try:
            with _APPENDING:
                _append(file, line)
        except FileNotFoundError as error:
            raise OutputError(f"{self.folder} was removed while the run went on") from error
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error}") from error

    def read(self, kind: str) -> Iterator[dict[str, Any]]:
        """Bodies of every whole line of this kind and token, of all processes."""
        for file in sorted(Path(self.folder).glob("*.jsonl")):
            for body in _lines(file, kind):
                if body.get("token") == self.token and body.get("kind") == kind:
                    yield body


def make_folder(folder: str | Path) -> None:
    """Make the folder of a journal, where it is not there.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        Path(folder).mkdir(exist_ok=True)
        sync_folder(Path(folder).parent)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}") from error


def clear_journal(folder: str | Path) -> None:
    """Remove what a journal holds, but not the locks in it.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    try:
        for entry in Path(folder).iterdir():
            if not entry.name.startswith("lock-"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{folder} cannot be cleared: {error}; remove it") from error


def remove_journal(folder: str | Path) -> None:
    """Remove a journal with all in it: the last act after a seal.

    The output is complete by then. What cannot be removed (an NFS keeps files that are open
    under names of its own) goes when the output is looked at again.
    """
    with suppress(OutputError):
        clear_journal(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _append(file: Path, line: bytes) -> None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        size = os.fstat(handle).st_size
        if size:
            os.lseek(handle, -1, os.SEEK_END)
            if os.read(handle, 1) != b"\n":  # what a full disk tore stays a line of its own
                line = b"\n" + line
        if os.write(handle, line) != len(line):
            raise OSError(f"only part of {len(line)} bytes was written; is the disk full?")
        os.fsync(handle)
    finally:
        os.close(handle)
    if not size:
        sync_folder(file.parent)


def _lines(file: Path, kind: str) -> Iterator[dict[str, Any]]:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return
    marked = f'"kind":"{kind}"'.encode()
    for line in content.split(b"\n"):
        if marked not in line:  # networks are long
            continue
        crc, _, text = line.decode("utf-8", "replace").partition(" ")
        if crc != f"{_crc(text):08x}":
            continue
        with suppress(ValueError):
            body = json.loads(text)
            if isinstance(body, dict):
                yield body


def _crc(text: str) -> int:
    import google_crc32c

    return int(google_crc32c.value(text.encode()))


@cache
def _process_name(process: int) -> str:
    """A name that no other process has, on any host."""
    return f"{place_of_processes()}-{process}-{uuid.uuid4().hex[:6]}"
