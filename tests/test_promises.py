"""The promises of the design: same pixels, no seams, bounded memory, nothing half told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fm2s_stack import denoise_stack, load_denoisers, open_stack, plan
from fm2s_stack.errors import StackError
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.store.attributes import output_status, read_attributes
from fm2s_stack.store.unit_table import read_units

QUICK = FitSettings(find_preset("twophoton"), draws=4, crop=32)


def movie(path: Path, shape: tuple[int, ...], dtype: str = "uint16", **options: object) -> Path:
    rng = np.random.default_rng(0)
    light = rng.gamma(2, 60, size=shape[-2:])
    frames = rng.poisson(np.broadcast_to(light, shape)).clip(0, 255 if dtype == "uint8" else None)
    tifffile.imwrite(path, frames.astype(dtype), photometric="minisblack", **options)
    return path


def pixels(output: Path, level: str = "s0") -> np.ndarray:
    return zarr.open_array(output / level, mode="r")[...]


RUNS = {
    "one thread": (RunSettings(threads=1), WriteSettings()),
    "three threads": (RunSettings(threads=3), WriteSettings()),
    "chunks of 3": (RunSettings(threads=2), WriteSettings(chunks=(3, 50, 64))),
    "little memory": (RunSettings(), WriteSettings()),
    "zarr 2": (RunSettings(threads=1), WriteSettings(ome_zarr="0.4")),
}


def less_and_less() -> Iterator[RunSettings]:
    return (RunSettings(threads=2, memory=m * 2**20) for m in range(700, 400, -1))


def shallow(found: plan.Plan) -> bool:
    """Whether memory made the units smaller than they are by choice, and they still fit."""
    return found.fits and len(found.units) > 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("plain")
    source = movie(folder / "movie.tif", (75, 40, 300))
    denoise_stack(open_stack(source), folder / "out.zarr", QUICK)
    return source, folder / "out.zarr"


@pytest.mark.parametrize("name", RUNS)
def test_threads_chunks_memory_and_format_never_change_a_pixel(plain, tmp_path, name):
    source, expected = plain
    run, write = RUNS[name]
    if name == "little memory":
        run = next(
            r for r in less_and_less() if shallow(plan_stack(open_stack(source), QUICK, run=r))
        )
    denoise_stack(open_stack(source), tmp_path / "out.zarr", QUICK, run=run, write=write)
    np.testing.assert_array_equal(pixels(tmp_path / "out.zarr"), pixels(expected))
    np.testing.assert_array_equal(pixels(tmp_path / "out.zarr", "s1"), pixels(expected, "s1"))


def test_a_plane_cut_into_tiles_has_the_pixels_of_a_whole_one(tmp_path, monkeypatch):
    stack = open_stack(movie(tmp_path / "movie.tif", (2, 1500, 1400), "uint8"))
    denoise_stack(stack, tmp_path / "whole.zarr", QUICK)
    monkeypatch.setattr(plan, "COMFORTABLE_UNIT", 600 * 600)
    assert plan_stack(stack, QUICK).units[0].shape == (1, 1, 1, 512, 512)
    denoise_stack(stack, tmp_path / "tiled.zarr", QUICK)
    for level in ("s0", "s1", "s2", "s3"):
        np.testing.assert_array_equal(
            pixels(tmp_path / "tiled.zarr", level), pixels(tmp_path / "whole.zarr", level)
        )


def test_a_channel_comes_out_alike_alone_and_among_others(tmp_path):
    source = movie(tmp_path / "two.tif", (6, 2, 48, 64), imagej=True, metadata={"axes": "TCYX"})
    denoise_stack(open_stack(source), tmp_path / "both.zarr", QUICK)
    denoise_stack(open_stack(source, channel=["1"]), tmp_path / "second.zarr", QUICK)
    both, second = pixels(tmp_path / "both.zarr"), pixels(tmp_path / "second.zarr")
    np.testing.assert_array_equal(both[:, 1], second.reshape(both[:, 1].shape))


def test_a_frame_fitted_by_itself_comes_out_alike_alone_and_in_the_movie(tmp_path):
    source = movie(tmp_path / "movie.tif", (5, 40, 48), "uint8")
    frame = FitSettings(QUICK.preset, mode="frame", draws=3, crop=32)
    denoise_stack(open_stack(source), tmp_path / "all.zarr", frame)
    denoise_stack(open_stack(source, frames=(3, 4)), tmp_path / "one.zarr", frame)
    np.testing.assert_array_equal(
        pixels(tmp_path / "all.zarr")[3], pixels(tmp_path / "one.zarr").reshape(40, 48)
    )


@pytest.mark.parametrize("along", ["t", "z"])
def test_windows_blend_and_the_stored_denoisers_make_the_same_pixels(tmp_path, along):
    axes = {"t": "TYX", "z": "ZYX"}[along]
    source = movie(
        tmp_path / "m.tif", (23, 40, 48), imagej=True, metadata={"axes": axes, "hyperstack": True}
    )
    fit = FitSettings(QUICK.preset, mode="every", every=8, draws=3, crop=32)
    stack = open_stack(source, axes=axes)
    denoise_stack(stack, tmp_path / "out.zarr", fit)
    (denoiser,) = load_denoisers(tmp_path / "out.zarr")
    assert denoiser.positions.tolist() == [3.5, 11.5, 19]
    planes = stack.array.compute().reshape(23, 40, 48)
    np.testing.assert_array_equal(denoiser(planes, np.arange(23)), pixels(tmp_path / "out.zarr"))
    # No step where one window ends: the ninth frame is made of both neighbours' networks.
    left, right = (
        denoiser.with_network(w)(planes[8], dtype="float64") for w in denoiser.weights[:2]
    )
    share = (8 - 3.5) / 8
    blend = np.rint((1 - share) * left + share * right)
    assert np.abs(denoiser(planes[8], 8).astype(float) - blend).max() <= 1


def test_a_source_that_breaks_in_the_middle_leaves_an_output_that_says_incomplete(tmp_path):
    source = movie(tmp_path / "movie.tif", (70, 64, 64))
    stack = open_stack(source)
    fit = FitSettings(QUICK.preset, draws=1, crop=32)
    denoise_stack(stack, tmp_path / "first.zarr", fit)
    with source.open("r+b") as file:
        file.truncate(source.stat().st_size - 4 * 64 * 64 * 2)
    with pytest.raises(StackError, match=r"movie\.tif"):
        denoise_stack(stack, tmp_path / "out.zarr", fit, fit_from=tmp_path / "first.zarr")
    assert output_status(tmp_path / "out.zarr") == "incomplete"
    with pytest.raises(StackError, match=r"movie\.tif"):
        denoise_stack(stack, tmp_path / "out.zarr", fit, fit_from=tmp_path / "first.zarr")


def test_the_output_tells_what_made_it(plain):
    source, output = plain
    told = read_attributes(output)
    assert told["status"] == "complete" and told["seed"] == QUICK.seed
    assert told["source"]["name"] == source.name and told["source"]["size"] == source.stat().st_size
    assert told["settings"]["fit"]["draws"] == 4 and told["preset"]["name"] == "twophoton"
    rows = read_units(output)
    assert told["units"] == len(rows) == 2 and {row["device"] for row in rows} == {"cpu"}
    assert str(source.parent) not in json.dumps(told)


def test_frame_times_names_and_sizes_survive_into_every_format(tmp_path):
    source = tmp_path / "two.ome.tif"
    times = [0.0, 0.5, 1.75]
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.4, "PhysicalSizeY": 0.5, "TimeIncrement": 0.8,
        "Channel": {"Name": ["GCaMP", "tdTomato"]},
        "Plane": {"DeltaT": [t for t in times for _ in range(2)]},
    }  # fmt: skip
    movie(source, (3, 2, 40, 48), ome=True, metadata=metadata)
    stack = open_stack(source, frames=(1, 3))
    assert stack.image.timestamps == (0.5, 1.75)
    for name in ("out.zarr", "old.zarr", "out.ome.tif"):
        version = "0.4" if name == "old.zarr" else "0.5"
        denoise_stack(stack, tmp_path / name, QUICK, write=WriteSettings(ome_zarr=version))
        found = open_stack(tmp_path / name).image
        assert found.timestamps == (0.5, 1.75), name
        assert found.channels == ("GCaMP", "tdTomato"), name
        assert (found.scale.x, found.scale.y) == (0.4, 0.5), name


PEAK = """
import sys
from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings, RunSettings
summary = denoise_stack(
    open_stack(sys.argv[1]), sys.argv[2], FitSettings(find_preset("srdtrans"), draws=2),
    run=RunSettings(threads=2),
)
print(summary.peak_bytes, summary.projected_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((200, 256, 256), "uint16"), ((20, 1024, 1024), "float32"), ((1, 2000, 2000), "uint8")],
)
def test_measured_memory_stays_under_the_projection(tmp_path, shape, dtype):
    source = movie(tmp_path / "movie.tif", shape, dtype)
    command = [sys.executable, "-c", PEAK, str(source), str(tmp_path / "out.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    peak, projected = map(int, done.stdout.split())
    assert peak <= projected < 3 * peak
