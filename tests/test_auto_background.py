"""The slow background of a recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.auto.background import Background, Means, Place, flat_background

POSITIONS = np.array([3.0, 7.5, 20.0])
WHOLE = slice(0, 6), slice(0, 9)


def planes_of(others: int = 2) -> Background:
    rng = np.random.default_rng(0)
    return Background(POSITIONS, rng.normal(100, 20, (3, others, 6, 9)).astype(np.float32))


@given(st.floats(-10, 40), st.integers(0, 1))
def test_between_two_means_each_pixel_is_interpolated_and_beyond_held(position, other):
    background = planes_of()
    got = background.at(Place(position, other), *WHOLE)
    assert got.dtype == np.float32
    for pixel in np.ndindex(6, 9):
        means = background.planes[:, other, *pixel]
        assert abs(got[pixel] - np.interp(position, POSITIONS, means)) < 1e-3


@pytest.mark.parametrize(("position", "mean"), [(3.0, 0), (7.5, 1), (20.0, 2), (-1e9, 0), (1e9, 2)])
def test_at_a_mean_and_beyond_the_last_it_is_that_mean(position, mean):
    background = planes_of()
    got = background.at(Place(position, 1), *WHOLE)
    np.testing.assert_allclose(got, background.planes[mean, 1], rtol=1e-6)


@pytest.mark.parametrize("position", [1.0, 5.0, 30.0])
def test_the_origin_is_added_to_rows_and_columns(position):
    background = planes_of()
    whole = background.at(Place(position), *WHOLE)
    got = background.at(Place(position, origin=(2, 3)), slice(1, 3), slice(0, 5))
    np.testing.assert_array_equal(got, whole[3:5, 3:8])


def test_what_has_one_other_holds_for_all_of_them():
    background = planes_of(others=1)
    np.testing.assert_array_equal(
        background.at(Place(5.0, 4), *WHOLE), background.at(Place(5.0, 0), *WHOLE)
    )


@pytest.mark.parametrize("place", [Place(-5.0), Place(0.0, 3), Place(99.0, 0, (7, 8))])
def test_a_flat_background_is_one_level_everywhere(place):
    got = flat_background(42.5).at(place, slice(100, 200), slice(0, 3))
    assert got.shape == (1, 1) and got[0, 0] == 42.5


SEEN = [0, 1, 5, 6, 7, 11, 13, 14, 19, 22, 25, 26, 28, 29]


def frames_of(length: int = 30) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, (length, 2, 4, 5)).astype(np.uint16)


def means_of(seen: list[int] = SEEN, runs: int = 8) -> Means:
    means, frames = Means(30, runs, (2, 4, 5)), frames_of()
    for t in seen:
        means.add(t, frames[t])
    return means


def require_means(background: Background, runs: int, seen: list[int]) -> None:
    """Assert that each run's mean is that of the planes within it."""
    groups = [[t for t in seen if i <= t * runs / 30 < i + 1] for i in range(runs)]
    groups = [group for group in groups if group]
    np.testing.assert_allclose(background.positions, [np.mean(group) for group in groups])
    expected = [frames_of()[group].mean(axis=0) for group in groups]
    np.testing.assert_allclose(background.planes, expected, rtol=1e-6)


@pytest.mark.parametrize("runs", [1, 2, 4, 8])
def test_the_means_are_those_of_the_planes_of_each_run(runs):
    require_means(means_of().background(runs), runs, SEEN)


def test_a_run_without_planes_has_no_mean():
    require_means(means_of([0, 1, 28]).background(8), 8, [0, 1, 28])


@pytest.mark.parametrize("runs", [1, 2, 4, 8])
@pytest.mark.parametrize("left_out", [0, 13, 29])
def test_a_plane_can_be_left_out_and_nothing_changes(runs, left_out):
    means, frames = means_of(), frames_of()
    others = [t for t in SEEN if t != left_out]
    require_means(means.without(runs, left_out, frames[left_out]), runs, others)
    require_means(means.background(runs), runs, SEEN)


def test_a_plane_that_is_its_run_can_be_left_out():
    means = means_of([0, 1, 28])
    require_means(means.without(8, 28, frames_of()[28]), 8, [0, 1])
    require_means(means.background(8), 8, [0, 1, 28])
