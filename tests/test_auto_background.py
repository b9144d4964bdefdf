"""The slow background of a recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.auto.background import Background, Means, Place, flat_background

POSITIONS = np.array([3.0, 7.5, 20.0])
WHOLE = slice(0, 6), slice(0, 9)


def background_of(others: int = 2) -> Background:
    rng = np.random.default_rng(0)
    lines = np.stack([rng.normal(0, 5, (3, others)), rng.uniform(0.5, 1.5, (3, others))], axis=-1)
    return Background(rng.normal(100, 20, (others, 6, 9)).astype(np.float32), POSITIONS, lines)


@given(st.floats(-10, 40), st.integers(0, 1))
def test_between_two_knots_the_line_is_interpolated_and_beyond_held(position, other):
    background = background_of()
    got = background.at(Place(position, other), *WHOLE)
    assert got.dtype == np.float32
    lift, factor = (np.interp(position, POSITIONS, background.lines[:, other, i]) for i in (0, 1))
    np.testing.assert_allclose(got, lift + factor * background.mean[other], rtol=1e-5)


@pytest.mark.parametrize(("position", "knot"), [(3.0, 0), (7.5, 1), (20.0, 2), (-1e9, 0), (1e9, 2)])
def test_at_a_knot_and_beyond_the_last_its_line_holds(position, knot):
    background = background_of()
    lift, factor = background.lines[knot, 1]
    got = background.at(Place(position, 1), *WHOLE)
    np.testing.assert_allclose(got, lift + factor * background.mean[1], rtol=1e-5)


@pytest.mark.parametrize("position", [1.0, 5.0, 30.0])
def test_the_origin_is_added_to_rows_and_columns(position):
    background = background_of()
    whole = background.at(Place(position), *WHOLE)
    got = background.at(Place(position, origin=(2, 3)), slice(1, 3), slice(0, 5))
    np.testing.assert_array_equal(got, whole[3:5, 3:8])


def test_what_has_one_other_holds_for_all_of_them():
    background = background_of(others=1)
    np.testing.assert_array_equal(
        background.at(Place(5.0, 4), *WHOLE), background.at(Place(5.0, 0), *WHOLE)
    )


@pytest.mark.parametrize("place", [Place(-5.0), Place(0.0, 3), Place(99.0, 0, (7, 8))])
def test_a_flat_background_is_one_level_everywhere(place):
    got = flat_background(42.5).at(place, slice(100, 200), slice(0, 3))
    assert got.shape == (1, 1) and got[0, 0] == 42.5


SEEN = [0, 1, 5, 6, 7, 11, 13, 14, 19, 22, 25, 26, 28, 29]


def scene() -> np.ndarray:
    return np.random.default_rng(1).uniform(50, 1000, (2, 24, 30))


def means_of(seen: list[int], knots: int, frames: np.ndarray) -> Background:
    means = Means(30, knots, frames.shape[1:], 2)
    for t in seen:
        means.add(t, frames[t])
    return means.background()


def test_the_mean_is_that_of_all_planes_seen():
    frames = np.random.default_rng(1).integers(0, 1000, (30, 2, 4, 5)).astype(np.uint16)
    background = means_of(SEEN, 4, frames)
    np.testing.assert_allclose(background.mean, frames[SEEN].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("knots", [1, 3, 6])
def test_light_that_fades_is_followed_at_every_knot(knots):
    fading = np.exp(-np.arange(30) / 40)[:, None, None, None]
    frames = 200 + fading * scene()
    background = means_of(SEEN, knots, frames)
    groups = [[t for t in SEEN if i <= t * knots / 30 < i + 1] for i in range(knots)]
    for knot, group in enumerate(groups):
        assert background.positions[knot] == pytest.approx(np.mean(group))
        for other in (0, 1):
            got = background.at(
                Place(background.positions[knot], other), slice(0, 24), slice(0, 30)
            )
            np.testing.assert_allclose(got, frames[group, other].mean(axis=0), rtol=1e-5)


def test_a_run_without_planes_has_no_knot():
    background = means_of([0, 1, 28], 8, np.broadcast_to(scene(), (30, 2, 24, 30)))
    np.testing.assert_allclose(background.positions, [0.5, 28])


def test_a_dark_recording_has_a_background_of_its_level():
    background = means_of(SEEN, 4, np.full((30, 1, 8, 8), 7))
    np.testing.assert_allclose(background.at(Place(12.0), slice(0, 8), slice(0, 8)), 7)
