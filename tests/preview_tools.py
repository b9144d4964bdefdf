"""Recordings to preview, quickly."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from bad_frame_tools import Pages

from fm2s_stack import open_stack
from fm2s_stack.settings import RunSettings
from fm2s_stack.simulate import Simulation, noisy_frame

HERE = RunSettings(device="cpu", threads=2)


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Hardly any steps, but for the tests of what comes of them."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("fm2s_stack.preview.setting.AUTO_STEPS", 2)
        monkeypatch.setattr("fm2s_stack.preview.setting.PRESET_DRAWS", 2)


def counted(frames: int, shape: tuple[int, int] = (40, 50)) -> Pages:
    """Pages whose first pixel is their number."""
    pixels = np.random.default_rng(0).poisson(200, (frames, *shape)).astype(np.uint16)
    pixels[:, 0, 0] = np.arange(frames)
    return Pages(pixels)


def made(tmp_path, seed: int, photons: float, **more) -> tuple[object, Simulation]:
    sim = Simulation(frames=160, height=96, width=96, seed=seed, photons=photons, **more)
    path = tmp_path / "movie.tif"
    frames = np.stack([noisy_frame(sim, t) for t in range(sim.frames)])
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})
    return open_stack(path), sim
