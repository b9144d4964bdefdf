"""A simulated movie with its truth and a blurred result, for the tests of evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fm2s_stack.simulate import Simulation, write_simulation

FRAMES, ROWS, COLUMNS = 240, 72, 80
SETTINGS = Simulation(frames=FRAMES, height=ROWS, width=COLUMNS, seed=3, cell_density=0.003)


def save(path: Path, pixels: NDArray, axes: str = "TYX") -> Path:
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes}, ome=True)
    return path


@pytest.fixture(scope="module")
def simulation_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with movie.tif, what stands beside it, and blurred.tif: a Gaussian in time."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_simulation(folder / "movie.tif", SETTINGS)
    for file in folder.glob("*_regions.tif"):
        file.unlink()
    raw = tifffile.imread(folder / "movie.tif").astype(float)
    blurred = np.rint(gaussian_filter(raw, (4, 0, 0))).astype(np.uint16)
    save(folder / "blurred.tif", blurred)
    return folder


@pytest.fixture
def evaluated(simulation_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which a test may change, as the current folder."""
    shutil.copytree(simulation_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*more: object) -> tuple[object, ...]:
    return ("evaluate", "blurred.tif", "--truth", "movie_truth.tif", "--quiet", *more)


def numbers(call, *more: object) -> dict:
    return json.loads(call(*words("--json", *more)).out)
