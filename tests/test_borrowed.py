"""Networks of another output: `fit_from`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.errors import UsageError
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings
from fm2s_stack.store.attributes import read_attributes

QUICK = FitSettings(find_preset("twophoton"), draws=2, crop=32)


def movie(path: Path, dtype: str) -> Path:
    frames = np.random.default_rng(0).poisson(100, (3, 40, 40)).astype(dtype)
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


@pytest.mark.parametrize(("first", "second"), [("uint8", "uint16"), ("uint16", "uint8")])
def test_networks_of_8_bit_data_and_others_are_not_mixed(tmp_path, first, second):
    denoise_stack(open_stack(movie(tmp_path / "a.tif", first)), tmp_path / "a.zarr", QUICK)
    other = open_stack(movie(tmp_path / "b.tif", second))
    with pytest.raises(UsageError, match=f"has {second}; expected the same scale"):
        denoise_stack(other, tmp_path / "b.zarr", fit_from=tmp_path / "a.zarr")
    assert not (tmp_path / "b.zarr").exists(), "grey levels beyond 255 would all become 255"


def test_the_seed_told_is_that_of_the_networks(tmp_path):
    stack = open_stack(movie(tmp_path / "a.tif", "uint16"))
    denoise_stack(stack, tmp_path / "a.zarr", replace(QUICK, seed=8))
    denoise_stack(stack, tmp_path / "b.zarr", fit_from=tmp_path / "a.zarr")
    assert read_attributes(tmp_path / "b.zarr")["seed"] == 8


def test_windows_along_frames_are_not_used_along_slices(tmp_path):
    fit = replace(QUICK, mode="every", every=1)
    denoise_stack(open_stack(movie(tmp_path / "a.tif", "uint16")), tmp_path / "a.zarr", fit)
    slices = open_stack(movie(tmp_path / "b.tif", "uint16"), axes="ZYX")
    with pytest.raises(UsageError, match="windows along t, this stack runs along z"):
        denoise_stack(slices, tmp_path / "b.zarr", fit_from=tmp_path / "a.zarr")


def test_the_second_of_two_channels_never_gets_the_networks_of_the_first(tmp_path):
    frames = np.random.default_rng(0).poisson(100, (3, 2, 40, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "two.tif", frames, imagej=True, metadata={"axes": "TCYX"})
    first, second = (open_stack(tmp_path / "two.tif", channel=[c]) for c in "01")
    denoise_stack(first, tmp_path / "a.zarr", QUICK)
    with pytest.raises(UsageError, match=r"channels \[0\], none for channel 1"):
        denoise_stack(second, tmp_path / "b.zarr", fit_from=tmp_path / "a.zarr")
