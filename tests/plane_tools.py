"""Planes whose noise is known, and the yardstick that single planes are held to."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.noise_model import NoiseModel, measure_image
from fm2s_stack.plane import PlaneDenoiser, fit_plane_denoiser, with_smooth_noise
from fm2s_stack.simulate import Simulation, noisy_frame, truth_frame


def si_psnr(result: NDArray, truth: NDArray) -> float:
    """PSNR after the best affine match, from the correlation coefficient."""
    left = truth.var() * (1 - np.corrcoef(result.ravel(), truth.ravel())[0, 1] ** 2)
    return float(10 * np.log10((truth.max() - truth.min()) ** 2 / left))


def best_gaussian(noisy: NDArray, truth: NDArray) -> float:
    """SI-PSNR of the Gaussian filter that the truth would choose."""
    widths = (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2, 2.5, 3, 3.5, 4, 5)
    return max(si_psnr(ndimage.gaussian_filter(noisy.astype(float), s), truth) for s in widths)


def kernel(**lags: float) -> tuple[tuple[float, ...], ...]:
    """An autocorrelation with neighbours along `rows` and `columns`."""
    table = np.zeros((4, 7))
    table[0, 3] = 1
    table[0, [2, 4]] = lags.get("rows", 0)
    table[1, 3] = lags.get("columns", 0)
    return tuple(map(tuple, table))


def noise(gain: float = 1.0, intercept: float = 1.0, rows: float = 0.0) -> NoiseModel:
    """A noise model with errors of no account."""
    return NoiseModel(
        gain=gain,
        intercept=intercept,
        floor=0.1,
        autocorrelation=kernel(rows=rows),
        gain_error=0,
        intercept_error=0,
        correlation_error=0,
        level_range=(0, 100),
        mean_level=20,
        method="frame differences",
        frames=1,
        pixels=1,
    )


@lru_cache(maxsize=8)
def simulated(photons: float, correlation: float = 0.0) -> tuple[NDArray, NDArray]:
    """A noisy frame of 300 x 300 pixels and its truth."""
    sim = Simulation(
        frames=1, height=300, width=300, photons=photons, correlation=correlation, seed=3
    )
    return noisy_frame(sim, 0), truth_frame(sim, 0)


def fitted(plane: NDArray, stride: int = 1) -> PlaneDenoiser:
    """A denoiser from a plane and nothing else."""
    measured = with_smooth_noise(plane, measure_image(plane))
    return fit_plane_denoiser(plane, measured, stride=stride)
