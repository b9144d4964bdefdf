"""Running the command line in this process, and small recordings to run it on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fm2s_stack.cli.main import main

QUICK = ("--steps", "3")
HERE = ("--device", "cpu", "--threads", "1")


class Cli:
    """Runs a command and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: object, code: int = 0) -> Cli:
        """Run; the exit code must be `code`."""
        self._capsys.readouterr()
        try:
            main([str(word) for word in words])
            exited: object = 0
        except SystemExit as stop:
            exited = stop.code
        self.out, self.err = self._capsys.readouterr()
        assert exited == code, self.err
        return self

    def denoise(self, *words: object, code: int = 0) -> Cli:
        """Denoise with the preset srdtrans, unless the words name the networks, in few steps."""
        said = set(map(str, words))
        preset = () if {"-c", "--fit-from"} & said else ("-c", "srdtrans")
        steps = () if "--fit-from" in said else QUICK
        return self("denoise", *words, *preset, *steps, *HERE, code=code)

    def refused(self, *words: object, code: int = 1) -> str:
        """Denoise, and give the one line of the refusal."""
        self.denoise(*words, "--quiet", code=code)
        assert self.out == ""
        return only_line(self.err)


def only_line(err: str) -> str:
    """The single line ``Error: ...`` that stderr must be."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: "), err
    return lines[0]


def recording(path: Path, shape: tuple[int, ...] = (12, 48, 48), **options: object) -> Path:
    """A movie of dim discs under Poisson noise, uint16, as tifffile writes it."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    scene = 40 + 60 * ((y - 20) ** 2 + (x - 24) ** 2 < 60) + 20 * (x > 30)
    pixels = rng.poisson(np.broadcast_to(scene, shape)) * 10 + 100
    # three frames of unsaid meaning would be written as colour
    tifffile.imwrite(path, pixels.astype(np.uint16), photometric="minisblack", **options)
    return path


def level(path: Path, number: int = 0) -> np.ndarray:
    """Pixels of a level of an output, read by zarr alone."""
    return np.asarray(zarr.open_array(str(path / f"s{number}"), mode="r")[...])


def attributes(path: Path) -> dict:
    """The attribute fm2s_stack of an OME-Zarr 0.5, read as JSON."""
    return json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]["fm2s_stack"]


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
