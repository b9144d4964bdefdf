"""The intensity map: affine, never wrapping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fm2s_stack.fm2s.intensity import IntensityMap, measure_intensity

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32"]


def test_eight_bit_images_are_divided_by_255_and_held_in_range():
    image = np.arange(256, dtype=np.uint8)
    found = measure_intensity(image, image.dtype)
    np.testing.assert_array_equal(found.to_unit(image), image.astype(np.float32) / np.float32(255))
    beyond = np.array([-0.5, 1.5], np.float32)
    assert found.from_unit(beyond, np.float32)[0].tolist() == [0, 255]
    levels, clipped = found.from_unit(np.array([-0.5, 0, 0.5, 255.4 / 255, 1.5], np.float32), "u1")
    assert (levels.tolist(), clipped) == ([0, 0, 128, 255, 255], 2), "what is held is counted"


def test_other_depths_send_two_percentiles_to_zero_and_one():
    image = np.random.default_rng(0).integers(-300, 4000, (400, 500)).astype(np.int16)
    found = measure_intensity(image, image.dtype)
    low, high = np.percentile(image, (0.1, 99.99))
    assert (found.low, found.high) == (low, high)
    assert found.to_unit(np.array([low, high]))[0] == 0
    assert found.to_unit(np.array([2 * high - low]))[0] == pytest.approx(2), "linear beyond"


@settings(max_examples=100, deadline=None)
@given(
    dtype=st.sampled_from(INTEGERS),
    data=st.data(),
    low=st.floats(-1e4, 1e4),
    span=st.floats(1, 1e5),
)
def test_integers_come_back_as_they_were_and_never_wrap(dtype, data, low, span):
    limits = np.iinfo(dtype)
    bound = min(limits.max, 2**16)
    values = data.draw(hnp.arrays(dtype, 20, elements=st.integers(max(limits.min, -bound), bound)))
    found = IntensityMap(low, low + span)
    unit = found.to_unit(values)
    # float32 resolves the unit scale to about 1e-7 of the largest value met.
    step = np.abs(unit).max() * span * 2.0**-23
    back, clipped = found.from_unit(unit, dtype)
    assert np.abs(back.astype(np.float64) - values).max() <= 0.5 + 2 * step or clipped
    far, count = found.from_unit(np.full_like(unit, 1e12), dtype)
    assert (far == limits.max).all() and count == len(values)


@pytest.mark.parametrize(
    ("values", "dtype"), [(np.full(50, 7), "uint16"), (np.r_[np.zeros(10**5), 9], "float32")]
)
def test_images_of_nearly_one_value_have_a_map_of_positive_span(values, dtype):
    found = measure_intensity(values.astype(dtype), dtype)
    assert found.high > found.low
    back, _ = found.from_unit(found.to_unit(values.astype(dtype)), dtype)
    np.testing.assert_allclose(back, values, atol=1e-4)


def test_large_offsets_of_float_data_keep_their_small_differences():
    values = np.array([1e9, 1e9 + 1, 1e9 + 2], np.float64)
    found = measure_intensity(values, values.dtype)
    assert np.diff(found.to_unit(values)) == pytest.approx([0.5, 0.5], abs=1e-3)
