"""What a user would take instead: medians, Gaussians, non-local means, BM3D."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from quality_gaussian import best_movie_gaussian, best_plane_gaussian, best_trace_gaussian
from quality_recordings import Frames, Recording


class NotAvailable(Exception):
    """A method that is not there, such as a package or an option; one line."""


@dataclass(frozen=True)
class Timing:
    """What a run of our program took."""

    fit_seconds: float  #: measuring the noise and training
    apply_seconds: float  #: reading, denoising and writing
    total_seconds: float  #: from the plan to the end
    planes_per_second: float  #: disk to disk, the fit apart


@dataclass(frozen=True, eq=False)
class Output:
    """What a method made of a recording."""

    movie: NDArray[np.generic]  #: shape (frames or slices, y, x)
    note: str = ""  #: what it was made with
    timing: Timing | None = None  #: of our program


def raw(recording: Recording) -> Output:
    """Nothing done."""
    return Output(recording.frames.noisy)


def median_2d(recording: Recording) -> Output:
    """Median of 3x3 pixels."""
    return Output(_median(recording.frames, (1, 3, 3)))


def median_3d(recording: Recording) -> Output:
    """Median of 3x3 pixels of 3 frames or slices."""
    return Output(_median(recording.frames, (3, 3, 3)))


def gaussian_2d(recording: Recording) -> Output:
    """The Gaussian of planes that the truth says is best."""
    frames = recording.frames
    best = best_plane_gaussian(frames.noisy, frames.truth)
    return Output(best(frames.noisy), best.words)


def gaussian_3d(recording: Recording) -> Output:
    """The Gaussian in time and space that the truth says is best, by the movie's SI-PSNR."""
    frames = recording.frames
    best = best_movie_gaussian(frames.noisy, frames.truth)
    return Output(best(frames.noisy), best.words)


def gaussian_traces(recording: Recording) -> Output:
    """The same, best by the traces of single pixels."""
    frames = recording.frames
    best = best_trace_gaussian(frames.noisy, frames.truth)
    return Output(best(frames.noisy), best.words)


def non_local_means(recording: Recording) -> Output:
    """Non-local means of planes, with the settings of scikit-image's example."""
    if find_spec("skimage") is None:
        raise NotAvailable("scikit-image is not installed")
    from skimage.restoration import denoise_nl_means

    levels = recording.frames.noisy.astype(np.float32)
    planes = []
    for plane in levels:
        sigma = noise_of(plane)
        planes.append(denoise_nl_means(
            plane, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
        ))  # fmt: skip
    return Output(np.stack(planes))


def block_matching(recording: Recording) -> Output:
    """BM3D of planes, where its package is installed."""
    if find_spec("bm3d") is None:
        raise NotAvailable("the package bm3d is not installed")
    bm3d = import_module("bm3d").bm3d
    levels = recording.frames.noisy.astype(np.float64)
    return Output(np.stack([bm3d(plane, noise_of(plane)) for plane in levels]))


def noise_of(plane: NDArray) -> float:
    """Standard deviation of a plane's noise: that of neighbours' differences, robustly.

    The larger of those along rows and columns: detectors correlate neighbours in a row.
    """
    steps = (np.diff(plane.astype(np.float64), axis=axis) for axis in (0, 1))
    sizes = (np.median(np.abs(step - np.median(step))) for step in steps)
    return max(float(1.4826 * max(sizes) / np.sqrt(2)), 1e-6)


def _median(frames: Frames, size: tuple[int, int, int]) -> NDArray[np.generic]:
    from scipy.ndimage import median_filter

    found: NDArray[np.generic] = median_filter(frames.noisy, size=size)
    return found
