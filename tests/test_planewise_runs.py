"""Whole runs of ``-c auto`` plane by plane: cuts, resume, repair, other outputs' fits, NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from planewise_tools import ALONE, HERE, QUICK, cells, pixels_of, written
from resume_tools import StopAfter
from verify_tools import digests, flip, shards

from fm2s_stack import denoise_stack, load_denoisers, open_stack, plan
from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import PlanewiseDenoiser
from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.errors import StoppedEarly, UsageError
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.settings import Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.attributes import read_attributes


@pytest.fixture(scope="module", autouse=True)
def fast_blocks():
    """Take the faster blocks of movies: nothing here is about decibels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fm2s_stack.job.planewise_fitting.MANY", 1)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six frames in two channels."""
    pixels = np.stack([cells((6, 64, 80)), cells((6, 64, 80), 1) * 2], axis=1)
    folder = tmp_path_factory.mktemp("planewise")
    return written(folder / "movie.ome.tif", pixels, "TCYX")


@pytest.fixture(scope="module")
def plain(source):
    denoise_stack(open_stack(source), source.parent / "out.zarr", QUICK, run=HERE)
    return source.parent / "out.zarr"


def test_the_library_gives_the_pixels_of_a_run(source, plain):
    denoisers = load_denoisers(plain)
    assert all(isinstance(one, PlanewiseDenoiser) for one in denoisers)
    for c, denoiser in enumerate(denoisers):
        np.testing.assert_array_equal(
            denoiser(tifffile.imread(source)[:, c]), pixels_of(plain)[:, c]
        )


def test_a_run_tells_its_noise_its_fits_and_their_checksum(plain):
    told = read_attributes(plain)
    assert told["preset"] == {
        "name": "auto",
        "neighbours": 0,
        "causal": False,
        "alone": True,
    }
    assert [noise["gain"] for noise in told["noise"]] == pytest.approx([10, 20], rel=0.2)
    assert len(told["weights_sha256"]) == 64
    assert np.shape(told["loss"]) == (1, 2, 1)
    assert np.min(told["loss"]) > 0
    assert told["device"] == "cpu"


def test_threads_chunks_and_format_never_change_a_pixel(source, plain, tmp_path):
    run, write = RunSettings(threads=3), WriteSettings(ome_zarr="0.4", chunks=(1, 50, 33))
    denoise_stack(open_stack(source), tmp_path / "o.zarr", QUICK, run=run, write=write)
    np.testing.assert_array_equal(pixels_of(tmp_path / "o.zarr"), pixels_of(plain))


@pytest.mark.slow
def test_worker_processes_never_change_a_pixel(source, tmp_path, monkeypatch):
    # Workers are processes of their own, which nothing here makes faster.
    monkeypatch.setattr("fm2s_stack.job.planewise_fitting.MANY", 64)
    for name, run in (("a", HERE), ("b", RunSettings(workers=2))):
        denoise_stack(open_stack(source), tmp_path / f"{name}.zarr", QUICK, run=run)
    np.testing.assert_array_equal(pixels_of(tmp_path / "b.zarr"), pixels_of(tmp_path / "a.zarr"))


def test_an_image_cut_into_tiles_has_the_pixels_of_a_whole_one(tmp_path, monkeypatch):
    stack = open_stack(written(tmp_path / "image.tif", cells((300, 530)), "YX"))
    denoise_stack(stack, tmp_path / "whole.zarr", ALONE, run=HERE)
    monkeypatch.setattr(plan, "COMFORTABLE_UNIT", 300 * 300)
    assert plan_stack(stack, ALONE).units[0].shape == (1, 1, 1, 256, 256)
    denoise_stack(stack, tmp_path / "tiled.zarr", ALONE, run=HERE)
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "tiled.zarr"), pixels_of(tmp_path / "whole.zarr")
    )
    assert verify_output(tmp_path / "tiled.zarr", tmp_path / "image.tif", planes=1).is_good


@pytest.mark.parametrize(
    "fit", [QUICK, replace(QUICK, mode="frame"), replace(QUICK, mode="every", every=2)]
)
def test_a_run_that_was_stopped_goes_on_to_the_same_pixels_and_is_repaired(
    source, tmp_path, monkeypatch, fit
):
    monkeypatch.setattr("fm2s_stack.engine.pool.POLL", 0.005)
    monkeypatch.setattr(plan, "COMFORTABLE_UNIT", 64 * 80 * 2)
    stack, write = open_stack(source), WriteSettings(chunks=(1, 64, 80))
    stop, output = Stop(), tmp_path / "out.zarr"
    denoise_stack(stack, tmp_path / "whole.zarr", fit, write=write, run=HERE)
    with pytest.raises(StoppedEarly):
        denoise_stack(
            stack, output, fit, write=write, run=HERE, stop=stop, progress=StopAfter(stop, 3)
        )
    summary = denoise_stack(stack, output, fit, write=write, run=HERE)
    assert 0 < summary.units_before < summary.units == 12
    np.testing.assert_array_equal(pixels_of(output), pixels_of(tmp_path / "whole.zarr"))

    report = verify_output(output, source, planes=2, seed=3)
    assert [plane.difference for plane in report.source.planes] == [0.0] * 4
    before = digests(output)
    flip(output / shards(output)[4], np.random.default_rng(0))
    assert not verify_output(output).is_good
    assert repair_output(output, source, run=HERE).identical
    assert digests(output) == before


def test_each_plane_has_its_own_fit_in_mode_frame(source, tmp_path):
    output = tmp_path / "o.zarr"
    denoise_stack(open_stack(source), output, replace(QUICK, preset=Auto(), mode="frame"), run=HERE)
    told = read_attributes(output)
    assert np.shape(told["loss"]) == (6, 2, 1)
    assert told["preset"]["neighbours"] == 0
    with pytest.raises(UsageError, match="--fit frame, a network for each plane"):
        load_denoisers(output)


def test_fits_of_another_output_are_used_as_they_are(source, plain, tmp_path):
    other = np.stack([cells((3, 64, 80), 7), cells((3, 64, 80), 8) * 2], axis=1)
    written(tmp_path / "other.ome.tif", other, "TCYX")
    denoise_stack(open_stack(tmp_path / "other.ome.tif"), tmp_path / "o.zarr", fit_from=plain)
    lent = load_denoisers(plain)
    for c in range(2):
        np.testing.assert_array_equal(pixels_of(tmp_path / "o.zarr")[:, c], lent[c](other[:, c]))
    assert read_attributes(tmp_path / "o.zarr")["noise"] == read_attributes(plain)["noise"]


def test_a_channel_of_one_value_comes_out_as_it_is_with_a_note(call, tmp_path):
    pixels = np.stack([cells((3, 64, 80)), np.full((3, 64, 80), 7, np.uint16)], axis=1)
    written(tmp_path / "m.ome.tif", pixels, "TCYX")
    out = tmp_path / "o.zarr"
    call("denoise", tmp_path / "m.ome.tif", out, "--steps", "1", "--threads", "1")
    assert "holds nothing but 7, and is left as it is" in call.err
    np.testing.assert_array_equal(pixels_of(out)[:, 1], 7)
    assert pixels_of(out)[:, 0].std() < pixels[:, 0].std()
    assert [noise is None for noise in read_attributes(out)["noise"]] == [False, True]
    kinds = [type(one) for one in load_denoisers(out)]
    assert kinds == [PlanewiseDenoiser, LeftAlone]
    assert verify_output(out, tmp_path / "m.ome.tif", planes=1).is_good

    written(tmp_path / "both.ome.tif", pixels[:, :1].repeat(2, axis=1), "TCYX")
    call("denoise", tmp_path / "both.ome.tif", tmp_path / "p.zarr", "--fit-from", out, code=2)
    assert "its channel 1 holds one value" in call.err


def test_a_constant_channel_beside_one_with_neighbours_comes_out_as_it_is(tmp_path):
    pixels = np.stack([cells((8, 48, 48)), np.zeros((8, 48, 48), np.uint16)], axis=1)
    written(tmp_path / "m.ome.tif", pixels, "TCYX")
    fit = FitSettings(draws=4, crop=32)
    denoise_stack(open_stack(tmp_path / "m.ome.tif"), tmp_path / "o.zarr", fit, run=HERE)
    assert read_attributes(tmp_path / "o.zarr")["preset"]["neighbours"] == 2
    np.testing.assert_array_equal(pixels_of(tmp_path / "o.zarr")[:, 1], 0)
    assert isinstance(load_denoisers(tmp_path / "o.zarr")[1], LeftAlone)


def test_nan_comes_back_where_that_is_asked_for(tmp_path):
    plane = cells().astype(np.float32)
    plane[:10], plane[30, 30] = np.nan, np.nan
    stack = open_stack(written(tmp_path / "m.tif", plane, "YX"))
    denoise_stack(stack, tmp_path / "o.zarr", replace(ALONE, nan="keep"), run=HERE)
    result = pixels_of(tmp_path / "o.zarr")
    np.testing.assert_array_equal(np.isnan(result), np.isnan(plane))
    assert np.nanmean(result) == pytest.approx(np.nanmean(plane), rel=0.01)


def test_saturated_pixels_stay_saturated(tmp_path):
    plane = np.minimum(cells((96, 96)), 900)
    stack = open_stack(written(tmp_path / "m.tif", plane, "YX"))
    denoise_stack(stack, tmp_path / "o.zarr", ALONE, run=HERE)
    assert read_attributes(tmp_path / "o.zarr")["noise"][0]["saturation"] == 900
    np.testing.assert_array_equal(pixels_of(tmp_path / "o.zarr")[plane == 900], 900)


def test_a_png_in_and_a_png_or_tiff_out(call, tmp_path):
    image = (cells((64, 64)) // 8).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    for name in ("o.png", "o.tif"):
        call("denoise", tmp_path / "a.png", tmp_path / name, "--steps", "1", "--quiet")
    png = np.asarray(Image.open(tmp_path / "o.png"))
    np.testing.assert_array_equal(png, tifffile.imread(tmp_path / "o.tif"))
    assert png.dtype == np.uint8
    assert np.abs(png.astype(float) - image).mean() > 0.5


def test_a_gpu_that_was_asked_for_is_not_used_and_that_is_said(call, tmp_path):
    written(tmp_path / "m.tif", cells((48, 48)), "YX")
    call("denoise", tmp_path / "m.tif", tmp_path / "o.zarr", "--steps", "1", "--device", "cuda")
    assert "--device cuda: planes by themselves are denoised on the CPU" in call.err
    assert read_attributes(tmp_path / "o.zarr")["device"] == "cpu"
