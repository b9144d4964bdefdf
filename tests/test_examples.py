"""The examples run as they are, and do what they say."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
from cli_tools import attributes, level, recording
from PIL import Image

from fm2s_stack import denoise_stack, load_denoisers, open_stack
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.metrics import frame_si_psnr
from fm2s_stack.report import before_after_png
from fm2s_stack.settings import FitSettings
from fm2s_stack.simulate import Simulation, write_simulation

EXAMPLES = Path(__file__).parents[1] / "examples"
STEPS = 3


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A folder with movie.tif, its truth, and out.zarr."""
    folder = tmp_path_factory.mktemp("simulated")
    write_simulation(folder / "movie.tif", Simulation(frames=8, height=48, width=64))
    fit = FitSettings(find_preset("srdtrans"), draws=STEPS)
    denoise_stack(open_stack(folder / "movie.tif"), folder / "out.zarr", fit)
    return folder


def test_there_is_a_test_for_every_example():
    text = Path(__file__).read_text("utf-8")
    untested = [p.stem for p in EXAMPLES.glob("*.py") if f'example("{p.stem}")' not in text]
    assert untested == ["denoise_stack"]  # run as a program below
    assert 'EXAMPLES / "denoise_stack.py"' in text


def test_denoising_runs_as_a_program(simulated, tmp_path):
    words = [EXAMPLES / "denoise_stack.py", simulated / "movie.tif", tmp_path / "o.tif"]
    command = [sys.executable, *map(str, words), str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 planes" in done.stdout
    expected = tmp_path / "expected.zarr"
    denoise_stack(open_stack(simulated / "movie.tif"), expected, FitSettings(draws=STEPS))
    assert np.array_equal(tifffile.imread(tmp_path / "o.tif"), level(expected))


def test_mapping_lazily_gives_the_projections_of_the_whole_run(simulated, tmp_path):
    main = example("map_lazily").main
    main(str(simulated / "movie.tif"), str(tmp_path / "p.tif"), steps=STEPS)
    mean, highest = tifffile.imread(tmp_path / "p.tif")
    whole = level(simulated / "out.zarr")
    assert np.allclose(mean, whole.mean(axis=0), rtol=1e-6)
    assert np.array_equal(highest, whole.max(axis=0))


def test_all_recordings_share_the_networks_of_the_first(tmp_path):
    for name in ("a.tif", "b.tif"):
        recording(tmp_path / name, (4, 32, 32))
    main = example("one_fit_for_all").main
    main(str(tmp_path / "d"), str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), steps=STEPS)
    ours, theirs = (load_denoisers(tmp_path / "d" / f"{name}.zarr")[0] for name in "ab")
    assert np.array_equal(ours.weights, theirs.weights)
    assert ours.intensity == theirs.intensity
    assert attributes(tmp_path / "d" / "b.zarr")["settings"]["fit_from"] == "a.zarr"


def test_an_output_is_told_and_drawn(simulated, tmp_path, capsys, monkeypatch):
    look, titles = example("look_at_output"), []

    def draw(*args, **options):
        titles.append(options["title"])
        return before_after_png(*args, **options)

    monkeypatch.setattr(look, "before_after_png", draw)
    look.main(str(simulated / "movie.tif"), str(simulated / "out.zarr"), str(tmp_path / "p.png"))
    assert titles == ["movie.tif before and after"]
    assert "complete" in capsys.readouterr().out
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_filters_are_measured_on_the_same_scale(simulated):
    paths = [simulated / name for name in ("movie.tif", "movie_truth.tif", "out.zarr")]
    decibels = example("compare_with_filters").main(*map(str, paths))
    movie, truth = (tifffile.imread(path).astype(np.float64) for path in paths[:2])
    assert decibels["raw"] == pytest.approx(frame_si_psnr(movie, truth), abs=1e-3)
    assert decibels["Gaussian, 1 px"] > decibels["raw"]
