"""Whole runs on devices that say they are GPUs and compute on the CPU."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tifffile
import torch
import zarr

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.engine import choose, task
from fm2s_stack.errors import DeviceError
from fm2s_stack.fm2s import conveyor
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job import fitting, prepare
from fm2s_stack.progress import Silent
from fm2s_stack.settings import FitSettings, RunSettings

BROKEN = RuntimeError("CUDA error: unspecified launch failure")


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class Machine:
    """What the GPUs of a machine do."""

    def __init__(self) -> None:
        self.planes: Counter[str] = Counter()
        self.fits: list[tuple[str, int]] = []  # device, networks trained together
        self.break_after: dict[str, int] = {}  # device: planes until it fails

    def compute(self, device: str, planes: int) -> None:
        if device in self.break_after and self.planes[device] >= self.break_after[device]:
            raise BROKEN
        self.planes[device] += planes


@pytest.fixture
def machine(monkeypatch):
    """Three GPUs; every piece of the GPU path but the driver is the real one."""
    made, batches, fit = Machine(), Denoiser.denoise_into, fitting.fit_network
    fit_all = task.fit_networks

    def denoise_into(self, planes, positions, core, result, device="cpu", pulse=lambda: None):
        if device == "cpu":
            return batches(self, planes, positions, core, result, device, pulse)
        from fm2s_stack.fm2s.device_batches import denoise_batches

        made.compute(device, len(planes))
        return denoise_batches(self, planes, positions, core, result, "cpu", pulse)

    def fit_one(*arguments, device, **options):
        made.fits.append((device, 1))
        return fit(*arguments, device="cpu", **options)

    def fit_some(planes, *arguments, device, **options):
        made.fits.append((device, len(planes)))
        return fit_all(planes, *arguments, device="cpu", **options)

    monkeypatch.setattr(Denoiser, "denoise_into", denoise_into)
    monkeypatch.setattr(fitting, "fit_network", fit_one)
    monkeypatch.setattr(task, "fit_networks", fit_some)
    monkeypatch.setattr(choose, "find_devices", lambda name: GPUS if name == "cuda" else ("cpu",))
    monkeypatch.setattr(prepare, "require_devices", lambda *arguments: None)
    monkeypatch.setattr(conveyor, "give_back_memory", lambda: None)
    return made


GPUS = ("cuda:0", "cuda:1", "cuda:2")


@pytest.fixture
def movie(tmp_path):
    pixels = np.random.default_rng(1).poisson(40, (320, 24, 30)).astype("uint16")
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    return tmp_path / "movie.tif"


def run(movie, name, device, *, mode=None, told=None, frames=None, exclude_frames=()):
    """Five units of 64 frames; in mode ``frame`` of 16."""
    fit = FitSettings(find_preset("srdtrans"), mode=mode, draws=3)
    out, settings = movie.with_name(name), RunSettings(device=device, memory=2 * 10**9)
    stack = open_stack(movie, frames=frames, exclude_frames=exclude_frames)
    denoise_stack(stack, out, fit, run=settings, progress=told)
    group = zarr.open_group(out, mode="r")
    return group["s0"][:].astype(int), dict(group.attrs["fm2s_stack"])


def test_a_run_on_several_gpus_gives_what_the_cpu_gives(machine, movie):
    expected, _ = run(movie, "cpu.zarr", "cpu")
    found, told = run(movie, "gpu.zarr", "cuda")
    assert np.abs(found - expected).max() <= 1
    assert sum(machine.planes.values()) == 320
    assert told["device"] == "cuda"
    assert len(machine.fits) == 2 and machine.fits[1][0] in GPUS


def test_the_units_of_a_gpu_that_fails_are_done_by_the_others(machine, movie):
    expected, _ = run(movie, "cpu.zarr", "cpu")
    machine.break_after = {"cuda:0": 64, "cuda:1": 0}
    told = Notes()
    found, _ = run(movie, "gpu.zarr", "cuda", told=told)
    assert np.abs(found - expected).max() <= 1
    assert machine.planes["cuda:1"] == 0 and sum(machine.planes.values()) == 320
    left_out = [line for line in told.lines if "goes on on" in line]
    assert all("cuda:" in line and "\n" not in line for line in left_out)
    assert any(line.startswith("cuda:1 failed") for line in left_out)


def test_a_run_whose_last_gpu_fails_is_continued_to_the_same_pixels(machine, movie):
    expected, _ = run(movie, "cpu.zarr", "cpu")
    machine.break_after = {"cuda:0": 128, "cuda:1": 64, "cuda:2": 0}
    with pytest.raises(DeviceError, match="same command again"):
        run(movie, "gpu.zarr", "cuda")
    done = sum(machine.planes.values())
    machine.break_after = {}
    found, _ = run(movie, "gpu.zarr", "cuda")
    assert np.abs(found - expected).max() <= 1
    assert 64 <= done <= 192
    assert sum(machine.planes.values()) <= 320 + 2 * 64  # those in flight, again


def test_networks_of_planes_are_trained_together_on_a_gpu_and_agree_with_those_of_the_cpu(
    machine, movie
):
    expected, _ = run(movie, "cpu.zarr", "cpu", mode="frame", frames=(0, 40))
    machine.fits.clear()
    found, _ = run(movie, "gpu.zarr", "cuda", mode="frame", frames=(0, 40))
    assert sorted(count for _, count in machine.fits) == [8, 16, 16]
    # Three draws from chance: rounding alone may differ.
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("mode", ["stack", "frame"])
def test_on_a_gpu_excluded_frames_are_not_computed_and_split_what_is(machine, movie, mode):
    out = [3, *range(20, 25), 39]
    how = {"mode": mode, "frames": (0, 40), "exclude_frames": out}
    expected, _ = run(movie, "cpu.zarr", "cpu", **how)
    machine.fits.clear()
    found, _ = run(movie, "gpu.zarr", "cuda", **how)
    np.testing.assert_array_equal(found[out], tifffile.imread(movie)[out])
    assert np.abs(found - expected).max() <= 1
    if mode == "frame":  # units of 16: 0 to 2, 4 to 15; 16 to 19, 25 to 31; 32 to 38
        assert sorted(count for _, count in machine.fits) == [3, 4, 7, 7, 12]
    assert sum(machine.planes.values()) == 33


def test_a_gpu_that_lacks_memory_for_a_group_tries_the_same_group_again(
    machine, movie, monkeypatch
):
    from fm2s_stack.engine import faults

    monkeypatch.setattr(faults, "WAITS", (0.0,))
    groups, real = [], task.fit_networks

    def lacking(planes, *arguments, **options):
        groups.append(len(planes))
        if len(groups) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(planes, *arguments, **options)

    monkeypatch.setattr(task, "fit_networks", lacking)
    run(movie, "gpu.zarr", "cuda", mode="frame", frames=(0, 40))
    assert sorted(groups) in ([8, 8, 16, 16], [8, 16, 16, 16])
