"""Measures without truth, on simulated movies whose truth the test knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import (
    WithoutTruth,
    choose_sample,
    doubts_of,
    ring_correlation,
    rings_of,
    trust_line,
    without_truth,
)
from fm2s_stack.simulate import Simulation, noisy_frame, truth_frame

FRAMES = 160


def simulated(**settings: float) -> tuple[NDArray, NDArray]:
    """A noisy movie and its truth."""
    asked = replace(Simulation(frames=FRAMES, height=96, width=112, seed=2), **settings)
    noisy = np.stack([noisy_frame(asked, i) for i in range(FRAMES)])
    return noisy, np.stack([truth_frame(asked, i) for i in range(FRAMES)])


@pytest.fixture(scope="module")
def movie() -> tuple[NDArray, NDArray]:
    return simulated()


def test_the_truth_itself_removes_noise_and_nothing_else(movie) -> None:
    raw, truth = movie
    found = without_truth(raw, truth)
    assert found.removed == pytest.approx(float((raw - truth).std()), rel=0.01)
    assert abs(found.shift) < 0.3
    assert found.static.lost < max(0.01, found.static.floor)
    assert found.static.chi_square == pytest.approx(1, abs=0.1)
    assert abs(found.dynamic.lost) < 3 * found.dynamic.error
    assert abs(found.dynamic.mixing) < 0.01
    assert abs(found.whiteness.excess) < 0.01
    assert doubts_of(found) == []


@pytest.mark.parametrize("part", [0.1, 0.3])
def test_contrast_that_was_taken_is_found_in_structure_and_changes(movie, part: float) -> None:
    raw, truth = movie
    weaker = (1 - part) * truth + part * truth.mean()
    found = without_truth(raw, weaker)
    assert found.static.lost == pytest.approx(part, abs=0.02)
    assert found.static.contrast == pytest.approx(part, abs=0.03)
    assert found.dynamic.lost == pytest.approx(part, abs=4 * found.dynamic.error)
    assert found.static.chi_square > 1.3
    assert "signal was removed" in trust_line(found)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
def test_detail_that_a_blur_takes_is_the_part_that_it_takes_of_the_truth(movie, sigma) -> None:
    raw, truth = movie
    mean = truth.mean(axis=0, dtype=float)
    expected = (mean - gaussian_filter(mean, sigma)).std() / mean.std()
    found = without_truth(raw, gaussian_filter(raw.astype(float), (0, sigma, sigma)))
    assert found.static.lost == pytest.approx(expected, abs=0.02)
    assert found.static.chi_square > 2
    assert "signal was removed" in trust_line(found)


def test_a_mean_over_time_keeps_the_structure_and_loses_every_change(movie) -> None:
    raw, _ = movie
    found = without_truth(raw, np.broadcast_to(raw.mean(axis=0), raw.shape))
    assert found.static.lost < 0.05
    assert found.dynamic.lost == pytest.approx(1, abs=0.01)
    assert "signal was removed" in trust_line(found)


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.2])
def test_noise_of_a_neighbouring_frame_is_found_by_its_weight(movie, weight: float) -> None:
    raw, _ = movie
    mixed = convolve1d(raw.astype(float), [weight, 1 - 2 * weight, weight], axis=0)
    assert without_truth(raw, mixed).dynamic.mixing == pytest.approx(weight, abs=0.015)


def test_a_filter_in_time_is_said_to_mix_frames_and_one_in_space_is_not(movie) -> None:
    raw, truth = movie
    line = trust_line(without_truth(raw, gaussian_filter(raw.astype(float), (4, 0, 0))))
    assert "% of its neighbour's noise" in line
    for result in (truth, gaussian_filter(raw.astype(float), (0, 1, 1))):
        assert "neighbour" not in trust_line(without_truth(raw, result))


@pytest.mark.parametrize("part", [0.5, 0.25])
def test_noise_in_flat_regions_falls_as_it_was_made_to(movie, part: float) -> None:
    raw, truth = movie
    found = without_truth(raw, truth + part * (raw - truth))
    assert found.noise.reduction == pytest.approx(-20 * np.log10(part), abs=0.1)
    # photons and read noise of the dimmer half of the field
    noise = (raw - truth).std(axis=0)
    assert noise.min() < found.noise.raw < noise.mean() * 1.1


def test_where_little_was_done_it_is_said(movie) -> None:
    raw, truth = movie
    line = trust_line(without_truth(raw, 0.1 * truth + 0.9 * raw))
    assert "CAUTION, little noise was removed" in line
    assert "noise down 0.9 dB" in line


def test_brightness_that_moved_is_said(movie) -> None:
    raw, truth = movie
    line = trust_line(without_truth(raw, truth - 0.02 * truth.mean()))
    assert "the mean level moved by -2.0 %" in line


@pytest.mark.parametrize("correlation", [0.27, -0.3])
def test_a_residual_like_the_noise_is_white_enough_however_the_noise_is_coloured(
    correlation: float,
) -> None:
    raw, truth = simulated(correlation=correlation)
    found = without_truth(raw, truth).whiteness
    assert (found.x, found.noise_x) == pytest.approx((correlation, correlation), abs=0.01)
    assert (found.y, found.t) == pytest.approx((0, 0), abs=0.01)
    assert abs(found.excess) < 0.01


def test_whiteness_is_the_correlation_with_the_neighbour_that_numpy_finds() -> None:
    rng = np.random.default_rng(0)
    residual = gaussian_filter(rng.normal(size=(16, 40, 50)), (0.5, 0.6, 1.0), mode="wrap")
    found = without_truth(residual, np.zeros_like(residual)).whiteness
    for axis, measured in enumerate((found.t, found.y, found.x)):
        moved = np.moveaxis(residual, axis, 0)
        expected = np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]
        assert measured == pytest.approx(expected, abs=0.01)


def test_few_frames_tell_of_whiteness_alone_and_one_plane_less(movie) -> None:
    raw, truth = movie
    for frames in (1, 10):
        found = without_truth(raw[:frames], truth[:frames])
        assert found.static is found.dynamic is found.noise is found.resolution is None
        assert abs(found.whiteness.y) < 0.05
        assert "24 frames" in trust_line(found)
    assert without_truth(raw[:1], truth[:1]).whiteness.t is None


def test_a_field_without_structure_has_nothing_to_lose() -> None:
    raw = np.random.default_rng(1).normal(100, 10, (64, 64, 64))
    found = without_truth(raw, np.full_like(raw, 100))
    assert found.static.lost is None
    assert found.dynamic.lost is None
    assert doubts_of(found) == []
    assert "no noise left" in trust_line(found)


def test_recordings_of_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(3, 8, 8\).*\(3, 8, 9\)"):
        without_truth(np.zeros((3, 8, 8)), np.zeros((3, 8, 9)))
    with pytest.raises(UsageError, match="expected frames"):
        without_truth(np.zeros((8, 8)), np.zeros((8, 8)))


@given(st.integers(1, 5000), st.integers(1, 3000), st.integers(1, 3000))
def test_samples_are_runs_within_the_recording_that_do_not_overlap(
    frames: int, rows: int, columns: int
) -> None:
    sample = choose_sample((frames, rows, columns))
    looked_at = [frame for run in sample.runs for frame in run]
    assert looked_at == sorted(set(looked_at))
    assert 0 <= looked_at[0] <= looked_at[-1] < frames
    assert len({len(run) for run in sample.runs}) == 1
    assert len(looked_at) <= 128
    if frames >= 24:
        assert len(sample.runs) % 2 == 0
        assert len(sample.runs[0]) >= 12
    for part, length in ((sample.rows, rows), (sample.columns, columns)):
        assert 0 <= part.start < part.stop <= length
        assert part.stop - part.start == min(length, 512)


def test_rings_of_a_plane_with_itself_are_1_and_of_two_noises_0() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, 128, 100))
    same = ring_correlation(one, one)
    assert same.correlation == pytest.approx(np.ones(50))
    assert same.resolution == 2
    assert same.frequency[-1] == 0.5
    apart = rings_of((rng.normal(size=(2, 128, 128))) for _ in range(20))
    assert np.abs(apart.correlation[5:]).max() < 0.1
    assert apart.resolution is None or apart.resolution > 20
    assert abs(ring_correlation(one, other).correlation[10:].mean()) < 0.05


def test_rings_of_noisy_copies_are_the_signals_share_of_the_power() -> None:
    rng = np.random.default_rng(3)

    def copies() -> tuple[NDArray, NDArray]:
        signal = rng.normal(size=(128, 128))
        return signal + rng.normal(size=signal.shape), signal + rng.normal(size=signal.shape)

    found = rings_of(copies() for _ in range(20))
    assert found.correlation[5:] == pytest.approx(np.full(59, 0.5), abs=0.08)


@pytest.mark.parametrize("period", [4.0, 8.0])
def test_resolution_is_the_finest_period_that_planes_share(period: float) -> None:
    rng = np.random.default_rng(4)
    spectrum = np.fft.fft2(rng.normal(size=(256, 256)))
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
    shared = np.fft.ifft2(np.where(radius < 1 / period, spectrum, 0)).real
    noise = 0.05 * rng.normal(size=(2, 256, 256))
    assert ring_correlation(*(shared + noise)).resolution == pytest.approx(period, rel=0.1)


def test_planes_too_small_for_rings_are_refused() -> None:
    with pytest.raises(UsageError, match="8x8"):
        ring_correlation(np.ones((4, 9)), np.ones((4, 9)))
    with pytest.raises(UsageError, match="no pairs"):
        rings_of([])


def test_a_result_shows_finer_detail_than_its_raw_frames_in_the_unit_asked(movie) -> None:
    raw, truth = movie
    found = without_truth(raw, truth)
    assert found.resolution.frame_result < found.resolution.frame_raw
    result, before = found.resolution.frame_result, found.resolution.frame_raw
    assert f"detail of {result:.1f} px (raw {before:.1f} px)" in trust_line(found)
    micrometres = f"detail of {result * 0.5:.1f} µm (raw {before * 0.5:.1f} µm)"
    assert micrometres in trust_line(found, 0.5)


def test_trust_is_one_line(movie) -> None:
    raw, truth = movie
    for result in (truth, raw, 0.5 * truth):
        line = trust_line(without_truth(raw, result))
        assert line.startswith("Trust: ")
        assert "\n" not in line


def test_progress_counts_the_frames_of_the_sample(movie) -> None:
    raw, truth = movie
    counts: list[int] = []
    assert isinstance(without_truth(raw, truth, counts.append), WithoutTruth)
    assert sum(counts) == sum(len(run) for run in choose_sample(raw.shape).runs)
