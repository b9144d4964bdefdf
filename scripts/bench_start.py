"""How long one waits for ``--help`` and ``info``, and what machine this is."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench_process import Result, TaskFailed, Terms, last_line

import fm2s_stack
from fm2s_stack.engine.devices import find_devices, usable_threads


def start_times(movie: Path, pages: int, times: int, cache: Path) -> Result:
    """Seconds of whole processes: ``--help``, and ``info`` on a file of many pages.

    The first ``info`` walks the page table and keeps it; the medians are of those after it.
    """
    first = _seconds(("info", str(movie)), cache)
    helps, infos = [], []
    for _ in range(times):
        helps.append(_seconds(("--help",), cache))
        infos.append(_seconds(("info", str(movie)), cache))
    return {
        "pages": pages,
        "times": times,
        "help_seconds": statistics.median(helps),
        "info_seconds": statistics.median(infos),
        "first_info_seconds": first,
    }


def machine(terms: Terms) -> Result:
    """What the figures were measured on."""
    import torch

    device = find_devices(terms.device)[0]
    on_gpu = device != "cpu"
    return {
        "cpu": _cpu_model(),
        "cores": usable_threads(),
        "ram_bytes": _ram_bytes(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "gpu_bytes": torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        "threads": terms.slots,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "fm2s_stack": fm2s_stack.__version__,
    }


def _seconds(words: tuple[str, ...], cache: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fm2s_stack", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise TaskFailed(f"fm2s-stack {words[0]}: {last_line(done.stderr)}")
    return seconds


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(told, platform.processor() or platform.machine())


def _ram_bytes() -> int | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
