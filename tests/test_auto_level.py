"""By what level the noise of a plane is drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
from auto_tools import lags, noise_of
from scipy.ndimage import convolve

from fm2s_stack.auto.level import expected_deviations, expected_level, square_deviation

NOISE = noise_of(0.0, 1.0)


def nothing(deviations: np.ndarray) -> np.ndarray:
    """A projection on no components."""
    return np.zeros_like(deviations)


def window(shape: tuple[int, ...] = (5, 64, 64), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_noise_of_neighbours_is_not_in_it():
    expected = expected_deviations(window()[1:], False, NOISE, nothing)
    assert np.mean(expected == 0) > 0.98


def test_what_happens_in_the_neighbours_is():
    planes = window()
    planes[1:, 20:40, 20:40] += 3
    expected = expected_deviations(planes[1:], False, NOISE, nothing)
    assert np.mean(expected[22:38, 22:38]) == pytest.approx(3, abs=0.05)


def test_what_lies_in_components_is_however_weak():
    planes = window()
    cell = np.zeros((64, 64), np.float32)
    cell[30:34, 30:34] = 0.25
    planes[1:] += 0.8 * cell

    def project(deviations: np.ndarray) -> np.ndarray:
        return cell * np.vdot(cell, deviations)

    expected = expected_deviations(planes[1:], False, NOISE, project)
    amount = np.vdot(cell, planes[1:].mean(axis=0))
    np.testing.assert_allclose(expected[cell > 0], 0.25 * amount, rtol=1e-3)


def test_without_a_background_it_is_what_the_neighbours_show_smoothed():
    planes = window()
    box = np.full((3, 3), 1 / 9)
    mean = planes[1:].astype(float).mean(axis=0)
    got = expected_deviations(planes[1:], True, NOISE, nothing)
    np.testing.assert_allclose(got, convolve(mean, box, mode="reflect"), atol=1e-5)
    np.testing.assert_allclose(expected_level(planes[1:]), got, atol=1e-5)
    alone = expected_deviations(planes[:1], True, NOISE, nothing)
    np.testing.assert_allclose(alone, convolve(planes[0], box, mode="reflect"), atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 5, 8])
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_the_noise_of_a_square_is_that_of_drawn_ones(side, rho):
    rng = np.random.default_rng(0)
    share = (1 - np.sqrt(1 - 4 * rho**2)) / (2 * rho) if rho else 0.0
    white = rng.normal(size=(4000, side, side + 1))
    drawn = (white[..., :-1] + share * white[..., 1:]) / np.hypot(1, share)
    told = square_deviation(noise_of(rho=lags({(0, 1): rho})), side)
    assert told == pytest.approx(drawn.mean((1, 2)).std(), rel=0.05)
