"""The simulated movie against the statistics it was asked for."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from fm2s_stack.errors import OutputError, OutputExists, UsageError
from fm2s_stack.simulate import Simulation, noisy_frame, truth_frame, write_simulation
from fm2s_stack.simulate.activity import kernel
from fm2s_stack.simulate.movie import delta_f_over_f
from fm2s_stack.simulate.scene import neuropil_texture, scene

SMALL = Simulation(frames=6, height=48, width=64, seed=5)


def noise_over_time(simulation: Simulation, frames: int = 400) -> tuple[NDArray, NDArray]:
    """Noise (t, y, x) of a movie, and its mean truth (y, x)."""
    truth = np.stack([truth_frame(simulation, i) for i in range(frames)]).astype(float)
    noisy = np.stack([noisy_frame(simulation, i) for i in range(frames)])
    return noisy - truth, truth.mean(axis=0)


@pytest.mark.parametrize(("gain", "read_noise", "correlation"), [(40, 20, 0), (7.5, 60, 0.27)])
def test_the_variance_grows_with_the_mean_by_the_gain_from_the_read_variance(
    gain: float, read_noise: float, correlation: float
) -> None:
    asked = replace(SMALL, gain=gain, read_noise=read_noise, correlation=correlation, photons=200)
    noise, mean = noise_over_time(asked, 1500)
    slope, intercept = np.polyfit(mean.ravel() - 200, noise.var(axis=0).ravel(), 1)
    assert slope == pytest.approx(gain, rel=0.03)
    assert intercept == pytest.approx(read_noise**2 + 1 / 12, rel=0.2)
    assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(noise.size / 2)


@pytest.mark.parametrize("asked", [-0.3, 0, 0.27, 0.5])
def test_the_noise_is_correlated_along_rows_as_asked_and_nowhere_else(asked: float) -> None:
    noise, _ = noise_over_time(replace(SMALL, correlation=asked), 200)
    unit = noise / noise.std(axis=0)
    assert np.mean(unit[:, :, 1:] * unit[:, :, :-1]) == pytest.approx(asked, abs=0.01)
    assert np.mean(unit[:, :, 2:] * unit[:, :, :-2]) == pytest.approx(0, abs=0.01)
    assert np.mean(unit[:, 1:] * unit[:, :-1]) == pytest.approx(0, abs=0.01)
    assert np.mean(unit[1:] * unit[:-1]) == pytest.approx(0, abs=0.01)
    assert np.mean(unit[:, :, 1] * unit[:, :, 0]) == pytest.approx(asked, abs=0.04)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2000), st.integers(1, 5000), st.integers(0, 2**40))
def test_a_frame_is_the_same_whatever_was_made_before_and_however_long_the_movie(
    frame: int, frames: int, seed: int
) -> None:
    here = replace(SMALL, height=12, width=16, seed=seed)
    alone = noisy_frame(here, frame)
    noisy_frame(here, frame + 7)
    np.testing.assert_array_equal(noisy_frame(replace(here, frames=frames), frame), alone)
    truth_again = truth_frame(replace(here, frames=frames), frame)
    np.testing.assert_array_equal(truth_again, truth_frame(here, frame))


def test_other_seeds_and_other_frames_have_other_noise_and_other_fields() -> None:
    def noise(simulation: Simulation, frame: int) -> NDArray:
        return (noisy_frame(simulation, frame) - truth_frame(simulation, frame)).ravel()

    other = replace(SMALL, seed=6)
    pairs = [(noise(SMALL, 1), noise(SMALL, 2)), (noise(SMALL, 1), noise(other, 1))]
    assert all(abs(np.corrcoef(*pair)[0, 1]) < 0.1 for pair in pairs)
    assert np.abs(truth_frame(SMALL, 0) - truth_frame(other, 0)).max() > 100


def test_the_truth_follows_the_traces_of_the_cells() -> None:
    asked = Simulation(height=96, width=96, neuropil=0, vessels=0, seed=2)
    frames = range(0, 600, 6)
    truth = np.stack([truth_frame(asked, i) for i in frames])
    traces = np.stack([delta_f_over_f(asked, i) for i in frames])
    view = scene(asked)
    own = view.footprints.toarray().argmax(axis=0)
    seen = truth.reshape(len(frames), -1)[:, own]
    active = traces.std(axis=0) > 0.05
    assert active.sum() >= 5
    for cell in np.flatnonzero(active):
        assert np.corrcoef(seen[:, cell], traces[:, cell])[0, 1] > 0.999


def test_no_activity_leaves_every_cell_at_rest() -> None:
    asleep = replace(SMALL, burst_rate=0)
    assert not delta_f_over_f(asleep, 100).any()


def test_a_spike_rises_to_one_and_decays_with_the_time_constant() -> None:
    peak = minimize_scalar(
        lambda age: -kernel(np.array([age]), 0.05, 0.6)[0], bounds=(0, 2), method="bounded"
    )
    assert -peak.fun == pytest.approx(1, abs=1e-6)
    late = kernel(np.array([3.0, 3.6]), 0.05, 0.6)
    assert late[1] / late[0] == pytest.approx(np.exp(-1))
    assert kernel(np.array([0.0]), 0.05, 0.6)[0] == 0


def test_cells_are_as_wide_and_as_many_as_asked_and_hardly_touch() -> None:
    cells = scene(Simulation(height=200, width=300, pixel_size=2.0, cell_density=4e-4)).cells
    assert len(cells) == round(4e-4 * 400 * 600)
    assert 2 * cells.radius.mean() == pytest.approx(12.5 / 2, rel=0.05)
    apart = np.hypot(*(np.subtract.outer(v, v) for v in (cells.y, cells.x)))
    assert apart[np.triu_indices(len(cells), 1)].min() >= 0.95 * 12.5 / 2


def test_the_photon_budget_is_the_brightest_cell_saturated() -> None:
    storm = replace(SMALL, height=128, width=128, burst_rate=50, neuropil=0, vessels=0)
    photons = (truth_frame(storm, 0) - 200) / storm.gain
    assert 0.75 * 25 < photons.max() <= (1 + storm.background) * 25
    assert neuropil_texture(storm).mean() == pytest.approx(1, rel=0.1)


def test_int16_scatters_around_zero_and_nothing_wraps() -> None:
    negative = noisy_frame(replace(SMALL, dtype="int16"), 0)
    assert negative.dtype == np.int16
    assert -200 < negative.min() < 0
    bright = noisy_frame(replace(SMALL, dtype="uint8"), 0)
    assert bright.max() == 255
    assert np.corrcoef(bright.ravel(), truth_frame(SMALL, 0).ravel())[0, 1] > 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [("frames", 0), ("photons", -1), ("seed", -1), ("correlation", 0.6), ("dtype", "float32")],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value}, expected"):
        replace(SMALL, **{field: value})


def test_the_files_hold_the_frames_the_traces_and_the_scale(tmp_path: Path) -> None:
    counts: list[int] = []
    files = write_simulation(tmp_path / "new" / "run.tif", SMALL, progress=counts.append)
    assert counts == [1, 2, 3, 4, 5, 6]
    expected = np.stack([noisy_frame(SMALL, i) for i in range(6)])
    np.testing.assert_array_equal(tifffile.imread(files.movie), expected)
    expected = np.stack([truth_frame(SMALL, i) for i in range(6)])
    np.testing.assert_array_equal(tifffile.imread(files.truth), expected)
    with files.traces.open() as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["frame", "time_s", "cell_0"]
    traces = np.array(rows, dtype=float)
    np.testing.assert_allclose(traces[:, 1], np.arange(6) / 30, atol=1e-6)
    np.testing.assert_allclose(traces[4, 2:], delta_f_over_f(SMALL, 4), atol=1e-6)
    assert len(files.cells.read_text().splitlines()) == traces.shape[1] - 2 + 1
    with tifffile.TiffFile(files.movie) as tiff:
        assert tiff.series[0].axes == "TYX"
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == pixels["PhysicalSizeY"] == 1.0
    assert pixels["TimeIncrement"] == pytest.approx(1 / 30)
    assert len(list(files.movie.parent.iterdir())) == 6


def test_a_folder_gets_a_movie_tif(tmp_path: Path) -> None:
    assert write_simulation(tmp_path, SMALL).movie == tmp_path / "movie.tif"
    with pytest.raises(UsageError, match=r"\.tif file or a folder"):
        write_simulation(tmp_path / "movie.zarr", SMALL)


def test_an_earlier_simulation_stands_until_overwriting_is_asked_for(tmp_path: Path) -> None:
    files = write_simulation(tmp_path, SMALL)
    before = files.movie.read_bytes()
    with pytest.raises(OutputExists, match=r"exists already"):
        write_simulation(tmp_path, replace(SMALL, seed=6))
    assert files.movie.read_bytes() == before
    write_simulation(tmp_path, replace(SMALL, seed=6), overwrite=True)
    assert files.movie.read_bytes() != before


def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulation(tmp_path, SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"movie\.tif: cannot write"):
        write_simulation(tmp_path / "file" / "movie.tif", SMALL)
