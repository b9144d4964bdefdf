"""Which pixels carry light."""

from __future__ import annotations

import numpy as np

from fm2s_stack.fm2s.padding import fill_invalid, valid_pixels


def image(seed: int = 0, shape: tuple[int, int] = (80, 100)) -> np.ndarray:
    return np.random.default_rng(seed).poisson(40, shape).astype(np.float32)


def test_nan_and_infinity_anywhere_are_invalid():
    plane = image()
    plane[3, 4], plane[50, 60] = np.nan, -np.inf
    expected = np.ones(plane.shape, bool)
    expected[3, 4] = expected[50, 60] = False
    np.testing.assert_array_equal(valid_pixels(plane), expected)


def test_registration_borders_of_one_row_and_three_columns_are_found():
    plane = image().astype(np.uint16)
    plane[:1], plane[:, -3:] = 0, 0
    expected = np.ones(plane.shape, bool)
    expected[:1], expected[:, -3:] = False, False
    np.testing.assert_array_equal(valid_pixels(plane), expected)


def test_deskewed_wedges_are_found_to_their_slanted_edge():
    plane = image()
    rows, columns = np.indices(plane.shape)
    wedge = (columns < 30 - rows * 0.5) | (columns > 115 - rows * 0.5)
    plane[wedge] = 100
    np.testing.assert_array_equal(valid_pixels(plane), ~wedge)


def test_the_zeros_of_a_dim_photon_counting_image_are_data():
    plane = np.random.default_rng(1).poisson(0.3, (200, 200)).astype(np.uint16)
    assert valid_pixels(plane).all()


def test_a_saturated_cell_inside_is_data():
    plane = image().astype(np.uint16)
    plane[30:50, 30:50] = 4095
    assert valid_pixels(plane).all()


def test_a_constant_plane_is_an_image():
    assert valid_pixels(np.full((20, 20), 5, np.int16)).all()


def test_invalid_pixels_are_filled_from_the_nearest_valid_one():
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    valid = np.ones((3, 4), bool)
    valid[:, 0] = False
    filled = fill_invalid(np.where(valid, plane, np.nan), valid)
    np.testing.assert_array_equal(filled[:, 0], plane[:, 1])
    np.testing.assert_array_equal(filled[:, 1:], plane[:, 1:])
