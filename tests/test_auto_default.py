"""Without ``-c`` the noise is measured: what that decides, and the lines where it cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from cli_tools import attributes, only_line
from planewise_tools import cells, pixels_of, written

from fm2s_stack import denoise_stack, fit_stack, open_stack
from fm2s_stack.auto.planewise import PlanewiseDenoiser
from fm2s_stack.job.deciding import decide_mode
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.settings import Auto, FitSettings, RunSettings

FEW = ("--steps", "1", "--threads", "1")


def test_no_preset_is_auto_on_the_command_line_and_in_the_library(call, tmp_path):
    source = written(tmp_path / "m.tif", cells(), "YX")
    call("denoise", source, tmp_path / "a.zarr", *FEW)
    call("denoise", source, tmp_path / "b.zarr", "-c", "auto", *FEW)
    assert attributes(tmp_path / "a.zarr")["token"] == attributes(tmp_path / "b.zarr")["token"]
    denoise_stack(open_stack(source), tmp_path / "c.zarr", FitSettings(draws=1))
    (fitted,) = fit_stack(open_stack(source), FitSettings(draws=1))
    assert isinstance(fitted, PlanewiseDenoiser)
    for name in ("b", "c"):
        np.testing.assert_array_equal(
            pixels_of(tmp_path / f"{name}.zarr"), pixels_of(tmp_path / "a.zarr")
        )
    np.testing.assert_array_equal(fitted(cells()), pixels_of(tmp_path / "a.zarr"))
    assert FitSettings().preset == Auto()


def test_a_batch_without_a_preset_measures_each_recording(call, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        written(folder / f"m_{number}.tif", cells((4, 64, 80), number) * number, "TYX")
    call("batch", folder, tmp_path / "out", *FEW)
    gains = [attributes(tmp_path / f"out/m_{n}.zarr")["noise"][0]["gain"] for n in (1, 2)]
    assert gains == pytest.approx([10, 20], rel=0.35)
    call("batch", folder, tmp_path / "one", "--one-fit", "--neighbours", "0", *FEW)
    told = [attributes(tmp_path / f"one/m_{n}.zarr") for n in (1, 2)]
    assert told[0]["noise"] == told[1]["noise"]


@pytest.mark.parametrize(
    ("shape", "axes", "fit", "neighbours", "mode"),
    [
        ((40, 40), "YX", FitSettings(), 0, "stack"),
        ((4, 40, 40), "TYX", FitSettings(), 0, "stack"),
        ((5, 40, 40), "TYX", FitSettings(), 2, "stack"),
        ((5, 40, 40), "ZYX", FitSettings(), 2, "stack"),
        ((2, 9, 40, 40), "TZYX", FitSettings(), 0, "stack"),
        ((2, 40, 40), "TYX", FitSettings(Auto(neighbours=1)), 1, "stack"),
        ((9, 40, 40), "TYX", FitSettings(Auto(neighbours=0)), 0, "stack"),
        ((9, 40, 40), "TYX", FitSettings(mode="frame"), 0, "frame"),
        ((16, 40, 40), "TYX", FitSettings(Auto(neighbours=0)), 0, "stack"),
        ((16, 40, 40), "ZYX", FitSettings(Auto(neighbours=0)), 0, "stack"),
        ((16, 40, 40), "TYX", FitSettings(mode="frame"), 0, "frame"),
        ((9, 40, 40), "TYX", FitSettings(mode="every", every=3), 2, "every"),
    ],
)
def test_neighbours_are_taken_where_there_are_enough(tmp_path, shape, axes, fit, neighbours, mode):
    stack = open_stack(written(tmp_path / "m.ome.tif", np.zeros(shape, np.uint16), axes))
    decided = decide_mode(stack, fit)
    assert (decided.preset.neighbours, decided.mode) == (neighbours, mode)
    assert decide_mode(stack, decided) == decided
    # With no neighbours only those along time that have a background know more than themselves.
    knows_more = neighbours > 0 or (axes == "TYX" and shape[0] >= 16 and mode == "stack")
    assert decided.is_planewise == (not knows_more)


def test_the_stack_axis_that_is_asked_for_decides(tmp_path):
    volume = written(tmp_path / "m.ome.tif", np.zeros((2, 9, 40, 40), np.uint16), "TZYX")
    assert decide_mode(open_stack(volume), FitSettings(), "z").preset.neighbours == 2


def test_info_tells_what_a_run_without_a_preset_would_take(call, tmp_path):
    source = written(tmp_path / "m.tif", np.zeros((8, 300, 300), np.uint16), "TYX")
    call("info", source, "--json")
    plan = plan_stack(open_stack(source), FitSettings(), run=RunSettings())
    assert json.loads(call.out)["run"]["projected_bytes"] == plan.projected_bytes


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (cells((1, 200)), "1 x 200 pixels are too small to measure"),
        (cells((12, 16)), "12 x 16 pixels do not tell it from structure"),
        (np.add.outer(np.arange(96), np.arange(96)).astype(np.uint16), "computed or smoothed"),
        (np.stack([cells()] * 3), "consecutive frames are identical"),
    ],
)
def test_noise_that_cannot_be_measured_is_one_line_that_says_what_to_do(
    call, tmp_path, pixels, said
):
    source = written(tmp_path / "m.tif", pixels, "TYX"[-pixels.ndim :])
    call("denoise", source, tmp_path / "o.zarr", "--quiet", code=1)
    line = only_line(call.err)
    assert str(source) in line and said in line
    assert "give a preset, such as -c srdtrans" in line
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_images_of_every_type_come_out_closer_to_their_truth(call, tmp_path, dtype):
    y, x = np.mgrid[:96, :96]
    truth = 40 + 60 * ((y - 40) ** 2 + (x - 50) ** 2 < 300) - (50 if dtype == "int16" else 0)
    noise = np.random.default_rng(0).normal(0, 6, truth.shape)
    noisy = (truth + noise).round() if np.dtype(dtype).kind in "iu" else truth + noise - 60
    centre = truth if np.dtype(dtype).kind in "iu" else truth - 60
    tifffile.imwrite(tmp_path / "m.tif", noisy.astype(dtype), photometric="minisblack")
    call("denoise", tmp_path / "m.tif", tmp_path / "o.zarr", *FEW)
    result = pixels_of(tmp_path / "o.zarr")
    assert result.dtype == dtype
    assert ((result - centre.astype(float)) ** 2).mean() < 0.4 * noise.var()


def test_noise_smaller_than_a_grey_level_is_told(call, tmp_path):
    rare = np.random.default_rng(0).poisson(0.05, (128, 128)).astype(np.uint8)
    source = written(tmp_path / "m.tif", rare, "YX")
    call("denoise", source, tmp_path / "o.zarr", *FEW)
    assert "--dtype float32 keeps the fractions" in call.err
    call("denoise", source, tmp_path / "f.zarr", "--dtype", "float32", *FEW)
    assert "fractions" not in call.err
    assert pixels_of(tmp_path / "f.zarr").mean() == pytest.approx(rare.mean(), rel=0.005)
