"""Events, leakage, crosstalk and correlations, on traces made to known numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import (
    Event,
    cell_measures,
    crosstalk,
    find_events,
    isolated,
    leakage,
    lively,
    pairwise_change,
    peak_kept,
    region_correlation,
    slope_kept,
)
from fm2s_stack.metrics.events import BASELINE, LEAD

ONSETS = (60, 150, 240)


def transients(
    onsets: tuple[int, ...] = ONSETS, frames: int = 320, decay: float = 15.0, height: float = 100.0
) -> NDArray:
    """Sudden rises that decay, on a level of 300."""
    time = np.arange(frames)[:, None] - np.array(onsets)
    return 300 + height * np.where(time >= 0, np.exp(-time / decay), 0.0).sum(axis=1)


def boxes(width: int = 41) -> NDArray:
    """One trace that is 100 higher for `width` frames from each onset on."""
    time = np.arange(320)[:, None] - np.array(ONSETS)
    return 300 + 100.0 * ((time >= 0) & (time < width)).any(axis=1)


def kernel(sigma: float) -> NDArray:
    """Weights of the Gaussian, by their distance from -40 to 40."""
    weights = np.exp(-0.5 * (np.arange(-40, 41) / sigma) ** 2)
    return weights / weights.sum()


def smoothed(traces: NDArray, sigma: float) -> NDArray:
    return gaussian_filter1d(traces, sigma, axis=0, truncate=10)


def one(trace: NDArray) -> NDArray:
    return trace[:, None]


def test_events_are_found_where_they_were_put() -> None:
    found = find_events(one(transients()))
    assert [(e.region, e.onset, e.peak) for e in found] == [(0, at, at) for at in ONSETS]
    # what is left of the event before is below it
    assert [e.rise for e in found] == pytest.approx([100, 100, 100], rel=0.01)


def test_a_slow_rise_begins_where_it_leaves_its_start_and_peaks_at_its_end() -> None:
    trace = np.interp(np.arange(100), [0, 40, 60, 100], [0, 0, 20, 0])
    (event,) = find_events(one(trace))
    assert (event.onset, event.peak) == (42, 60)  # a twentieth of the rise is at frame 41


def test_silent_regions_have_no_events() -> None:
    traces = np.stack([transients(), 300 + 0.01 * (transients() - 300), np.full(320, 9.0)], axis=1)
    assert lively(traces).tolist() == [True, False, False]
    assert {event.region for event in find_events(traces)} == {0}
    assert find_events(np.zeros((50, 3))) == ()


def test_the_truth_keeps_all_and_leaks_nothing() -> None:
    truth = one(transients())
    events = find_events(truth)
    for kept in (peak_kept(truth, truth, events), slope_kept(truth, truth, events)):
        assert (kept.value, kept.error, kept.spread) == pytest.approx((1, 0, 0), abs=1e-9)
        assert kept.events == 3
    assert leakage(truth, truth, events).mean.value == 0


@settings(deadline=None)
@given(st.floats(0.1, 2), st.floats(-500, 500))
def test_a_gain_is_the_amplitude_kept_whatever_the_offset(gain: float, offset: float) -> None:
    truth = one(transients())
    events = find_events(truth)
    result = gain * truth + offset
    assert peak_kept(result, truth, events).value == pytest.approx(gain)
    assert slope_kept(result, truth, events).value == pytest.approx(gain)
    assert leakage(result, truth, events).mean.value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 2.5])
def test_a_gaussian_in_time_leaks_its_tail_before_a_step(sigma: float) -> None:
    truth = one(boxes())
    events = find_events(truth)
    found = leakage(smoothed(truth, sigma), truth, events)
    weights = kernel(sigma)
    # d frames before the step: all weights that reach over d frames and more
    tails = np.array([weights[40 + d :].sum() for d in range(14, 0, -1)])
    assert found.profile == pytest.approx(tails, abs=1e-6)
    assert found.mean.value == pytest.approx(tails[-LEAD:].mean(), abs=1e-6)
    assert found.mean.events == 3


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_a_gaussian_in_time_lowers_the_peak_by_what_lies_outside_a_box(sigma: float) -> None:
    truth = one(boxes(width=5))
    events = find_events(truth)
    weights = kernel(sigma)

    def level(frame: int) -> float:  # of the smoothed box, from the box's first frame on
        return sum(weights[40 + i - frame] for i in range(5))

    peak = np.mean([level(frame) for frame in (1, 2, 3)])
    before = np.mean([level(-d) for d in range(BASELINE[1] + 1, BASELINE[0] + 1)])
    kept = peak_kept(smoothed(truth, sigma), truth, events)
    assert kept.value == pytest.approx(peak - before, abs=1e-6)


def test_a_gaussian_of_four_frames_fails_what_is_asked_of_events() -> None:
    truth = one(transients())
    events = find_events(truth)
    result = smoothed(truth, 4)
    assert peak_kept(result, truth, events).value < 0.8
    assert slope_kept(result, truth, events).value < 0.9
    assert leakage(result, truth, events).mean.value > 0.1


def test_white_noise_changes_neither_amplitude_nor_leakage_beyond_the_error_told() -> None:
    onsets = tuple(range(60, 4000, 90))
    truth = np.stack([transients(onsets, 4060, height=h) for h in (50, 100, 200)], axis=1)
    events = find_events(truth)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(30):
        noisy = truth + rng.normal(0, 30, truth.shape)
        for found in (
            peak_kept(noisy, truth, events),
            slope_kept(noisy, truth, events),
            leakage(noisy, truth, events).mean,
        ):
            scores.append((found.value - (found.value > 0.5)) / found.error)
    # standard scores: the errors told are those met, and nothing is off on average
    assert np.std(scores) == pytest.approx(1, abs=0.25)
    assert abs(np.mean(scores)) < 0.4


def test_only_events_after_calm_show_leakage() -> None:
    onsets = (60, 72, 150, 162, 250)
    truth = one(transients(onsets))
    events = find_events(truth)
    assert {event.onset for event in events} == set(onsets)
    assert [event.onset for event in isolated(truth, events)] == [60, 150, 250]


def test_events_of_other_traces_may_be_used_in_any_unit() -> None:
    truth = one(transients())
    events = find_events((truth - 300) / 300)
    assert peak_kept(0.8 * truth, truth, events).value == pytest.approx(0.8)
    assert leakage(truth, truth, events).mean.events == 3
    early = [Event(0, 3, 4, 1.0)]
    with pytest.raises(UsageError, match="no events"):
        peak_kept(truth, truth, early)
    with pytest.raises(UsageError, match="no isolated events"):
        leakage(truth, truth, early)


def independent(seed: int, frames: int = 500, cells: int = 4) -> NDArray:
    """Smooth activity of cells that know nothing of each other."""
    rng = np.random.default_rng(seed)
    return 300 + 50 * gaussian_filter1d(rng.normal(size=(frames, cells)), 3, axis=0)


PAIRS = ((0, 1), (1, 2), (2, 3))


@pytest.mark.parametrize("shared", [0.0, 40.0])
def test_a_tenth_of_a_neighbour_is_crosstalk_of_a_tenth(shared: float) -> None:
    truth = independent(1) + shared * independent(2, cells=1) / 50
    mixed = truth.copy()
    for a, b in PAIRS:
        mixed[:, a] += 0.1 * truth[:, b]
        mixed[:, b] += 0.1 * truth[:, a]
    noise = np.random.default_rng(3).normal(0, 1, truth.shape)
    found = crosstalk(0.7 * mixed + noise, 0.7 * truth, PAIRS)
    assert found.mean == pytest.approx(0.1, abs=4 * found.error)
    assert found.error < 0.01
    assert found.pairs == 6
    assert 0.08 < found.largest < 0.2
    none = crosstalk(truth + noise, truth, PAIRS)
    assert none.mean == pytest.approx(0, abs=4 * none.error)
    assert crosstalk(truth, truth, PAIRS).mean == pytest.approx(0, abs=1e-9)


def test_the_error_of_crosstalk_is_that_met_in_many_movies_also_of_coloured_noise() -> None:
    scores = []
    for seed in range(60):
        truth = independent(100 + seed)
        noise = np.random.default_rng(seed).normal(0, 20, truth.shape)
        coloured = gaussian_filter1d(noise, 3, axis=0) if seed % 2 else noise
        found = crosstalk(truth + coloured, truth, PAIRS)
        scores.append(found.mean / found.error)
    assert np.std(scores) == pytest.approx(1, abs=0.35)
    assert abs(np.mean(scores)) < 0.5


def test_neighbours_that_cannot_be_told_apart_are_left_out() -> None:
    truth = independent(4, cells=2)
    alike = np.stack([truth[:, 0], truth[:, 0] + 1, np.full(len(truth), 3.0)], axis=1)
    with pytest.raises(UsageError, match="adjacent"):
        crosstalk(alike, alike, [(0, 1), (0, 2)])
    with pytest.raises(UsageError, match="adjacent"):
        crosstalk(truth, truth, [])


def test_the_change_of_correlation_is_that_of_numpys_matrices() -> None:
    truth = independent(5)
    result = truth @ (np.eye(4) + 0.2) + np.random.default_rng(6).normal(0, 5, truth.shape)
    change = np.corrcoef(result.T) - np.corrcoef(truth.T)
    over = change[np.triu_indices(4, 1)]
    found = pairwise_change(result, truth)
    assert (found.mean, found.size) == pytest.approx((over.mean(), np.abs(over).mean()))
    assert found.largest == pytest.approx(over[np.abs(over).argmax()])
    assert found.pairs == 6
    adjacent = pairwise_change(result, truth, PAIRS)
    assert adjacent.mean == pytest.approx(np.mean([change[pair] for pair in PAIRS]))


def test_noise_of_raw_traces_makes_correlations_smaller_by_the_share_of_signal() -> None:
    common = independent(7, frames=20_000, cells=1)
    truth = common + np.array([0.0, 10.0])  # two cells that do the same
    noise = np.random.default_rng(8).normal(0, truth.std(axis=0), truth.shape)
    # half of either trace's variance is signal
    assert pairwise_change(truth + noise, truth).mean == pytest.approx(-0.5, abs=0.02)


def test_silent_cells_are_no_pairs() -> None:
    truth = np.concatenate([independent(9, cells=2), np.full((500, 1), 300.0)], axis=1)
    assert pairwise_change(truth, truth).pairs == 1
    with pytest.raises(UsageError, match="no pair"):
        pairwise_change(truth, truth, [(0, 2)])


def test_region_correlation_is_corrcoef_and_0_for_a_trace_that_was_flattened() -> None:
    truth = independent(10, cells=3)
    result = truth + np.random.default_rng(11).normal(0, 10, truth.shape)
    result[:, 1], truth[:, 2] = 5.1, 0.1
    expected = np.corrcoef(result[:, 0], truth[:, 0])[0, 1]
    found = region_correlation(result, truth)
    assert found[:2] == pytest.approx([expected, 0])
    assert np.isnan(found[2])


def test_what_there_is_nothing_to_measure_on_is_none() -> None:
    flat = np.full((50, 2), 7.0)
    measured = cell_measures(flat, flat, [(0, 1)])
    assert set(vars(measured).values()) == {None}
