"""The parts of the estimate of a plane, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plane_tools import noise
from scipy import fft, ndimage

from fm2s_stack.noise_model.drawing import coloured
from fm2s_stack.plane.blocks import BLOCK, THRESHOLD, blocks_of
from fm2s_stack.plane.draws import ADDED, clipped_part, drawn_like
from fm2s_stack.plane.line import VarianceLine, coefficient_variances, halved, lags_of
from fm2s_stack.plane.mixture import KNOTS, Sums, shares
from fm2s_stack.plane.scales import double, halve, local_mean, smooth

LINE = VarianceLine(2.0, 5.0, 0.5)


def noisy_window(side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    return rng.poisson(20 + 15 * np.sin(x / 5) * np.cos(y / 7)).astype(np.float32)


def slow_estimate(window, pilot, stride, variances, keep):
    """Block by block, with the cosine transform of scipy."""
    total, weight = np.zeros(window.shape), np.zeros(window.shape)
    for y in range(0, window.shape[0] - BLOCK + 1, stride):
        for x in range(0, window.shape[1] - BLOCK + 1, stride):
            place = slice(y, y + BLOCK), slice(x, x + BLOCK)
            own, other = (fft.dctn(a[place].astype(float), norm="ortho") for a in (window, pilot))
            variance = max(LINE.gain * pilot[place].mean() + LINE.intercept, LINE.floor)
            variance = variance * variances.reshape(BLOCK, BLOCK)
            kept = keep(own, other, variance)
            kept[0, 0] = 1
            precision = 1 / (kept**2 * variance).sum()
            total[place] += precision * fft.idctn(own * kept, norm="ortho")
            weight[place] += precision
    return total / weight


@pytest.mark.parametrize("stride", [1, 4])
def test_both_steps_are_those_of_blocks_transformed_one_by_one(stride):
    lags = lags_of(noise(rows=0.3).whole_autocorrelation)
    window = noisy_window()
    level = ndimage.gaussian_filter(window, 2)
    first, second = blocks_of(lags, stride).estimates(
        torch.from_numpy(window), torch.from_numpy(level), LINE
    )
    variances = coefficient_variances(lags)
    expected = slow_estimate(
        window,
        level,
        stride,
        variances,
        lambda own, _, v: (own**2 > THRESHOLD**2 * v).astype(float),
    )
    np.testing.assert_allclose(first, expected, rtol=1e-4)
    expected = slow_estimate(
        window, first.numpy(), stride, variances, lambda _, pilot, v: pilot**2 / (pilot**2 + v)
    )
    np.testing.assert_allclose(second, expected, rtol=1e-4)


def correlated_noise(side: int = 2048) -> tuple[np.ndarray, dict]:
    unit = np.random.default_rng(0).normal(size=(side, side))
    whole = noise(rows=0.3).whole_autocorrelation
    return coloured(unit, whole), lags_of(whole)


def test_drawn_noise_has_its_correlation():
    drawn, _ = correlated_noise()
    assert drawn.var() == pytest.approx(1, abs=0.01)
    for dy, dx, expected in [(0, 1, 0.3), (0, 2, 0), (1, 0, 0), (1, 1, 0)]:
        product = drawn * np.roll(drawn, (dy, dx), (0, 1))
        assert product.mean() == pytest.approx(expected, abs=0.01)


def test_variances_of_coefficients_are_those_of_transformed_noise():
    drawn, lags = correlated_noise()
    tiles = drawn.reshape(256, 8, 256, 8).swapaxes(1, 2)
    seen = fft.dctn(tiles, axes=(2, 3), norm="ortho").var(axis=(0, 1)).ravel()
    np.testing.assert_allclose(coefficient_variances(lags), seen, rtol=0.05)


def test_halving_halves_the_noise_as_told():
    drawn, lags = correlated_noise()
    means = halve(torch.from_numpy(drawn)).numpy()
    told = halved(lags)
    for dy, dx in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]:
        seen = (means * np.roll(means, (dy, dx), (0, 1))).mean()
        assert told[dy, dx] == pytest.approx(seen, abs=0.005)


@pytest.mark.parametrize("sigma", [0.6, 2.5])
def test_smoothing_is_that_of_scipy(sigma):
    window = noisy_window()
    expected = ndimage.gaussian_filter(window, sigma, mode="nearest")
    np.testing.assert_allclose(smooth(torch.from_numpy(window), sigma), expected, rtol=1e-4)
    expected = ndimage.uniform_filter(window, 5, mode="nearest")
    np.testing.assert_allclose(local_mean(torch.from_numpy(window), 5), expected, rtol=1e-4)


def test_doubling_keeps_slopes():
    y, x = np.mgrid[:20, :20].astype(np.float32)
    plane = torch.from_numpy(3 * y + x)
    np.testing.assert_allclose(double(halve(plane))[1:-1, 1:-1], plane[1:-1, 1:-1], rtol=1e-5)


def test_pairs_have_independent_noise_up_to_the_third_moment():
    rng = np.random.default_rng(0)
    truth = np.full((1500, 1500), 4.0)
    plane = rng.poisson(truth) + rng.normal(size=truth.shape)
    drawn = drawn_like(noise(), darkest=0.0)
    given, wanted = drawn.pair(plane.astype(np.float32), truth.astype(np.float32), rng)
    left, right = given - 4.0, wanted - 4.0
    scale = np.sqrt(left.var() * right.var() / left.size)
    assert left.var() == pytest.approx(5 * (1 + ADDED**2), rel=0.02)
    assert abs((left * right).mean()) < 5 * scale
    # Without the third cumulant it is 4, that of the photons.
    assert abs((left**2 * right).mean()) < 0.6


def test_clipping_lowers_the_variance_as_told():
    numbers = np.random.default_rng(0).normal(size=10**6)
    for room in (-1.0, 0.0, 1.0, 3.0):
        seen = np.minimum(numbers, room).var()
        assert clipped_part(np.array(room)) == pytest.approx(seen, abs=0.005)


def test_shares_are_those_of_linear_interpolation():
    knots = torch.tensor([-1.0, 0.0, 0.5, 2.0, 4.0])
    at = torch.linspace(-3, 6, 50)
    for number, share in enumerate(shares(at, knots)):
        expected = np.interp(at, knots, np.eye(5)[number])
        np.testing.assert_allclose(share, expected, atol=1e-6)


def test_weights_are_those_of_least_squares_in_both_limits():
    rng = np.random.default_rng(0)
    sums = Sums.empty()
    knots, each = len(KNOTS), len(sums.target) // len(KNOTS)
    differences = rng.normal(size=(each, 4000))
    knot = rng.integers(knots, size=4000)
    target = (differences * rng.normal(size=(knots, each))[knot].T).sum(0) + rng.normal(size=4000)
    there = np.eye(knots)[knot].T
    sums.add((there[:, None] * differences).reshape(knots * each, -1), target)
    common = np.linalg.lstsq(differences.T, target)[0]
    np.testing.assert_allclose(sums.solved(1e9).reshape(knots, each), [common] * knots, atol=1e-3)
    free = [
        np.linalg.lstsq(differences[:, knot == k].T, target[knot == k])[0] for k in range(knots)
    ]
    np.testing.assert_allclose(sums.solved(1e-9).reshape(knots, each), free, atol=1e-3)
    weights = rng.normal(size=knots * each)
    missed = target - ((weights.reshape(knots, each)[knot].T) * differences).sum(0)
    assert sums.error(weights) == pytest.approx((missed**2).sum())
