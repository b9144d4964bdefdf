"""Tasks of the benchmark, each in a process of its own, so that peaks of memory are not mixed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fm2s_stack.engine.devices import find_devices, usable_threads
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import DEFAULT_SEED, FitMode, FitSettings, RunSettings

Result = dict[str, Any]  #: what a task measured, as JSON holds it

#: What a run imports when it first needs it.
LIBRARIES = ("torch", "dask.array", "zarr", "tifffile", "scipy.ndimage", "fm2s_stack.pipeline")
CHILD = Path(__file__).with_name("bench_child.py")


class TaskFailed(Exception):
    """A task, or a part of the benchmark, that could not be measured; one line."""


@dataclass(frozen=True)
class Terms:
    """What every task runs with."""

    preset: str  #: noise that is trained against
    device: str  #: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``
    threads: int | None  #: units computed at a time; None: the cores that we were given
    memory: int | None  #: bytes that a run may use; None: what the machine allows
    draws: int  #: noise draws of a fit

    def fit(
        self,
        mode: FitMode | None = None,
        *,
        crop: int | None = FitSettings.crop,
        draws: int | None = None,
        seed: int = DEFAULT_SEED,
        preset: str | None = None,
    ) -> FitSettings:
        """The settings of a fit; what is not given is as the package has it."""
        used = find_preset(preset or self.preset)
        return FitSettings(used, mode, crop=crop, draws=draws or self.draws, seed=seed)

    @property
    def run(self) -> RunSettings:
        """Where the pipeline runs."""
        return RunSettings(device=self.device, memory=self.memory, threads=self.threads)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return find_devices(self.device) != ("cpu",)

    @property
    def slots(self) -> int:
        """Threads that compute side by side; a GPU is fed by one."""
        return 1 if self.on_gpu else usable_threads(self.threads)


def run_apart(task: Callable[..., Result], terms: Terms, **given: object) -> Result:
    """Do a task in a process of its own.

    Parameters
    ----------
    task
        A function of a module beside this one that takes `terms` first.
    terms
        What it runs with.
    **given
        Its other arguments; paths are handed over as text.

    Returns
    -------
    dict
        What the task returned, and ``process_seconds`` from the process's start to its end.

    Raises
    ------
    TaskFailed
        With the last line that the process said.
    """
    words = json.dumps({"terms": asdict(terms), **given}, default=str)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        # Each opens files as for the first time: no page tables are kept from others.
        done = subprocess.run(
            [sys.executable, str(CHILD), task.__module__, task.__name__, words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": cache},
        )
    if done.returncode:
        raise TaskFailed(f"{task.__name__}: {last_line(done.stderr) or done.returncode}")
    seconds = time.perf_counter() - began
    return {**json.loads(last_line(done.stdout)), "process_seconds": seconds}


def last_line(text: str) -> str:
    """The last line that is not empty; or nothing."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def warm_up(device: str) -> str:
    """Import what a run needs and wake the device, so that no step is charged with it.

    Returns
    -------
    str
        ``cpu`` or ``cuda:N``.
    """
    for library in LIBRARIES:
        import_module(library)
    found = find_devices(device)[0]
    if found != "cpu":
        import torch

        torch.zeros(1, device=found)
    return found


def device_peak(device: str) -> int | None:
    """Peak bytes that torch held on a GPU in this process; None on the CPU."""
    import torch

    return None if device == "cpu" else int(torch.cuda.max_memory_allocated(device))
