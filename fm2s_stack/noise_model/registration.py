"""By how many whole pixels a frame is shifted against another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float32 = NDArray[np.float32]

FARTHEST = 8  #: largest shift looked for, pixels
DETAIL = (1.0, 6.0)  #: scales between which structure tells a shift, pixels
CLEARLY = 2.0  #: by how many deviations a shift must match better than none


def shift_between(first: Float32, second: Float32) -> tuple[int, int]:
    """Rows and columns by which the content of `second` lies further than in `first`.

    The maximum of the cross-correlation, which is none where it is not clearly better than
    without a shift. Whole pixels, because interpolation would change the noise.

    Parameters
    ----------
    first, second
        Frames of one shape (y, x).
    """
    power = band(first.shape)
    spectra = [fft.rfft2(faded(frame)) for frame in (first, second)]
    match = fft.irfft2(spectra[0].conj() * spectra[1] * power, first.shape)
    reach = [min(FARTHEST, side // 4) for side in first.shape]
    y, x = (np.r_[0 : r + 1, -r:0] for r in reach)
    near = match[np.ix_(y, x)]
    row, column = np.unravel_index(near.argmax(), near.shape)
    shift = int(y[row]), int(x[column])
    # By how much two places as far apart differ anywhere: those far from 0 show chance.
    chance = np.median(np.abs(np.roll(match, shift, (0, 1)) - match)) / 0.6745
    better = near[row, column] - match[0, 0] > CLEARLY * chance
    return shift if better else (0, 0)


def align(frame: NDArray, shift: tuple[int, int]) -> NDArray:
    """The frame moved back by a shift; what enters at the edges is not to be used."""
    return np.roll(frame, (-shift[0], -shift[1]), (0, 1))


def overlap(shape: tuple[int, int], shift: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a frame moved back by a shift still shows the field, shape (y, x)."""
    inside = np.ones(shape, bool)
    for axis, step in enumerate(shift):
        lines = np.moveaxis(inside, axis, 0)
        if step > 0:
            lines[-step:] = False
        elif step < 0:
            lines[:-step] = False
    return inside


def faded(frame: Float32) -> Float32:
    """The frame without its mean, fading to 0 at the edges, which would match themselves."""
    rows, columns = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in frame.shape)
    fade = np.minimum(rows[:, None], 8) * np.minimum(columns, 8) / 64
    return np.asarray((frame - frame.mean()) * fade, np.float32)


def band(shape: tuple[int, ...]) -> Float32:
    """Power of a difference of Gaussians at the frequencies of `rfft2`."""
    square = fft.fftfreq(shape[0])[:, None] ** 2 + fft.rfftfreq(shape[1]) ** 2
    fine, coarse = (np.exp(-2 * np.pi**2 * sigma**2 * square) for sigma in DETAIL)
    return np.asarray((fine - coarse) ** 2, np.float32)
