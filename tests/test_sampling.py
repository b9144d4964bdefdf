"""Which planes, and parts of planes, are sampled."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import tifffile
from bad_frame_tools import Pages, stack_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack import fit_stack, measure_noise, open_stack
from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job import deciding, planning, sampling
from fm2s_stack.job.deciding import decide_mode
from fm2s_stack.job.planning import FIT_PIXELS
from fm2s_stack.job.sampling import Window, fit_windows, spread_places, training_samples
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.frame_ranges import FrameRanges

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


@given(st.integers(1, 90), st.integers(1, 40), st.integers(0, 2**90 - 1))
def test_no_window_has_few_planes_left_and_samples_are_of_those(length, every, bits):
    excluded = FrameRanges.of((t, t + 1) for t in range(length) if bits >> t & 1)
    kept = {t for t in range(length) if not bits >> t & 1}
    windows = fit_windows(length, FitSettings(PRESET, mode="every", every=every), excluded)
    assert [i for w in windows for i in range(w.start, w.stop)] == list(range(length))
    left = [kept & set(range(w.start, w.stop)) for w in windows]
    assert all(2 * len(own) >= every for own in left) or len(windows) == 1
    for window, own in zip(windows, left, strict=True):
        for slices in (1, 3):
            shape = (length, 1, slices, 40, 40)
            samples = training_samples(shape, window, "t", 5, excluded)
            assert {s.t for s in samples} <= own
            assert len(samples) == min(10, len(own) * slices)
    along_z = training_samples((length, 1, 7, 40, 40), Window(2, 5), "z", 5, excluded)
    assert {s.t for s in along_z} <= kept


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
    for module in (planning, sampling, deciding):
        monkeypatch.setattr(module, "FIT_PIXELS", 3 * 100 * 100)
    for module in (planning, sampling):
        monkeypatch.setattr(module, "PART_SIDE", 102)
    assert decide_mode(stack, fit).mode == "stack"
    samples = training_samples(stack.image.shape, Window(0, 1), "t", 5)
    assert [s.y for s in samples] == [(30, 130), (100, 200), (165, 265)]
    (denoiser,) = fit_stack(stack, fit)
    assert np.isfinite(denoiser.weights).all()


@settings(deadline=None)
@given(st.integers(0, 2**39 - 1), st.integers(0, 2**40 - 2))
def test_noise_is_measured_on_pairs_within_trials_and_never_on_excluded_frames(starts, bits):
    pages = Pages(np.zeros((40, 16, 16), np.uint16))
    starts = tuple(t for t in range(1, 40) if starts & starts >> 5 & 1 << (t - 1))
    kept = {t for t in range(40) if not bits >> t & 1}
    excluded = FrameRanges.of((t, t + 1) for t in range(40) if bits >> t & 1)
    stack = stack_of(pages, (40, 1, 1)).split_at(starts).without(excluded)
    trial = [sum(start <= t for start in starts) for t in range(40)]
    with (
        patch("fm2s_stack.job.noise.measure_movie", side_effect=NoiseUnknown("pairs")),
        patch("fm2s_stack.job.noise.measure_image", side_effect=NoiseUnknown("planes")),
        pytest.raises(NoiseUnknown) as told,
    ):
        measure_noise(stack, 0)
    assert set(pages.reads) <= kept and len(set(pages.reads)) == len(pages.reads)
    after = [t for t in kept if t + 1 in kept and trial[t] == trial[t + 1]]
    if not str(told.value).endswith("pairs"):
        # No two are of one trial: there is nothing to compare.
        assert len({trial[t] for t in kept}) == len(kept)
        return
    pairs = list(zip(pages.reads[::2], pages.reads[1::2], strict=True))
    assert pairs and all(a < b and trial[a] == trial[b] for a, b in pairs)
    between = [set(range(a + 1, b)) & kept for a, b in pairs]
    assert not any(between)
    assert not after or all(b == a + 1 for a, b in pairs)


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
