"""Whole runs with ``-c auto``: promises, resume, other outputs' networks, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from scipy import ndimage

from fm2s_stack import denoise_stack, fit_stack, load_denoisers, open_stack, plan
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.check.verify import verify_output
from fm2s_stack.engine.job import Job
from fm2s_stack.engine.near_task import with_neighbours
from fm2s_stack.errors import OutputError, StoppedEarly
from fm2s_stack.job import reload
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.metrics import movie_si_psnr
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Silent
from fm2s_stack.settings import PIXEL_VERSION, Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.simulate import Simulation, noisy_frame, truth_frame
from fm2s_stack.stopping import Stop
from fm2s_stack.store.attributes import read_attributes

QUICK = FitSettings(Auto(), draws=6, crop=32)


def write_movie(path, frames=70, height=72, width=288, **settings):
    simulation = Simulation(frames=frames, height=height, width=width, seed=11, **settings)
    movie = np.stack([noisy_frame(simulation, i) for i in range(frames)])
    tifffile.imwrite(path, movie, photometric="minisblack", metadata={"axes": "TYX"})
    return path


def job_of(stack, denoiser):
    """As much of a job as tells which planes are read."""
    return Job(stack, None, "t", QUICK, (denoiser,), None)


def pixels(output, level="s0"):
    return zarr.open_array(output / level, mode="r")[...]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("auto")
    source = write_movie(folder / "movie.tif")
    denoise_stack(open_stack(source), folder / "out.zarr", QUICK)
    return source, folder / "out.zarr"


RUNS = {
    "one thread": (RunSettings(threads=1), WriteSettings()),
    "three threads": (RunSettings(threads=3), WriteSettings()),
    "chunks of 3": (RunSettings(threads=2), WriteSettings(chunks=(3, 50, 64))),
    "zarr 2": (RunSettings(threads=1), WriteSettings(ome_zarr="0.4", chunks=(16, 32, 288))),
}


@pytest.mark.parametrize("name", RUNS)
def test_threads_chunks_and_format_never_change_a_pixel(plain, tmp_path, name):
    source, expected = plain
    run, write = RUNS[name]
    denoise_stack(open_stack(source), tmp_path / "out.zarr", QUICK, run=run, write=write)
    np.testing.assert_array_equal(pixels(tmp_path / "out.zarr"), pixels(expected))


def test_units_read_their_neighbours_across_their_borders(plain):
    source, output = plain
    (denoiser,) = load_denoisers(output)
    movie = tifffile.imread(source)
    # The whole movie at once, in the library alone: no units, no blocks, no halo.
    np.testing.assert_array_equal(denoiser(movie), pixels(output))


def test_a_plane_cut_into_tiles_has_the_pixels_of_a_whole_one(tmp_path, monkeypatch):
    stack = open_stack(write_movie(tmp_path / "movie.tif", frames=18, height=601, width=530))
    denoise_stack(stack, tmp_path / "whole.zarr", QUICK)
    monkeypatch.setattr(plan, "COMFORTABLE_UNIT", 300 * 300)
    assert plan_stack(stack, QUICK).units[0].shape == (1, 1, 1, 256, 256)
    denoise_stack(stack, tmp_path / "tiled.zarr", QUICK)
    np.testing.assert_array_equal(pixels(tmp_path / "tiled.zarr"), pixels(tmp_path / "whole.zarr"))


def test_a_run_that_was_stopped_goes_on_to_the_same_pixels(plain, tmp_path):
    source, expected = plain
    stack, output = open_stack(source), tmp_path / "out.zarr"
    write = WriteSettings(chunks=(4, 72, 144))
    run = RunSettings(threads=1)
    stop = Stop()

    class After(Silent):
        seen = 0

        def advance(self, count):
            self.seen += count
            if self.seen > QUICK.draws + 20:
                stop.request("test")

    with pytest.raises(StoppedEarly):
        denoise_stack(stack, output, QUICK, write=write, run=run, stop=stop, progress=After())
    summary = denoise_stack(stack, output, QUICK, write=write, run=run)
    assert summary.fit_seconds < 5  # frozen networks are loaded, not trained
    np.testing.assert_array_equal(pixels(output), pixels(expected))


def test_any_plane_is_computed_again_from_the_output_alone(plain):
    source, output = plain
    report = verify_output(output, source, planes=6, seed=3)
    assert report.is_good
    assert [plane.difference for plane in report.source.planes] == [0.0] * 6


def test_networks_of_another_movie_bring_no_background_of_it(plain, tmp_path):
    lender = tmp_path / "lender.zarr"
    denoise_stack(open_stack(plain[0]), lender, replace(QUICK, draws=60))
    other = write_movie(tmp_path / "other.tif", frames=40, background=0.2)
    denoise_stack(open_stack(other), tmp_path / "out.zarr", fit_from=lender)
    made = pixels(tmp_path / "out.zarr").mean(dtype=float)
    assert made == pytest.approx(tifffile.imread(other).mean(dtype=float), rel=0.003)
    (lent,), (own,) = load_denoisers(lender), load_denoisers(tmp_path / "out.zarr")
    np.testing.assert_array_equal(lent.weights, own.weights)
    assert not np.array_equal(lent.background.mean, own.background.mean)


def test_networks_of_another_pixel_version_are_refused_in_a_line(plain, monkeypatch):
    monkeypatch.setattr(reload, "PIXEL_VERSION", PIXEL_VERSION + 1)
    with pytest.raises(OutputError, match=r"out\.zarr: .* pixel version \d+, expected \d+") as told:
        load_denoisers(plain[1])
    assert "\n" not in str(told.value)


def test_what_is_made_up_for_is_in_the_output(plain):
    (told,) = read_attributes(plain[1])["photometry"]
    (denoiser,) = load_denoisers(plain[1])
    levels, shifts = (np.array(told[name]) for name in ("levels", "shifts"))
    assert len(levels) > 2 and np.all(np.diff(levels) > 0) and len(shifts) == len(levels)
    np.testing.assert_allclose(levels, denoiser.background.level_map.levels, atol=1e-3)
    assert shifts[0] < 0 < shifts[-1]  # smoothing made dark parts brighter, bright ones darker
    assert told["heed"] == pytest.approx([float(denoiser.weights[0, -1])], abs=1e-5)


def test_no_neighbour_is_taken_across_a_break(tmp_path):
    folder = tmp_path / "trials"
    folder.mkdir()
    for number in (1, 2):
        write_movie(folder / f"trial_{number}.tif", frames=20, height=48, width=48)
    denoise_stack(open_stack(folder), tmp_path / "a.zarr", QUICK)
    (denoiser,) = load_denoisers(tmp_path / "a.zarr")
    stack = open_stack(folder)
    assert stack.breaks == (20,)

    def read(t):
        run = Unit(0, t, 0, (0, 1), (0, 48), (0, 48))
        return with_neighbours(job_of(stack, denoiser), denoiser, run).t

    assert read((10, 20)) == (6, 20)  # the past
    assert read((20, 21)) == (20, 25)
    assert read((19, 20)) == (15, 20)


def test_a_causal_run_does_not_see_what_comes(tmp_path):
    fit = replace(QUICK, preset=Auto(causal=True))
    movie = write_movie(tmp_path / "movie.tif", frames=40, height=64, width=64)
    denoise_stack(open_stack(movie), tmp_path / "out.zarr", fit)
    (denoiser,) = load_denoisers(tmp_path / "out.zarr")
    frames = tifffile.imread(movie)
    changed = frames.copy()
    changed[25:] += 500
    np.testing.assert_array_equal(denoiser(frames)[:25], denoiser(changed)[:25])
    assert not np.array_equal(denoiser(frames)[25:], denoiser(changed)[25:])


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_short_recordings_come_out_where_neighbours_are_asked_for(tmp_path, frames):
    movie = write_movie(tmp_path / "movie.tif", frames=frames, height=40, width=48)
    for neighbours in (1, 4):
        fit = replace(QUICK, preset=Auto(neighbours=neighbours))
        denoise_stack(open_stack(movie), tmp_path / f"{neighbours}.zarr", fit)
        assert np.ptp(pixels(tmp_path / f"{neighbours}.zarr")) > 0


def test_slices_and_channels_are_denoised_from_their_neighbours(tmp_path):
    rng = np.random.default_rng(2)
    light = np.cumsum(rng.gamma(2, 20, (3, 2, 12, 1, 1)), axis=2) * rng.gamma(4, 0.2, (40, 44))
    tifffile.imwrite(
        tmp_path / "volume.tif", rng.poisson(light).astype(np.uint16).transpose(0, 2, 1, 3, 4),
        imagej=True, metadata={"axes": "TZCYX"},
    )  # fmt: skip
    for number, run in enumerate((RunSettings(along="z"), RunSettings(along="t", threads=3))):
        output = tmp_path / f"{number}.zarr"
        fit = replace(QUICK, preset=Auto(neighbours=1))
        denoise_stack(open_stack(tmp_path / "volume.tif"), output, fit, run=run)
        assert pixels(output).shape == (3, 2, 12, 40, 44)
        assert verify_output(output, tmp_path / "volume.tif", planes=2, seed=1).is_good


def test_the_provenance_tells_what_was_measured(plain):
    told = read_attributes(plain[1])
    (noise,) = told["noise"]
    assert NoiseModel.from_json(noise).gain == pytest.approx(40, rel=0.1)
    assert told["preset"] == {
        "name": "auto",
        "neighbours": 2,
        "causal": False,
        "alone": False,
    }
    assert isinstance(load_denoisers(plain[1])[0], NeighbourDenoiser)


SHORT = ("--frames", ":15", "--neighbours", "0")  #: too few frames for a background


def test_planes_by_themselves_know_the_recording_and_see_no_other_plane(tmp_path):
    source = write_movie(tmp_path / "movie.tif", frames=24, height=64, width=72)
    (denoiser,) = fit_stack(open_stack(source), replace(QUICK, preset=Auto(neighbours=0)))
    assert isinstance(denoiser, NeighbourDenoiser)
    assert denoiser.reach.count == 1 and not denoiser.background.is_flat
    planes = tifffile.imread(source)
    before = denoiser(planes)
    planes[11] = planes[11][::-1]
    changed = (before != denoiser(planes)).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [11]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--neighbours", "2", "-c", "srdtrans"), "--neighbours: presets denoise each plane"),
        (("--causal", "-c", "srdtrans"), "--causal: presets denoise each plane"),
        (("-c", "auto", "--k-g", "3"), "--k-g: a number of a preset"),
        (("--stride", "3"), "--stride: a number of a preset"),
        (("--fit", "frame", "--neighbours", "2"), "--fit frame fits each plane by itself"),
        (("--fit", "frame", "--causal"), "so there are no earlier ones"),
        (("--neighbours", "0", "--causal"), "so there are no earlier ones"),
        ((*SHORT, "--fit-crop", "32"), "nothing is trained on crops"),
        ((*SHORT, "--precision", "bf16"), "in float32; leave it out"),
        (("-c", "auto", "--fit-crop", "full"), "trains on crops"),
        (("-c", "auto", "--neighbours", "9"), "9"),
        (("--frames", ":1", "--neighbours", "1"), "has one plane; expected 0"),
        (("--frames", ":4", "--causal"), "has 4 planes, too few"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(call, plain, tmp_path, words, said):
    call("denoise", plain[0], tmp_path / "o.zarr", *words, code=2)
    assert said in call.err.splitlines()[-1]
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.slow
def test_a_simulated_movie_comes_out_better_than_from_any_gaussian(tmp_path):
    simulation = Simulation(frames=150, height=128, width=128, seed=5, correlation=0.25)
    truth = np.stack([truth_frame(simulation, i) for i in range(150)])
    noisy = np.stack([noisy_frame(simulation, i) for i in range(150)])
    tifffile.imwrite(tmp_path / "movie.tif", noisy, photometric="minisblack")
    denoise_stack(open_stack(tmp_path / "movie.tif"), tmp_path / "out.zarr", "auto")
    blurs = [
        ndimage.gaussian_filter(noisy.astype(float), (t, s, s))
        for t in (1, 2, 4, 8, 16) for s in (0.5, 0.7, 1, 1.4)
    ]  # fmt: skip
    best = max(movie_si_psnr(blur, truth) for blur in blurs)
    assert movie_si_psnr(pixels(tmp_path / "out.zarr"), truth) > best + 1
