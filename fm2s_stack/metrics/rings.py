"""Fourier ring correlation: which detail two images of the same thing share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, image_pair

THRESHOLD = 1 / 7  #: correlation at which detail ends (Nieuwenhuizen et al. 2013)
SMOOTHED = 3  #: rings averaged before the threshold is applied


@dataclass(frozen=True)
class RingCorrelation:
    """Correlation of two images by spatial frequency; arrays of shape (rings,)."""

    frequency: Float  #: cycles a pixel, up to 0.5
    correlation: Float  #: -1 to 1

    @property
    def resolution(self) -> float | None:
        """Finest period that is still shared, pixels; 2 is the finest there is.

        None where not even the coarsest ring is.
        """
        kernel = np.ones(SMOOTHED)
        count = np.convolve(np.ones_like(self.correlation), kernel, "same")
        smooth = np.convolve(self.correlation, kernel, "same") / count
        below = np.flatnonzero(smooth < THRESHOLD)
        if below.size == 0:
            return float(1 / self.frequency[-1])
        last = int(below[0]) - 1
        return float(1 / self.frequency[last]) if last >= 0 else None


def ring_correlation(first: ArrayLike, second: ArrayLike) -> RingCorrelation:
    """Fourier ring correlation of two planes (Saxton and Baumeister 1982).

    Their noise must be independent: what they share is then the structure. Of the same
    pattern that a filter left in both it tells nothing.

    Parameters
    ----------
    first, second
        Planes of one shape, 8x8 pixels or more; a Hann window keeps their borders out.

    Raises
    ------
    UsageError
        If shapes differ or are too small.
    """
    return rings_of([(first, second)])


def rings_of(pairs: Iterable[tuple[ArrayLike, ArrayLike]]) -> RingCorrelation:
    """The same over several pairs of planes of one shape, their spectra added up.

    Raises
    ------
    UsageError
        If there are no pairs, shapes differ, or planes are too small.
    """
    total: Float | None = None
    shape: tuple[int, ...] = ()
    for first, second in pairs:
        a, b = image_pair(first, second)
        if a.ndim != 2 or min(a.shape) < 8:
            raise UsageError(f"rings of shape {a.shape}: expected planes of 8x8 pixels or more")
        shape = a.shape
        powers = _powers(a, b)
        total = powers if total is None else total + powers
    if total is None:
        raise UsageError("rings: there are no pairs of planes")
    shared, of_a, of_b = _by_ring(total, shape)
    scale = np.sqrt(of_a * of_b)
    correlation = np.divide(shared, scale, out=np.zeros_like(scale), where=scale > 0)
    frequency = np.arange(1, len(shared) + 1) / min(shape)
    return RingCorrelation(frequency, correlation)


def _powers(a: Float, b: Float) -> Float:
    window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])
    of_a, of_b = (np.fft.fft2((plane - plane.mean()) * window) for plane in (a, b))
    return np.stack([(of_a * of_b.conj()).real, np.abs(of_a) ** 2, np.abs(of_b) ** 2])


def _by_ring(powers: Float, shape: tuple[int, ...]) -> list[Float]:
    """Sums over rings as wide as the shorter side resolves; 0, the mean, is left out."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    ring = np.rint(radius * min(shape)).astype(int).ravel()
    last = min(shape) // 2
    sums = [np.bincount(ring, power.ravel())[1 : last + 1] for power in powers]
    return [np.asarray(each, dtype=np.float64) for each in sums]
