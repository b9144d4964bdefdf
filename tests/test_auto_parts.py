"""What the denoisers share: blending, and pixels that come back unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.errors import NonFinitePixels
from fm2s_stack.fm2s.blending import shares_at
from fm2s_stack.fm2s.unchanged import light_of, put_back
from fm2s_stack.progress import unheard

ANY = st.floats(-100, 100)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6, unique=True), ANY)
def test_shares_interpolate_between_the_networks_on_either_side(places, position):
    positions = np.array(sorted(places), float)
    shares = shares_at(positions, position)
    assert 1 <= len(shares) <= 2
    assert sum(share for _, share in shares) == pytest.approx(1)
    for number in range(len(positions)):
        curve = np.interp(position, positions, np.eye(len(positions))[number])
        assert dict(shares).get(number, 0) == pytest.approx(curve, abs=1e-12)


@pytest.mark.parametrize(("position", "number"), [(1.0, 0), (5.0, 1), (9.0, 2), (-3.0, 0)])
def test_at_a_network_and_beyond_the_last_it_works_alone(position, number):
    assert shares_at(np.array([1.0, 5.0, 9.0]), position) == [(number, 1.0)]


def test_only_pixels_that_are_kept_are_looked_for():
    plane = np.random.default_rng(0).random((20, 20))
    assert light_of(plane, "keep", "p", unheard) is None
    assert light_of(plane, "refuse", "p", unheard) is None
    plane[3, 4], plane[7, 8] = np.nan, np.inf
    light = light_of(plane, "keep", "p", unheard)
    assert light is not None
    assert np.argwhere(~light).tolist() == [[3, 4], [7, 8]]
    with pytest.raises(NonFinitePixels, match="p has NaN"):
        light_of(plane, "refuse", "p", unheard)
    assert light_of(np.zeros((9, 9), np.uint16), "refuse", "p", unheard) is None


def put(value: float, dtype: str, result_dtype: str) -> np.ndarray:
    """A result of ones of a core, one pixel of which is given back."""
    plane = np.full((6, 7), value, dtype)
    valid = np.ones((6, 7), bool)
    valid[2, 5] = valid[0, 0] = False  # the second lies beyond the core
    result = np.ones((3, 4), result_dtype)
    put_back(plane, valid, ((1, 4), (3, 7)), result, "p")
    expected = np.ones((3, 4), bool)
    expected[1, 2] = False
    assert (result[expected] == 1).all()
    return result[1, 2]


@pytest.mark.parametrize(
    ("value", "dtype", "result_dtype", "expected"),
    [
        (300, "uint16", "uint16", 300),
        (300, "uint16", "uint8", 255),
        (-70_000.0, "float32", "int16", -32768),
        (2.6, "float32", "int16", 3),
        (np.nan, "float32", "float64", np.nan),
        (-np.inf, "float64", "float32", -np.inf),
        (60_000, "uint16", "float32", 60_000),
    ],
)
def test_pixels_get_their_own_value_back_clipped_to_the_type(value, dtype, result_dtype, expected):
    np.testing.assert_equal(put(value, dtype, result_dtype), np.dtype(result_dtype).type(expected))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_a_type_cannot_hold_is_refused(value):
    with pytest.raises(NonFinitePixels, match="p has NaN or infinite pixels, which uint16"):
        put(value, "float32", "uint16")
