"""What denoising takes from an image by its brightness is found and given back."""

from __future__ import annotations

import numpy as np
import pytest
from auto_tools import Float, lags, noise_of
from scipy.ndimage import gaussian_filter

from fm2s_stack.auto.level_map import LevelMap, measure_map, no_map

DARK, GAIN = 20.0, 2.0


def scene(side: int = 192) -> Float:
    """Cells of several sizes on a slope, photons."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side]
    light = 4 + 0.02 * x
    for cy, cx, size in zip(*rng.uniform(0, side, (2, 60)), rng.uniform(1.5, 5, 60), strict=True):
        light = light + 20 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))
    return light


def noisy(light: Float, seed: int) -> Float:
    return DARK + GAIN * np.random.default_rng(seed).poisson(light)


def blur(pixels: Float) -> Float:
    return gaussian_filter(np.asarray(pixels, np.float32), 1.6)


def off(result: Float, light: Float) -> Float:
    """By how much ranges of the true brightness are too bright, a part of their light."""
    edges = np.quantile(light, [0, 0.2, 0.4, 0.6, 0.8, 0.95, 1])
    ranges = np.clip(np.searchsorted(edges, light, "right") - 1, 0, 5)
    counts = np.bincount(ranges.ravel())
    there, true = (
        np.bincount(ranges.ravel(), values.ravel()) / counts
        for values in (result - DARK, GAIN * light)
    )
    return there / true - 1


NOISE = noise_of(GAIN, -GAIN * DARK, mean_level=DARK + GAIN * 8)


def test_ranges_of_brightness_are_right_after_it_that_were_not_before():
    light = scene()
    plane = noisy(light, 1).astype(np.float32)
    made = blur(plane)
    found = measure_map([plane], [made], blur, NOISE)
    before, after = off(made, light), off(found(made), light)
    assert np.abs(before).max() > 0.08
    assert np.abs(after).max() < 0.04
    assert np.abs(after).mean() < 0.7 * np.abs(before).mean()


def test_the_mean_stays():
    planes = [noisy(scene(), seed).astype(np.float32) for seed in (1, 2)]
    made = [blur(plane) for plane in planes]
    found = measure_map(planes, made, blur, NOISE)
    light = np.mean(planes) - DARK
    assert np.mean([found(one) for one in made]) - DARK == pytest.approx(light, rel=1e-3)


def test_what_takes_nothing_is_left_alone():
    # Structure of many pixels, which a weak blur leaves as it is, in noise of a row's colour.
    y, x = np.mgrid[:160, :160]
    level = 100 + 30 * np.sin(x / 25) * np.cos(y / 30)
    noise = np.random.default_rng(4).normal(0, 2, (160, 161))
    plane = (level + (noise[:, 1:] + 0.5 * noise[:, :-1]) / 1.25**0.5).astype(np.float32)
    told = noise_of(0.0, 4.0, lags({(0, 1): 0.4}))
    found = measure_map([plane], [level.astype(np.float32)], lambda pixels: level, told)
    assert np.abs(found.shifts).max() < 0.15


def test_planes_of_one_grey_level_have_no_map():
    plane = np.full((40, 40), 7.0, np.float32)
    found = measure_map([plane], [plane], lambda pixels: plane, NOISE)
    assert len(found.levels) == 0
    assert found(plane) is plane


def test_between_levels_shifts_are_linear_and_beyond_they_stay():
    found = LevelMap(np.array([10.0, 20.0]), np.array([1.0, -1.0]))
    got = found(np.array([0.0, 10, 15, 17.5, 20, 99], np.float32))
    np.testing.assert_allclose(got, [1, 11, 15, 17, 19, 98])
    assert no_map().as_array().shape == (2, 0)
