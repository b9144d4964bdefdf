"""Which planes, and parts of planes, are sampled."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack import fit_stack, open_stack
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job import planning, sampling
from fm2s_stack.job.planning import FIT_PIXELS, decide_mode
from fm2s_stack.job.sampling import Window, fit_windows, spread_places, training_samples
from fm2s_stack.settings import FitSettings

PRESET = find_preset("srdtrans")


@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 24))
def test_places_are_distinct_inside_and_spread_over_both_axes(frames, slices, count):
    places = spread_places((5, 5 + frames), (2, 2 + slices), count)
    assert len(set(places)) == len(places) <= max(count, 1)
    assert all(5 <= t < 5 + frames and 2 <= z < 2 + slices for t, z in places)
    if frames * slices <= count:
        assert len(places) == frames * slices
    if count >= 8 and frames >= 2 * count:
        gaps = np.diff([5, *(t for t, _ in places), 5 + frames])
        assert gaps.max() <= 2 * frames / count + 1
    if count >= 8 and frames >= 2 * count and slices >= 8:
        assert len({z * 4 // slices for _, z in places}) >= 3


@given(st.integers(1, 500), st.integers(1, 120))
def test_windows_cover_the_stack_and_none_is_short(length, every):
    windows = fit_windows(length, FitSettings(PRESET, mode="every", every=every))
    covered = [i for window in windows for i in range(window.start, window.stop)]
    assert covered == list(range(length))
    assert all(2 * (w.stop - w.start) >= every for w in windows) or len(windows) == 1


@given(st.integers(5_000, 40_000), st.integers(7_000, 40_000), st.sampled_from([5, 75]))
def test_huge_planes_are_trained_on_parts_that_begin_on_the_grid_of_patches(rows, columns, stride):
    shape = (3, 1, 1, rows, columns)
    samples = training_samples(shape, Window(0, 3), "t", stride)
    sizes = {(s.y[1] - s.y[0], s.x[1] - s.x[0]) for s in samples}
    assert len(sizes) == 1
    (high, wide) = sizes.pop()
    assert len(samples) * high * wide <= FIT_PIXELS < 2 * len(samples) * high * wide
    assert all(s.y[0] % stride == 0 and s.x[0] % stride == 0 for s in samples)
    assert all(s.y[1] <= rows and s.x[1] <= columns for s in samples)
    assert len({s.t for s in samples}) == 3


def test_a_plane_too_large_to_train_on_is_a_stack_of_its_parts(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).poisson(30, (300, 340)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "huge.tif", pixels)
    stack = open_stack(tmp_path / "huge.tif")
    fit = FitSettings(PRESET, draws=2)
    assert decide_mode(stack, fit).mode == "frame"
    for module in (planning, sampling):
        monkeypatch.setattr(module, "FIT_PIXELS", 3 * 100 * 100)
        monkeypatch.setattr(module, "PART_SIDE", 102)
    assert decide_mode(stack, fit).mode == "stack"
    samples = training_samples(stack.image.shape, Window(0, 1), "t", 5)
    assert [s.y for s in samples] == [(30, 130), (100, 200), (165, 265)]
    (denoiser,) = fit_stack(stack, fit)
    assert np.isfinite(denoiser.weights).all()


@pytest.mark.parametrize("keep", [False, True])
def test_the_intensity_map_has_the_percentiles_of_all_sampled_frames(tmp_path, keep):
    pixels = np.random.default_rng(0).gamma(2, 100, (5, 70, 60)).astype(np.float32)
    expected = np.percentile(pixels[:, 6:] if keep else pixels, (0.1, 99.99))
    if keep:
        pixels[:, :6] = np.nan
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    fit = FitSettings(PRESET, draws=1, nan="keep" if keep else "refuse")
    (denoiser,) = fit_stack(open_stack(tmp_path / "movie.tif"), fit)
    assert (denoiser.intensity.low, denoiser.intensity.high) == pytest.approx(tuple(expected))
