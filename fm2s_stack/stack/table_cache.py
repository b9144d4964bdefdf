"""Page tables kept between runs: walking 40,000 directories over a network takes a minute.

A saved table holds for one path, size and modification time, and carries a checksum. Whatever
is wrong with it, it is walked again; nothing here ever fails a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import uuid
from dataclasses import astuple
from pathlib import Path

import numpy as np

from fm2s_stack.stack.ifd import PageFormat
from fm2s_stack.stack.page_table import PageTable, scan

_VERSION = 3  # raise when PageTable or what the walk finds changes
_FEWEST_PAGES = 100
_COLUMNS = ("ifds", "starts", "counts", "raw", "format_of", "seconds")
_DIGEST = 32


def load_table(path: Path, cache_dir: Path | None) -> PageTable:
    """The page table of a file: the saved one if it still holds, else a new walk, saved.

    Parameters
    ----------
    path
        The TIFF file.
    cache_dir
        Folder of saved tables; None: ``fm2s-stack`` in the user's cache folder.

    Raises
    ------
    StackError
        As `page_table.scan` does.
    """
    status = path.stat()
    key = [_VERSION, str(path.resolve()), status.st_size, status.st_mtime_ns]
    saved = _saved_name(key, cache_dir)
    table = _load(saved, key) if saved else None
    if table is None:
        table = scan(path)
        if saved and len(table.ifds) >= _FEWEST_PAGES and table.size == status.st_size:
            _save(saved, key, table)
    return table


def user_cache_dir() -> Path:
    """The user's cache folder of this program, by the custom of the platform."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "fm2s-stack"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "fm2s-stack" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fm2s-stack"
    return Path.home() / ".cache" / "fm2s-stack"


def _saved_name(key: list[object], cache_dir: Path | None) -> Path | None:
    name = hashlib.blake2b(str(key[1]).encode("utf-8", "surrogateescape"), digest_size=16)
    try:
        return (cache_dir or user_cache_dir()) / f"pages-{name.hexdigest()}.npz"
    except RuntimeError:  # no home folder
        return None


def _load(saved: Path, key: list[object]) -> PageTable | None:
    try:
        data = saved.read_bytes()
        if hashlib.blake2b(data[_DIGEST:], digest_size=_DIGEST).digest() != data[:_DIGEST]:
            return None
        with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about.pop("key") != key:
                return None
            columns = {name: arrays[name] for name in _COLUMNS}
        formats = tuple(PageFormat(tuple(shape), *rest) for shape, *rest in about.pop("formats"))
        resolution = tuple(about.pop("resolution"))
        return PageTable(**columns, formats=formats, resolution=resolution, **about)
    except Exception:  # a saved table is only ever a shortcut
        return None


def _save(saved: Path, key: list[object], table: PageTable) -> None:
    about = {
        "key": key,
        "size": table.size,
        "order": table.order,
        "formats": [astuple(form) for form in table.formats],
        "segments": table.segments,
        "resolution": table.resolution,
        "texts": dict(table.texts),
    }
    with contextlib.suppress(OSError, ValueError):
        buffer = io.BytesIO()
        arrays = {name: getattr(table, name) for name in _COLUMNS}
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(buffer, about=text, **arrays)
        data = buffer.getvalue()
        _replace(saved, hashlib.blake2b(data, digest_size=_DIGEST).digest() + data)


def _replace(saved: Path, data: bytes) -> None:
    saved.parent.mkdir(parents=True, exist_ok=True)
    # Not by `tempfile`, whose files nobody else may read: the folder may be a group's.
    temporary = saved.with_name(f"{saved.stem}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(saved)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
