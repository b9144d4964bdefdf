"""Noise that is drawn, and the skewness of noise that is measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from auto_tools import Float, lags, noise_of, require_near
from scipy.signal import correlate2d

from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import Look, Skewness, measure_skewness
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import colouring
from fm2s_stack.noise_model.model import REACH
from fm2s_stack.simulate import Simulation, noisy_frame

KERNELS = {
    "white": lags(),
    "rows": lags({(0, 1): 0.3}),
    "columns": lags({(1, 0): 0.25, (2, 0): -0.1}),
    "both": lags({(0, 1): 0.3, (1, 0): 0.2, (1, 1): 0.06, (1, -1): 0.06}),
    "falling diagonal": lags({(1, 1): 0.3}),
    "rising diagonal": lags({(1, -1): 0.3}),
    "negative": lags({(0, 1): -0.35}),
}
PHOTONS = Skewness(slope=4.0, intercept=-40.0)  # of gain 2 and dark level 10
FIELDS, SIDE = 60, 64


def drawn(noise: NoiseModel, skewness: Skewness, level: float | np.ndarray, seed: int = 0) -> Float:
    """Fields of drawn noise, shape (fields, y, x)."""
    recorruption, stream = Recorruption(noise, skewness), np.random.default_rng(seed)
    levels = np.broadcast_to(np.float32(level), (SIDE, SIDE))
    return np.stack([recorruption.draw(levels, stream) for _ in range(FIELDS)]).astype(float)


@pytest.mark.parametrize("name", KERNELS)
def test_drawn_noise_has_the_moments_of_the_model_whatever_its_correlation(name):
    noise = noise_of(2.0, -15.0, KERNELS[name])
    fields = drawn(noise, PHOTONS, 20.0)
    require_near(fields.mean((1, 2)), 0.0)
    require_near((fields**2).mean((1, 2)), 2.0 * 20 - 15)
    require_near((fields**3).mean((1, 2)), 4.0 * (20 - 10))


@pytest.mark.parametrize("level", [12.0, 30.0, 300.0, 5000.0])
def test_drawn_noise_has_variance_and_third_cumulant_of_its_level(level):
    fields = drawn(noise_of(2.0, -15.0), PHOTONS, level)
    require_near((fields**2).mean((1, 2)), 2.0 * level - 15)
    require_near((fields**3).mean((1, 2)), 4.0 * (level - 10))


def test_levels_may_differ_from_pixel_to_pixel():
    levels = np.where(np.arange(SIDE) < SIDE // 2, 30.0, 3000.0)
    fields = drawn(noise_of(2.0, -15.0), PHOTONS, levels)
    for half, level in ((slice(0, SIDE // 2), 30.0), (slice(SIDE // 2, SIDE), 3000.0)):
        require_near((fields[:, :, half] ** 2).mean((1, 2)), 2.0 * level - 15)
        require_near((fields[:, :, half] ** 3).mean((1, 2)), 4.0 * (level - 10))


@pytest.mark.parametrize("name", KERNELS)
def test_drawn_noise_is_correlated_as_the_model_says(name):
    rho = KERNELS[name]
    fields = drawn(noise_of(0.0, 9.0, rho), Skewness(0.0, 0.0), 20.0)
    for dy in range(REACH + 1):
        for dx in range(-REACH, REACH + 1):
            products = fields[:, dy:, REACH:-REACH]
            products = products * fields[:, : SIDE - dy, REACH - dx : SIDE - REACH - dx]
            require_near(products.mean((1, 2)) / 9.0, rho[dy, REACH + dx], slack=1e-3)


def test_noise_without_skewness_is_symmetric():
    fields = drawn(noise_of(0.0, 9.0), Skewness(0.0, 0.0), 20.0)
    assert abs((fields**3).mean()) < 0.04 * 27


def test_only_the_stream_decides_what_is_drawn():
    noise = noise_of(2.0, -15.0, KERNELS["rows"])
    first = drawn(noise, PHOTONS, 20.0, seed=1)
    torch.manual_seed(5)
    np.random.seed(5)
    np.testing.assert_array_equal(first, drawn(noise, PHOTONS, 20.0, seed=1))
    assert abs(np.corrcoef(first.ravel(), drawn(noise, PHOTONS, 20.0, seed=2).ravel())[0, 1]) < 0.02


def taps_of(rho: Float) -> Float:
    """The filter of an autocorrelation, its middle in the middle."""
    whole = noise_of(0.0, 9.0, rho).whole_autocorrelation
    return np.fft.fftshift(np.fft.irfft2(colouring(whole, (SIDE, SIDE)), s=(SIDE, SIDE)))


@pytest.mark.parametrize("name", KERNELS)
def test_the_filter_has_the_autocorrelation_and_is_symmetric(name):
    kernel = taps_of(KERNELS[name])[1:, 1:]
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    own = correlate2d(kernel, kernel)[SIDE - 2 :, SIDE - 2 - REACH : SIDE - 1 + REACH]
    np.testing.assert_allclose(own[: REACH + 1], KERNELS[name], atol=2e-3)


@pytest.mark.parametrize("told", [{(0, 1): 0.9}, {(0, 1): -0.8, (1, 0): 0.7}, {(3, -3): 1.0}])
def test_an_autocorrelation_that_none_can_have_gives_a_filter_of_power_1(told):
    kernel = taps_of(lags(told))
    assert np.isfinite(kernel).all()
    assert abs((kernel**2).sum() - 1) < 1e-5


@pytest.mark.parametrize("name", KERNELS)
def test_both_halves_of_an_autocorrelation_mirror_each_other(name):
    whole = noise_of(0.0, 9.0, KERNELS[name]).whole_autocorrelation
    np.testing.assert_array_equal(whole, whole[::-1, ::-1])
    np.testing.assert_array_equal(whole[REACH:], KERNELS[name])


def looks(frames: Float, level: Float | None = None, side: int = 2) -> Iterator[Look]:
    """Planes beside the means of their neighbours."""
    mean = frames.mean(axis=0) if level is None else level
    for t in range(side, len(frames) - side, 2):
        near = (frames[t - side : t + side + 1].sum(axis=0) - frames[t]) / (2 * side)
        yield Look(*(a.astype(np.float32) for a in (frames[t], near)), 2 * side, np.float32(mean))


def simulated(**told: float) -> tuple[Simulation, NoiseModel, Float]:
    simulation = Simulation(frames=60, height=192, width=192, seed=3, **told)
    gain, dark = simulation.gain, simulation.dark_level
    noise = noise_of(gain, simulation.read_noise**2 + 1 / 12 - gain * dark)
    frames = np.stack([noisy_frame(simulation, t) for t in range(simulation.frames)])
    return simulation, noise, frames.astype(float)


def require_photons(found: Skewness, simulation: Simulation, frames: Float, within: float) -> None:
    """Assert that a skewness is that of photons."""
    for level in np.quantile(frames.mean(axis=0), [0.3, 0.6, 0.9]):
        expected = simulation.gain**2 * (level - simulation.dark_level)
        assert abs(found.third_cumulant(level) / expected - 1) < within


@pytest.mark.parametrize(
    "told",
    [
        {"gain": 40.0, "photons": 25.0},
        {"gain": 10.0, "photons": 60.0, "read_noise": 2.0},
        {"gain": 100.0, "photons": 15.0, "read_noise": 0.0},
    ],
)
def test_photons_are_found_by_the_skewness_of_their_noise(told):
    simulation, noise, frames = simulated(burst_rate=0.0, **told)
    require_photons(measure_skewness(looks(frames), noise), simulation, frames, within=0.1)


def test_calcium_events_do_not_pass_for_skewness():
    told = {"burst_rate": 0.5, "neuropil": 0.02, "cell_density": 0.004}
    simulation, noise, frames = simulated(**told)
    require_photons(measure_skewness(looks(frames), noise), simulation, frames, within=0.15)


def test_gaussian_noise_has_no_skewness():
    rng = np.random.default_rng(0)
    level = np.linspace(100, 400, 128)[:, None] + np.zeros((128, 128))
    frames = level + np.sqrt(2 * level) * rng.normal(size=(60, 128, 128))
    found = measure_skewness(looks(frames, level), noise_of(2.0, 0.0))
    for at in (100.0, 250.0, 400.0):
        assert abs(found.slope * at + found.intercept) < 0.05 * (2 * at) ** 1.5


def test_a_third_cumulant_is_linear_in_the_level_and_never_below_0():
    np.testing.assert_allclose(PHOTONS.third_cumulant([0.0, 10.0, 12.5]), [0.0, 0.0, 10.0])


def disturbed(kind: str) -> Float:
    """Gaussian frames of level 400 and deviation 20, some of which something happens in."""
    rng = np.random.default_rng(1)
    frames = 400 + 20 * rng.normal(size=(60, 128, 128))
    hit = frames[2::10]
    if kind == "single pixels":
        hit[rng.random(hit.shape) < 0.01] += 280
    elif kind == "a dim thing":
        hit[:, 40:70, 40:70] += 40
    return frames


@pytest.mark.parametrize("kind", ["nothing", "single pixels", "a dim thing"])
def test_accidents_and_events_are_left_out(kind):
    level = np.full((128, 128), 400.0)
    found = measure_skewness(looks(disturbed(kind), level), noise_of(0.0, 400.0))
    assert abs(found.third_cumulant(400.0)) < 0.05 * 20**3


def test_correlated_noise_does_not_pass_for_events():
    simulation, noise, frames = simulated(burst_rate=0.0, correlation=0.4)
    noise = replace(noise, autocorrelation=tuple(map(tuple, lags({(0, 1): 0.4}).tolist())))
    found = measure_skewness(looks(frames), noise)
    # Two draws are mixed 1 to a: the cubes of their parts are what is left of the skewness.
    assert simulation.correlation == 0.5 / (1 + 0.5**2)
    left = (1 + 0.5**3) / (1 + 0.5**2) ** 1.5
    level = np.quantile(frames.mean(axis=0), 0.8)
    expected = left * simulation.gain**2 * (level - simulation.dark_level)
    assert abs(found.third_cumulant(level) / expected - 1) < 0.08


def test_without_planes_no_skewness_is_known():
    assert measure_skewness([], noise_of()).third_cumulant(100.0) == 0
