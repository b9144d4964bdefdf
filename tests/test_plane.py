"""Denoising single planes: what comes out, against Gaussians, and that it is reproducible."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from plane_tools import best_gaussian, fitted, noise, si_psnr, simulated
from scipy import ndimage

from fm2s_stack.noise_model import measure_image
from fm2s_stack.plane import HALO, TILE, PlaneDenoiser, fit_plane_denoiser, with_smooth_noise


@pytest.fixture(scope="module")
def denoiser() -> PlaneDenoiser:
    return fitted(simulated(25.0)[0], stride=2)


def wide(seed: int = 0, shape: tuple[int, int] = (530, 610)) -> np.ndarray:
    return np.random.default_rng(seed).poisson(30, shape).astype(np.uint16) * 40


@pytest.mark.parametrize("photons, correlation", [(3, 0.0), (25, 0.27), (200, 0.2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_frame_comes_out_better_than_from_the_gaussian_that_the_truth_chooses(
    photons, correlation, stride
):
    noisy, truth = simulated(photons, correlation)
    result = fitted(noisy, stride).denoise(noisy)
    assert si_psnr(result, truth) > best_gaussian(noisy, truth)
    assert result.mean() == pytest.approx(noisy.mean(), rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, preset, gain",
    [
        ("Confocal_BPAE_B_1", 36.84, 0.2),
        ("Confocal_MICE_1", 37.27, 0.8),
        ("TwoPhoton_BPAE_R_1", 34.69, 0.1),
        ("TwoPhoton_MICE_1", 34.47, 1.5),
        ("WideField_BPAE_R_1", 33.36, 0.0),
    ],
)
def test_real_images_come_out_better_than_from_gaussians_and_presets(data, name, preset, gain):
    noisy, truth = (
        np.asarray(Image.open(data / "fmd" / part / f"{name}.png")) for part in ("noisy", "truth")
    )
    result = fitted(noisy).denoise(noisy)
    reached = si_psnr(result, truth.astype(float))
    assert reached > best_gaussian(noisy, truth.astype(float)) + gain
    assert reached > preset - 0.2
    assert result.mean() == pytest.approx(noisy.mean(), rel=0.005)


def test_a_part_with_its_halo_gives_the_bits_of_the_whole(denoiser):
    plane = wide()
    whole = denoiser.denoise(plane)
    for top in range(0, plane.shape[0], TILE):
        for left in range(0, plane.shape[1], TILE):
            low = max(top - HALO, 0), max(left - HALO, 0)
            bottom, right = min(top + TILE, plane.shape[0]), min(left + TILE, plane.shape[1])
            part = plane[low[0] : bottom + HALO, low[1] : right + HALO]
            core = (top - low[0], bottom - low[0]), (left - low[1], right - low[1])
            np.testing.assert_array_equal(
                denoiser.denoise(part, core), whole[top:bottom, left:right]
            )


@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_beyond_the_halo_matters(denoiser, stride):
    denoiser = replace(denoiser, stride=stride)
    plane = wide(shape=(256, 256))
    changed = np.random.default_rng(1).permuted(plane)
    near = slice(100 - HALO, 101 + HALO)
    changed[near, near] = plane[near, near]
    assert denoiser.denoise(changed)[100, 100] == denoiser.denoise(plane)[100, 100]


def test_the_number_of_threads_changes_no_bit():
    plane, model = wide(shape=(300, 280)), noise(gain=40.0)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        denoiser = fit_plane_denoiser(plane, model, seed=5, stride=2)
        results.append((denoiser.weights, denoiser.denoise(plane)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_survives_pickling_and_storage_as_arrays(denoiser):
    plane = wide(shape=(64, 90))
    expected = denoiser.denoise(plane)
    for copy in (
        pickle.loads(pickle.dumps(denoiser)),
        PlaneDenoiser.from_arrays(denoiser.as_arrays()),
    ):
        np.testing.assert_array_equal(copy.denoise(plane), expected)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (33, 9)])
def test_planes_of_any_size_come_out_in_their_shape(denoiser, shape):
    result = denoiser.denoise(wide(shape=shape))
    assert result.shape == shape
    assert np.isfinite(result).all()


def test_darkness_may_lie_at_any_level():
    noisy, _ = simulated(25.0)
    high, low = noisy.astype(np.float32), noisy.astype(np.int16) - 700
    results = [fitted(plane, 2).denoise(plane) for plane in (high, low)]
    assert (low < 0).any()
    np.testing.assert_allclose(results[1] + 700, results[0], rtol=0.01)


def test_weights_fitted_on_some_frames_suit_others():
    _, truth = simulated(25.0)
    rng = np.random.default_rng(0)
    planes = truth + np.sqrt(40 * truth) * rng.normal(size=(4, *truth.shape))
    denoiser = fit_plane_denoiser(planes[:3], noise(gain=40.0, intercept=0.0), stride=2)
    result = denoiser.denoise(planes[3])
    assert si_psnr(result, truth) > best_gaussian(planes[3], truth)


def test_most_of_smooth_noise_is_measured():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:384, :384]
    scene = 300 + 100 * np.sin(x / 40) * np.cos(y / 50)
    unit = ndimage.gaussian_filter(rng.normal(size=scene.shape), 1.2)
    plane = scene + 12 * unit / unit.std()
    model = with_smooth_noise(plane, measure_image(plane))
    assert measure_image(plane).variance(300) < 0.3 * 144
    assert 0.6 * 144 < model.variance(300) < 1.1 * 144
    # White noise after a Gaussian of deviation s: correlation exp(-lag**2 / (4 s**2)).
    assert model.correlation_rows[0] == pytest.approx(np.exp(-1 / (4 * 1.44)), abs=0.1)
    assert model.correlation_columns[0] == pytest.approx(np.exp(-1 / (4 * 1.44)), abs=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.35])
def test_noise_that_is_not_smooth_along_both_axes_is_left_alone(correlation):
    noisy, _ = simulated(8.0, correlation)
    model = measure_image(noisy)
    assert with_smooth_noise(noisy, model) is model
