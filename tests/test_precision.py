"""Less exact arithmetic: part of what an output is, and as close as it is told to be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr
from cli_tools import attributes

from fm2s_stack import load_denoisers, open_stack


@pytest.fixture
def noisy(tmp_path):
    pixels = np.random.default_rng(1).poisson(400, (6, 300, 280)).astype("uint16")
    tifffile.imwrite(tmp_path / "noisy.tif", pixels, photometric="minisblack")
    return tmp_path / "noisy.tif"


def pixels_of(out):
    return zarr.open_array(str(out / "s0"), mode="r")[:].astype(int)


def test_bfloat16_is_near_float32_and_said_in_the_output(call, noisy, tmp_path):
    exact, rough = tmp_path / "exact.zarr", tmp_path / "rough.zarr"
    call.denoise(noisy, exact)
    call.denoise(noisy, rough, "--precision", "bf16")
    told, other = attributes(rough), attributes(exact)
    assert told["settings"]["write"]["precision"] == told["terms"]["precision"] == "bf16"
    assert other["terms"]["precision"] == "float32"
    assert told["weights_sha256"] == other["weights_sha256"]  # training is float32
    span = told["intensity"][0]["high"] - told["intensity"][0]["low"]
    difference = np.abs(pixels_of(rough) - pixels_of(exact)).max()
    assert 0 < difference <= span / 64


def test_an_output_is_not_continued_with_other_arithmetic(call, noisy, tmp_path):
    call.denoise(noisy, tmp_path / "o.zarr", "--precision", "bf16")
    line = call.refused(noisy, tmp_path / "o.zarr")
    assert "--precision (bf16 there, float32 now)" in line


def test_networks_of_an_output_come_back_with_its_arithmetic(call, noisy, tmp_path):
    out = tmp_path / "o.zarr"
    call.denoise(noisy, out, "--precision", "bf16")
    (again,) = load_denoisers(out)
    assert again.precision == "bf16"
    np.testing.assert_array_equal(again(open_stack(noisy).plane(2, 0, 0)), pixels_of(out)[2])
    call("verify", out, "--source", noisy, "--json")
    told = json.loads(call.out)
    assert {plane["difference"] for plane in told["source"]["planes"]} == {0.0}


def test_borrowed_networks_are_used_with_the_arithmetic_that_is_asked_for(call, noisy, tmp_path):
    call.denoise(noisy, tmp_path / "lender.zarr", "--precision", "bf16")
    call.denoise(noisy, tmp_path / "exact.zarr")
    call.denoise(noisy, tmp_path / "o.zarr", "--fit-from", tmp_path / "lender.zarr")
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "o.zarr"), pixels_of(tmp_path / "exact.zarr")
    )


def test_tf32_on_a_cpu_is_refused_before_any_work(call, noisy, tmp_path):
    line = call.refused(noisy, tmp_path / "o.zarr", "--precision", "tf32", code=2)
    assert "--precision tf32: CPUs have no such arithmetic" in line
    assert not (tmp_path / "o.zarr").exists()
