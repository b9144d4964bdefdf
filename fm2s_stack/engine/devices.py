"""The devices of this machine, and the threads that we were given."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fm2s_stack.errors import DeviceError, UsageError

SERVED = 6  #: threads of the CPU whose planes one more thread reads and writes
FEEDING = 5  #: units being read or written for each GPU at most: what one keeps busy

_GPUS = re.compile(r"cuda(:\d+)?(,(cuda:)?\d+)*")

#: What the drivers of GPUs make on Linux (NVIDIA's, that of WSL, AMD's): without any of them
#: there is no GPU, and torch, which takes seconds to load, need not be asked.
_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", "/dev/kfd")


def usable_threads(wanted: int | None = None) -> int:
    """Threads to compute with: what was asked for, else the cores that were given to us.

    Those are the process's affinity, or fewer where a SLURM job was given fewer: not every
    cluster binds its jobs to their cores (sbatch(1), SLURM_CPUS_PER_TASK).

    Raises
    ------
    UsageError
        If less than one was asked for.
    """
    if wanted is not None:
        if wanted < 1:
            raise UsageError(f"--threads {wanted}: expected 1 or more")
        return wanted
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(bound or 1, int(given)) if given.isdecimal() and int(given) else bound or 1


def find_devices(name: str) -> tuple[str, ...]:
    """The devices that a name stands for: ``("cpu",)``, or one or several ``cuda:N``.

    Parameters
    ----------
    name
        ``auto`` (every GPU that is visible, else the CPU), ``cpu``, ``cuda`` (every GPU),
        ``cuda:N``, or several as in ``cuda:0,1``.

    Raises
    ------
    DeviceError
        If there is no such device.
    UsageError
        If the name is none of those.
    """
    if name == "cpu" or (name == "auto" and not _may_have_gpus()):
        return ("cpu",)
    if name != "auto" and not _GPUS.fullmatch(name):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, cuda:N or cuda:N,M")
    count = _gpu_count()
    if name == "auto" and not count:
        return ("cpu",)
    if name in ("auto", "cuda"):
        wanted = list(range(max(count, 1)))
    else:
        wanted = [int(number) for number in re.findall(r"\d+", name)]
    missing = [number for number in wanted if number >= count]
    if missing:
        there = f"{count} CUDA device{'s' * (count != 1)}" if count else "no CUDA device"
        use = "cpu" if not count else "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(
            f"--device {name}: there is no cuda:{missing[0]}, this machine has {there} that torch "
            f"sees; use {use}"
        )
    return tuple(f"cuda:{number}" for number in dict.fromkeys(wanted))


def device_kind(device: str) -> str:
    """``cpu`` or ``cuda``: results agree to the bit within a kind."""
    return device.partition(":")[0]


def _may_have_gpus() -> bool:
    return os.name == "nt" or any(Path(driver).exists() for driver in _DRIVERS)


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
