"""Jobs that are prepared and not run, and the processes of a Dask cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tifffile

from fm2s_stack import open_stack
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.local import Here
from fm2s_stack.errors import DeviceError
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.holding import held
from fm2s_stack.job.prepare import open_job
from fm2s_stack.job.wanted import settle
from fm2s_stack.plan import Plan
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import journal_folder

QUICK = FitSettings(find_preset("srdtrans"), mode="stack", draws=2, crop=16)
LONG = FitSettings(find_preset("srdtrans"), mode="frame", draws=100_000, crop=16)


def nothing() -> None:
    """Let a run go on."""


@dataclass(frozen=True)
class Prepared:
    """A job with its plan, of which no unit is done."""

    job: Job
    plan: Plan

    def copied(self, folder: Path) -> Prepared:
        """The same job with an output of its own."""
        path, journal = Path(self.job.layout.path), Path(self.job.journal.folder)
        folder.mkdir()
        shutil.copytree(path, folder / path.name)
        shutil.copytree(journal, folder / journal.name)
        layout = replace(self.job.layout, path=str(folder / path.name))
        kept = replace(self.job.journal, folder=str(folder / journal.name))
        return Prepared(replace(self.job, layout=layout, journal=kept, claim=None), self.plan)

    @property
    def files(self) -> dict[str, bytes]:
        """Bytes of every shard."""
        return shards(Path(self.job.layout.path))

    @property
    def times_journaled(self) -> Counter[int]:
        """How often each unit is in the journal."""
        return Counter(body["index"] for body in self.job.journal.read("unit"))


def shards(output: Path) -> dict[str, bytes]:
    """Bytes of every file of pixels of an output."""
    return {
        str(file.relative_to(output)): file.read_bytes()
        for level in output.glob("s[0-9]*")
        for file in sorted((level / "c").rglob("*"))
        if file.is_file()
    }


def compressed_movie(path: Path, frames: int = 40) -> Path:
    """A movie of noise in compressed pages, one of which can be damaged."""
    rng = np.random.default_rng(3)
    pixels = rng.poisson(60, (frames, 32, 32)).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", compression="zlib")
    return path


@contextmanager
def damaged_page(path: Path, page: int) -> Iterator[None]:
    """Within the block a page cannot be decoded."""
    with tifffile.TiffFile(path) as tif:
        offset, size = tif.pages[page].dataoffsets[0], tif.pages[page].databytecounts[0]
    content = path.read_bytes()
    path.write_bytes(content[:offset] + bytes(size) + content[offset + size :])
    yield
    path.write_bytes(content)


def tasks_at_work() -> int:
    """Tasks of ours that run in a worker: to be called there."""
    from fm2s_stack.engine import worker

    return len(worker._at_work)


def fail_in_one_process(marks: Path, task: int, devices: DevicePool, progress: Progress) -> int:
    """A task that fails in the process that did the first one, as on a GPU that fell off."""
    with suppress(FileExistsError), (marks / "broken").open("x") as file:
        file.write(str(os.getpid()))
    until((marks / "broken").read_text)
    if (marks / "broken").read_text() == str(os.getpid()):
        raise DeviceError(f"the device of {os.getpid()} failed")
    return task * task


def fail_everywhere(task: int, devices: DevicePool, progress: Progress) -> int:
    """A task that no device can do."""
    raise DeviceError(f"task {task}: no device works")


def kill_own_process(marks: Path, task: int, devices: DevicePool, progress: Progress) -> int:
    """A task of which number 3 kills its process each time."""
    (marks / f"{task}-{os.getpid()}").touch()
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return task * task


def prepared(
    source: Path, output: Path, fit: FitSettings = QUICK, stack: Stack | None = None
) -> Prepared:
    """Plan, fit and freeze in this process; units of 4 frames."""
    wanted = settle(stack or open_stack(source), output, fit, WriteSettings(), RunSettings(), None)
    with small_units(), held(journal_folder(output), Stop(), nothing_told) as check:
        job, plan = open_job(wanted, Here(DevicePool("cpu")), Silent(), check)
    return Prepared(job, plan)


@contextmanager
def small_units() -> Iterator[None]:
    """Within the block a plan has units of 4 planes."""
    with (
        patch("fm2s_stack.job.planning.SHARD_PLANES", 4),
        patch("fm2s_stack.job.planning.FRAME_FIT_PLANES", 4),
    ):
        yield


def nothing_told(text: str) -> None:
    """Keep a note to itself."""


def until(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something, and fail if it never comes."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


class Processes:
    """Schedulers and workers of their own processes, in a working directory of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def scheduler(self, name: str = "scheduler") -> tuple[subprocess.Popen[bytes], str]:
        """Start one; its process and address."""
        file = self.folder / f"{name}.address"
        code = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom distributed import Scheduler\n"
            "async def main():\n"
            "    async with Scheduler(host='127.0.0.1', port=0, dashboard=False) as s:\n"
            "        Path(sys.argv[1] + '.new').write_text(s.address)\n"
            "        Path(sys.argv[1] + '.new').rename(sys.argv[1])\n"
            "        await s.finished()\n"
            "asyncio.run(main())"
        )
        process = self._start("-c", code, file)
        until(file.is_file)
        return process, file.read_text("ascii")

    def worker(self, address: str, *words: str, first: str = "") -> subprocess.Popen[bytes]:
        """Start ``dask worker`` of one process; `first` is what it does before all else."""
        code = f"{first}\nfrom distributed.cli.dask_worker import main\nmain()"
        given = ("--nthreads", "1", "--no-nanny", "--no-dashboard", *words)
        return self._start("-c", code, address, *given)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _start(self, *words: object) -> subprocess.Popen[bytes]:
        self.folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        self.started.append(process)
        return process


class Command:
    """``fm2s-stack`` in a process of its own."""

    def __init__(self, folder: Path, *words: object) -> None:
        self._log = folder / f"{time.monotonic_ns()}.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fm2s_stack", *map(str, words)],
            cwd=folder, stderr=self._log.open("wb"), env=environment, start_new_session=True,
        )  # fmt: skip

    @property
    def err(self) -> str:
        """What it has said."""
        return self._log.read_text("utf-8")

    def ended(self, seconds: float = 120) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill it, at once."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
