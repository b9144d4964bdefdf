"""Killing runs, and telling whether anything was lost: client of crash_server.py."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tifffile
import zarr

SERVER = Path(__file__).with_name("crash_server.py")
PLACE = ("--device", "cpu", "--threads", "1")
WAYS = {
    "every": ("out.zarr", "--fit-every", "2"),
    "stack": ("out.zarr", "--fit", "stack", "--ome-zarr", "0.4"),
    "frame": ("out.zarr", "--fit", "frame", "--frames", "0:2"),
    "tiff": ("out.tif", "--fit", "stack"),
}
VARYING = ("started", "finished", "timings", "checksum")


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int  #: exit code; negative: the signal that killed it
    out: str
    err: str
    trace: list[str]  #: changes to the file system, in order; empty if it was killed


class Server:
    """Runs commands in forks of one warm process."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment,
        )  # fmt: skip
        assert self._answer() == "ready"

    def start(self, folder: Path, *words: object, **how: object) -> int:
        """Begin a run in a folder; the number of its process."""
        asked = {
            "words": [str(word) for word in words],
            "folder": str(folder),
            **{name: str(self._logs / name) for name in ("stdout", "stderr", "trace")},
            **how,
        }
        (self._logs / "trace").unlink(missing_ok=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        return int(self._answer())

    def wait(self) -> Ended:
        """Wait for the end of the run that was begun."""
        code = int(self._answer())
        texts = [(self._logs / name).read_text("utf-8") for name in ("stdout", "stderr")]
        trace = self._logs / "trace"
        lines = trace.read_text("utf-8").splitlines() if trace.exists() else []
        return Ended(code, *texts, lines)

    def run(self, folder: Path, *words: object, **how: object) -> Ended:
        """Run to its end, or to the k-th change where `at` is given."""
        self.start(folder, *words, **how)
        return self.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the server is gone"
        return answer.strip()


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed."""

    folder: Path  #: with the input and the output
    content: dict[str, object]  #: from `content`
    changes: int  #: to the file system
    seconds: float  #: that it took

    def copy(self, to: Path) -> Path:
        """A new folder with the input alone, its time stamp kept."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        shutil.copy2(self.folder / "movie.tif", to)
        return to

    def instants(self, count: int) -> list[int]:
        """Changes to strike at: one at random of each part of the run; of many, the last too."""
        rng = random.Random(count)
        edges = [1 + self.changes * i // count for i in range(count + 1)]
        return [rng.randrange(a, b) for a, b in pairwise(edges)] + [self.changes] * (count > 2)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of all tests."""
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def undisturbed(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Undisturbed]:
    """An undisturbed run of one of the `WAYS`, made once."""

    @cache
    def of(way: str) -> Undisturbed:
        folder = tmp_path_factory.mktemp(way)
        recording(folder / "movie.tif")
        began = time.monotonic()
        ended = server.run(folder, *words(way))
        assert ended.code == 0, ended.err
        seconds = time.monotonic() - began
        return Undisturbed(folder, content(folder), len(ended.trace), seconds)

    return of


def recording(path: Path) -> Path:
    """4 frames of 2 channels and 2 slices: 4 units, 2 fits or with windows 4."""
    rng = np.random.default_rng(1)
    pixels = (rng.poisson(60, (4, 2, 2, 32, 32)) * 10).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", ome=True, metadata={"axes": "TCZYX"})
    return path


def words(way: str, *more: object) -> list[str]:
    """The command line of one of the `WAYS`, for a folder with ``movie.tif``."""
    output, *options = WAYS[way]
    named = ("denoise", "movie.tif", output, "-c", "srdtrans", "--steps", "2")
    return [*map(str, (*named, *PLACE, *options, *more))]


def content(folder: Path) -> dict[str, object]:
    """Every file below a folder with its bytes, but for what tells of times.

    A TIFF stands for its pixels and its provenance; the table of units for its rows.
    """
    return dict(_content(folder))


def _content(folder: Path) -> Iterator[tuple[str, object]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir():
            yield f"{name}/", None
        elif "/fm2s_stack/units/" in name or "/fm2s_stack/spare/" in name:
            yield name, _rows(file) if file.name == "0" and "units" in name else None
        elif file.name in ("zarr.json", ".zattrs") and file.parent.suffix == ".zarr":
            yield name, _without_times(json.loads(file.read_text("utf-8")))
        elif file.name == "out.tif":
            yield name, tifffile.imread(file).tobytes()
        else:
            yield name, file.read_bytes()


def _rows(file: Path) -> list[dict]:
    """The table of units, read by zarr alone, without their seconds."""
    array = file.parents[0 if file.parent.name == "units" else 1]
    rows = json.loads(np.asarray(zarr.open_array(str(array), mode="r")[...]).tobytes())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def _without_times(document: dict) -> dict:
    told = document.get("attributes", document)
    ours = {key: value for key, value in told["fm2s_stack"].items() if key not in VARYING}
    # the table of units, and the copies of it and of this document, tell of times as well
    varying = ("fm2s_stack/units/", "fm2s_stack/spare/")
    ours["files"] = [row for row in ours.get("files", ()) if not row[0].startswith(varying)]
    told["fm2s_stack"] = ours
    return document


def journal_lines(folder: Path) -> list[dict]:
    """Every whole line of the journals in a folder, checked here by our own reading."""
    found = []
    for file in sorted(folder.glob("*.journal/*.jsonl")):
        for line in file.read_bytes().split(b"\n"):
            crc, _, text = line.partition(b" ")
            if text and crc.decode("latin-1") == f"{google_crc32c.value(text):08x}":
                found.append(json.loads(text))
    return found


def done_once(folder: Path) -> dict[str, tuple]:
    """What is journaled as done, and the files that prove it; nothing is journaled twice.

    Returns a name for each fit (with its weights) and each unit (with its files as they are).
    """
    found: dict[str, tuple] = {}
    for line in journal_lines(folder):
        name = f"{line['kind']} {line['token']} {line.get('c')} {line.get('start')}"
        proof = (line.get("weights"),)
        if line["kind"] == "unit":
            name, proof = f"unit {line['index']}", tuple(_files(folder, line))
        assert name not in found, f"{name} was done twice"
        found[name] = proof
    return found


def untouched(folder: Path, before: dict[str, tuple]) -> bool:
    """Whether the files of what was done are those that they were, not made again."""
    files = [file for name, proof in before.items() if "unit" in name for file in proof]
    gone = [path for path, *_ in files if not Path(path).exists()]
    if gone:  # after the export of a TIFF, and never else
        return (folder / "out.tif").exists()
    return all(file == _state(Path(file[0])) for file in files)


def _files(folder: Path, line: dict) -> Iterator[tuple]:
    is_exported = (folder / "out.tif").exists()  # its OME-Zarr goes then
    output = next(folder.glob("*.zarr"), folder)
    for key, size, _ in line.get("files", ()):
        path = output / key
        if path.exists() or not is_exported:
            assert path.stat().st_size == size
            yield _state(path)


def _state(path: Path) -> tuple:
    stat = path.stat()
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns
