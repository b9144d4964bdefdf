"""Our program, run as a user runs it: a process, a file in, an OME-Zarr out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from bench_process import last_line
from quality_filters import NotAvailable, Output, Timing
from quality_recordings import Recording

USAGE = 2  #: exit code of options that this version does not know


class ProgramFailed(Exception):
    """A run of our program that failed; one line."""


def denoised(recording: Recording, words: Sequence[str]) -> Output:
    """`fm2s-stack denoise` of a recording.

    Parameters
    ----------
    recording
        Its noisy file is read.
    words
        Options, such as ``-c srdtrans``.

    Raises
    ------
    NotAvailable
        If this version does not know an option.
    ProgramFailed
        If it fails.
    """
    with tempfile.TemporaryDirectory(prefix="fm2s_quality_") as folder:
        output = Path(folder) / "out.zarr"
        summary = _call(recording.noisy, output, words)
        pixels = np.asarray(zarr.open_group(output, mode="r")["s0"])
    told = Timing(**{name: float(summary[name]) for name in Timing.__dataclass_fields__})
    return Output(pixels.reshape(recording.frames.noisy.shape), timing=told)


def _call(noisy: Path, output: Path, words: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "fm2s_stack", "denoise", str(noisy), str(output)]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [*command, *words, "--quiet", "--json"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": cache},
        )
    said = last_line(done.stderr)
    if done.returncode == USAGE:
        # What to give instead, which follows a semicolon, is a list of everything there is.
        raise NotAvailable(said.removeprefix("Error: ").partition(";")[0])
    if done.returncode:
        raise ProgramFailed(f"denoise {' '.join(words)}: {said or done.returncode}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary
