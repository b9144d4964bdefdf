"""The best Gaussian filter there is, chosen with the truth: what a denoiser has to beat.

With mirrored borders a symmetric filter is a product in the cosine domain (the DCT-II), where sums
of squares are those of the pixels. The errors of a whole grid of filters follow from two spectra,
without filtering anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float32]  #: shape (t, y, x)
Float = NDArray[np.float64]

#: standard deviations tried, in frames and in pixels
# fmt: off
TIMES = (
    *(0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.7),
    *(2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 48),
)
SPACES = (0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5)
# fmt: on
#: the fewer that are tried where every filter has to be applied
TRACE_TIMES, TRACE_SPACES = (0, 0.5, 0.8, 1.2, 1.7, 2.5, 4), (0.5, 0.8, 1.2, 1.7, 2.5, 3.5)
TRUNCATE = 4.0  #: standard deviations at which scipy ends the filter


@dataclass(frozen=True)
class Best:
    """A Gaussian filter, and what it reaches."""

    time: float  #: standard deviation along t, frames; 0: none
    space: float  #: along y and x, pixels; 0: none
    reached: float  #: what it was chosen for

    def __call__(self, noisy: NDArray) -> Frames:
        """Filtered frames, shape (t, y, x)."""
        return blurred(noisy, self.time, self.space)

    @property
    def words(self) -> str:
        """The filter in a few words."""
        return f"t {self.time:g}, yx {self.space:g}" if self.time else f"yx {self.space:g}"


def blurred(noisy: NDArray, time: float, space: float) -> Frames:
    """Frames of shape (t, y, x) under a Gaussian with mirrored borders."""
    from scipy.ndimage import gaussian_filter

    movie = noisy.astype(np.float32)
    found: Frames = gaussian_filter(movie, (time, space, space), mode="reflect", truncate=TRUNCATE)
    return found


def best_movie_gaussian(
    noisy: NDArray,
    truth: NDArray,
    times: tuple[float, ...] = TIMES,
    spaces: tuple[float, ...] = SPACES,
) -> Best:
    """The filter of the grid with the highest SI-PSNR of the movie; shapes (t, y, x)."""
    power, product, variance = _spectra(noisy, truth, axes=(0, 1, 2))
    along_t = _squares(times, noisy.shape[0])
    across = _squares(spaces, noisy.shape[1]), _squares(spaces, noisy.shape[2])
    of_result = _sums(power, along_t, *across)
    shared = _sums(product, np.sqrt(along_t), *(np.sqrt(side) for side in across))
    error = _unexplained(of_result, shared, float(variance.sum()))
    t, s = np.unravel_index(error.argmin(), error.shape)
    reached = 10 * np.log10(float(np.ptp(truth)) ** 2 / (error[t, s] / truth.size))
    return Best(times[t], spaces[s], float(reached))


def best_plane_gaussian(noisy: NDArray, truth: NDArray, spaces: tuple[float, ...] = SPACES) -> Best:
    """The filter of planes with the highest mean of their SI-PSNR; shapes (planes, y, x)."""
    power, product, variance = _spectra(noisy, truth, axes=(1, 2))
    across = _squares(spaces, noisy.shape[1]), _squares(spaces, noisy.shape[2])
    each = np.eye(len(noisy))
    of_result = _sums(power, each, *across)
    shared = _sums(product, each, *(np.sqrt(side) for side in across))
    error = _unexplained(of_result, shared, variance[:, None]) / truth[0].size
    ranges = np.ptp(truth.reshape(len(truth), -1), axis=1).astype(np.float64)
    reached = (10 * np.log10(ranges[:, None] ** 2 / error))[ranges > 0].mean(axis=0)
    return Best(0, spaces[int(reached.argmax())], float(reached.max()))


def best_trace_gaussian(
    noisy: NDArray,
    truth: NDArray,
    times: tuple[float, ...] = TRACE_TIMES,
    spaces: tuple[float, ...] = TRACE_SPACES,
) -> Best:
    """The filter with the highest correlation of single-pixel traces; shapes (t, y, x)."""
    target = _centred(truth.astype(np.float32))
    tried = []
    for time in times:
        in_time = blurred(noisy, time, 0)
        tried += [Best(time, space, _traces(in_time, target, space)) for space in spaces]
    return max(tried, key=lambda one: one.reached)


def _spectra(noisy: NDArray, truth: NDArray, axes: tuple[int, ...]) -> tuple[Frames, Frames, Float]:
    """Power of the noisy, product with the truth, and power of the truth in each plane."""
    from scipy.fft import dctn

    level = np.float32(truth.mean())
    movies = (movie.astype(np.float32) - level for movie in (noisy, truth))
    a, b = (dctn(movie, axes=axes, norm="ortho", overwrite_x=True) for movie in movies)
    # What is constant costs nothing: the best match takes it out.
    constant = tuple(0 if axis in axes else slice(None) for axis in range(3))
    a[constant] = b[constant] = 0
    variance = np.einsum("tyx,tyx->t", b, b, dtype=np.float64)
    return a * a, a * b, variance


def _squares(sigmas: tuple[float, ...], length: int) -> Float:
    """Squared response of each filter along an axis, shape (sigmas, length)."""
    return np.array([_response(sigma, length) for sigma in sigmas]) ** 2


def _response(sigma: float, length: int) -> Float:
    reach = int(TRUNCATE * sigma + 0.5)
    if reach == 0:
        return np.ones(length)
    lags = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (lags / sigma) ** 2)
    waves = np.cos(np.pi * np.outer(np.arange(length), lags) / length)
    # A Gaussian's is above 0 but for what cutting it off leaves.
    response: Float = np.maximum(waves @ (weights / weights.sum()), 0)
    return response


def _sums(spectrum: Frames, along: Float, down: Float, across: Float) -> Float:
    """Sums of a spectrum under all filters, shape (filters along, filters in the plane)."""
    in_time = np.tensordot(along.astype(np.float32), spectrum, axes=1).astype(np.float64)
    sums: Float = np.einsum("ayx,by,bx->ab", in_time, down, across, optimize=True)
    return sums


def _unexplained(power: Float, shared: Float, variance: float | Float) -> Float:
    """What the best affine match of a result leaves of the truth's power."""
    taken = np.divide(shared**2, power, out=np.zeros_like(power), where=power > 0)
    left: Float = np.maximum(variance - taken, 1e-12)
    return left


def _traces(in_time: Frames, target: Frames, space: float) -> float:
    result = _centred(blurred(in_time, 0, space))
    of_result, of_truth, shared = (
        np.einsum("tyx,tyx->yx", a, b).astype(np.float64)
        for a, b in ((result, result), (target, target), (result, target))
    )
    live = of_truth > 0
    scale = np.sqrt(of_result * of_truth)
    part = np.divide(shared, scale, out=np.zeros_like(scale), where=scale > 0)
    return float(part[live].mean()) if live.any() else 0.0


def _centred(movie: Frames) -> Frames:
    centred: Frames = movie - movie.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centred
