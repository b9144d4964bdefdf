"""Measures of whole movies: against least squares, scikit-image and movies made to a number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import (
    TruthPass,
    adjacent_pairs,
    against_truth,
    discs,
    ends,
    find_regions,
    flicker,
    frame_moments,
    frame_si_psnr,
    intensity_bias,
    movie_si_psnr,
    region_traces,
    saturation,
    si_psnr,
    ssim,
)

DARK = 200.0


def movies(seed: int = 0, shape: tuple[int, ...] = (30, 12, 14)) -> tuple[NDArray, NDArray]:
    """A noisy movie and its truth, on an offset."""
    rng = np.random.default_rng(seed)
    truth = DARK + 100 * rng.random(shape[1:]) * (1 + 0.5 * rng.random((shape[0], 1, 1)))
    return truth + 10 * rng.normal(size=shape), truth


@pytest.mark.parametrize("offset", [0, 60_000])
def test_the_movies_one_match_is_that_of_least_squares_over_all_its_pixels(offset: int) -> None:
    result, truth = movies()
    columns = np.stack([result.ravel(), np.ones(result.size)], axis=1)
    (gain, level), *_ = np.linalg.lstsq(columns, truth.ravel(), rcond=None)
    matched = gain * result + level
    expected = peak_signal_noise_ratio(truth, matched, data_range=np.ptp(truth))
    assert movie_si_psnr(iter(result + offset), iter(truth + offset)) == pytest.approx(expected)
    measured = against_truth(result, truth)
    assert (measured.gain, measured.offset) == pytest.approx((gain, level))


def test_psnr_and_frames_matched_by_themselves_are_those_of_single_planes() -> None:
    result, truth = movies(1)
    measured = against_truth(result, truth)
    expected = peak_signal_noise_ratio(truth, result, data_range=np.ptp(truth))
    assert measured.psnr == pytest.approx(expected)
    assert measured.frames_si_psnr == pytest.approx(frame_si_psnr(result, truth))
    single = frame_moments(result, truth).single_si_psnr()
    assert single == pytest.approx([si_psnr(*pair) for pair in zip(result, truth, strict=True)])


def test_flickering_brightness_costs_the_movies_match_and_not_that_of_frames() -> None:
    result, truth = movies(2)
    flickering = result + np.where(np.arange(len(result)) % 2, 40.0, -40.0)[:, None, None]
    assert movie_si_psnr(flickering, truth) < movie_si_psnr(result, truth) - 5
    assert frame_si_psnr(flickering, truth) == pytest.approx(frame_si_psnr(result, truth))


def test_errors_of_frames_are_those_of_the_movie_matched_as_a_whole() -> None:
    result, truth = movies(3)
    moments = frame_moments(result, truth)
    gain, offset = moments.match
    expected = ((gain * result + offset - truth) ** 2).mean(axis=(1, 2))
    assert moments.errors(gain, offset) == pytest.approx(expected)


def test_a_first_frame_of_twice_the_noise_is_6_decibels_worse() -> None:
    rng = np.random.default_rng(4)
    truth = np.broadcast_to(100 * rng.random((64, 64)), (21, 64, 64))
    noise = rng.normal(size=truth.shape)
    noise[0] *= 2
    measured = ends(frame_moments(truth + noise, truth))
    assert measured.first == pytest.approx(-20 * np.log10(2), abs=0.2)
    assert measured.last == pytest.approx(0, abs=0.2)
    raw = frame_moments(truth + 3 * noise, truth)
    gained = ends(frame_moments(truth + noise, truth), raw)
    assert (gained.first, gained.last) == pytest.approx((0, 0), abs=0.1)


def test_ends_need_frames_between_them() -> None:
    result, truth = movies(5)
    with pytest.raises(UsageError, match="between"):
        ends(frame_moments(result[:2], truth[:2]))


def test_flicker_is_the_size_of_the_steps_whatever_the_drift_is_made_of() -> None:
    assert flicker([5, 5, 5]) == 0
    assert flicker([0, 2, 0, 2, 0]) == pytest.approx(2)
    assert flicker(np.arange(10) * 0.5) == pytest.approx(0.5)
    with pytest.raises(UsageError, match="two or more"):
        flicker([1])


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_bias_by_intensity_is_that_of_masks_of_the_truth(seed: int, bins: int) -> None:
    result, truth = movies(seed, (4, 6, 7))
    edges = np.linspace(truth.min(), truth.max() + 1e-9, bins + 1)
    bias = intensity_bias(iter(result), iter(truth), edges)
    masks = [(truth >= low) & (truth < high) for low, high in pairwise(edges)]
    masks = [mask for mask in masks if mask.any()]
    assert bias.count == pytest.approx([mask.sum() for mask in masks])
    expected = [result[mask].mean() / truth[mask].mean() - 1 for mask in masks]
    assert bias.relative() == pytest.approx(expected)
    assert bias.overall() == pytest.approx(result.mean() / truth.mean() - 1)


def test_a_tenth_of_the_light_lost_is_ten_per_cent_in_every_range_above_darkness() -> None:
    _, truth = movies(6)
    dimmer = DARK + 0.9 * (truth - DARK)
    bias = intensity_bias(dimmer, truth)
    assert bias.relative(DARK) == pytest.approx(np.full(len(bias.low), -0.1))
    assert bias.overall(DARK) == pytest.approx(-0.1)
    assert -0.1 < bias.overall() < -0.01


def test_noise_alone_is_no_bias_in_any_range() -> None:
    result, truth = movies(7, (400, 20, 20))
    bias = intensity_bias(result, truth)
    errors = 10 / np.sqrt(bias.count) / (bias.truth - DARK)
    assert (np.abs(bias.relative(DARK)) < 5 * errors).all()


def test_ranges_of_a_truth_that_comes_frame_by_frame_must_be_given() -> None:
    result, truth = movies(8)
    with pytest.raises(UsageError, match="edges"):
        intensity_bias(iter(result), iter(truth))
    assert against_truth(iter(result), iter(truth)).bias is None


def test_saturated_pixels_are_counted_where_the_result_keeps_them() -> None:
    raw = np.array([[[4095, 4095, 10], [4095, 4094, 3]]])
    result = np.array([[[4095.0, 4094.6, 4095], [4090, 4095, 3]]])
    found = saturation(result, raw, 4095)
    assert (found.pixels, found.kept) == (3, 2)
    assert found.part == pytest.approx(2 / 3)
    assert saturation(result, raw, 5000).part is None
    measured = against_truth(result, raw, raws=raw, saturated=4095).saturation
    assert measured == found


@given(hnp.arrays(np.int64, (9, 10), elements=st.integers(0, 4)), st.integers(0, 2**32))
def test_region_traces_are_means_over_labels(labels: NDArray, seed: int) -> None:
    movie = np.random.default_rng(seed).normal(size=(3, 9, 10))
    if not labels.any():
        with pytest.raises(UsageError, match="label image"):
            region_traces(movie, labels)
        return
    ids = np.unique(labels[labels > 0])
    expected = [ndimage.mean(frame, labels, ids) for frame in movie]
    assert region_traces(iter(movie), labels) == pytest.approx(np.array(expected))


@given(hnp.arrays(np.int64, (8, 9), elements=st.integers(0, 3)), st.floats(1, 5))
def test_adjacent_are_regions_whose_nearest_pixels_are_near(labels: NDArray, gap: float) -> None:
    ids = np.unique(labels[labels > 0])
    if not len(ids):
        return
    places = [np.argwhere(labels == label) for label in ids]
    expected = []
    for i, a in enumerate(places):
        for j in range(i + 1, len(places)):
            distances = np.linalg.norm(a[:, None] - places[j][None], axis=2)
            if distances.min() <= gap:
                expected.append((i, j))
    assert list(adjacent_pairs(labels, gap)) == expected


def test_a_frame_of_another_shape_than_the_regions_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(4, 5\).*\(4, 4\)"):
        region_traces(np.zeros((2, 4, 5)), np.ones((4, 4), dtype=int))


def test_discs_share_pixels_by_which_centre_is_relatively_nearer() -> None:
    labels = discs([10, 10], [8, 20], [4, 8], (21, 30))
    assert labels[10, 8] == 1
    assert labels[10, 20] == 2
    assert labels[10, 12] == 2  # at the rim of the first, at the rim of the second: equal halves
    assert labels[10, 11] == 1
    assert labels[0, 0] == 0
    assert (labels == 1).sum() == pytest.approx(np.pi * 16, rel=0.15)


def test_regions_are_found_where_discs_blink_and_nowhere_else() -> None:
    labels = discs([15, 40], [20, 44], [5, 5], (60, 60))
    blinking = np.where(np.arange(20)[:, None, None] % 2, 100.0 * (labels > 0), 0.0)
    found = find_regions(blinking.var(axis=0))
    centres = ndimage.center_of_mass(np.ones_like(found), found, [1, 2])
    assert np.array(centres) == pytest.approx(np.array([[15, 20], [40, 44]]), abs=1)
    assert len(np.unique(found)) == 3
    assert not find_regions(np.zeros((20, 20))).any()


def test_ssim_is_the_mean_of_equation_13_over_whole_windows() -> None:
    result, truth = movies(9, (1, 20, 17))
    result, truth = result[0].astype(float), truth[0].astype(float)
    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for y, x in np.ndindex(20 - 6, 17 - 6):
        a, b = (plane[y : y + 7, x : x + 7].ravel() for plane in (result, truth))
        spread = np.cov(a, b)
        above = (2 * a.mean() * b.mean() + light) * (2 * spread[0, 1] + contrast)
        below = (a.mean() ** 2 + b.mean() ** 2 + light) * (np.trace(spread) + contrast)
        found.append(above / below)
    assert ssim(result, truth, 255) == pytest.approx(np.mean(found), abs=1e-10)


def test_one_pass_over_generators_measures_what_arrays_do() -> None:
    result, truth = movies(10)
    labels = discs([4, 8], [4, 9], [2, 2], (12, 14))
    edges = [DARK, 250.0, 400.0]
    arrays = against_truth(result, truth, labels, edges=edges, raws=result)
    streams = against_truth(iter(result), iter(truth), labels, edges=edges, raws=iter(result))
    for name in ("psnr", "si_psnr", "pixel_correlation", "flicker"):
        assert getattr(arrays, name) == getattr(streams, name)
    assert arrays.cells is not None and arrays.cells == streams.cells


def test_of_a_single_frame_and_of_slices_nothing_is_said_about_time() -> None:
    result, truth = movies(11)
    single = against_truth(result[:1], truth[:1], np.ones((12, 14), dtype=int))
    slices = TruthPass(labels=np.ones((12, 14), dtype=int), over_time=False)
    for pair in zip(result, truth, strict=True):
        slices.add(*pair)
    for measured in (single, slices.measures()):
        assert measured.si_psnr > 10
        assert measured.pixel_correlation is measured.flicker is measured.ends is None
        assert measured.cells is None


def test_a_constant_truth_is_refused() -> None:
    flat = np.full((3, 8, 8), 5.0)
    with pytest.raises(UsageError, match="structure"):
        movie_si_psnr(flat, flat)
    with pytest.raises(UsageError, match="intensity"):
        intensity_bias(flat, flat)
