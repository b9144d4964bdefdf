"""Motion of the field between frames, found where the noise is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from fm2s_stack.noise_model.defects import defective_pixels, mended
from fm2s_stack.noise_model.registration import FARTHEST, band, faded
from fm2s_stack.noise_model.units import as_numbers

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Spectrum = NDArray[np.complexfloating]

SIDE = 512  #: of the part in the middle that is registered, pixels
LEAST_SIDE = 16  #: of frames that are registered, pixels
ROUNDS = 3  #: in which each frame is registered to the mean of the others
CLEARLY = 6.0  #: deviations of its noise by which a frame must match better where it lies
MUCH = 1.0  #: pixels; what moves less hardly blurs what optics resolve


@dataclass(frozen=True)
class Motion:
    """How far the field moves; lengths in pixels, 0 where nothing is clearly seen to move."""

    step: float  #: most between one frame and the next
    spread: float  #: most between any two frames looked at, however far apart in time

    @property
    def notes(self) -> tuple[str, ...]:
        """What of it is to be said aloud: one line, or none."""
        if self.step > MUCH:
            return (
                f"frames move by up to {self.step:.1f} pixels between one and the next: correct "
                "motion first, neighbouring frames blur otherwise",
            )
        if self.spread > MUCH:
            return (
                f"the field moves by up to {self.spread:.1f} pixels over the recording: correct "
                "motion first, means over time blur otherwise",
            )
        return ()


def measure_motion(pairs: NDArray, fields: NDArray[np.intp] | None = None) -> Motion:
    """How far the field moves, from pairs of consecutive frames.

    Each frame is registered to the mean of the others, by the maximum of the cross-correlation
    at the scales of cells (1 to 6 pixels), to a part of a pixel. Two frames count as displaced
    where each matches better at its own place than at the other's, by six deviations of what
    noise does to that difference: noise alone does not move, nor does a cell that brightens,
    which still lies where it lies in the mean.

    Parameters
    ----------
    pairs
        Pairs of consecutive frames spread over the recording, shape (pairs, 2, y, x).
    fields
        Which field each pair shows, such as its slice, shape (pairs,); None: all the same.

    Returns
    -------
    Motion
        Displacements of up to 8 pixels from the mean are found; farther ones are missed.
    """
    which = np.zeros(len(pairs), np.intp) if fields is None else fields
    if min(pairs.shape[2:]) < LEAST_SIDE:
        return Motion(0.0, 0.0)
    found = [_of_field(pairs[which == field]) for field in np.unique(which)]
    return Motion(max(one.step for one in found), max(one.spread for one in found))


def _of_field(pairs: NDArray) -> Motion:
    rows, columns = (_middle(side) for side in pairs.shape[2:])
    numbers = as_numbers(pairs[..., rows, columns])
    bad = numbers.missing | defective_pixels(numbers.frames)
    if bad.all():
        return Motion(0.0, 0.0)
    frames = Registered([mended(one, bad) for one in numbers.frames.reshape(-1, *bad.shape)])
    steps = [frames.apart(first, first + 1) for first in range(0, len(frames.places), 2)]
    # The farthest first: the first that is clear is the farthest that is.
    others = (apart for ends in _far_apart(frames.places) if (apart := frames.apart(*ends)))
    return Motion(max(steps), next(others, 0.0))


def _middle(side: int) -> slice:
    start = max(0, (side - SIDE) // 2)
    return slice(start, start + min(side, SIDE))


def _far_apart(places: Float) -> list[tuple[int, int]]:
    """Every two frames that may lie more than `MUCH` apart, the farthest first."""
    apart = np.triu(np.hypot(*(places[:, None] - places).transpose(2, 0, 1)))
    order = np.argsort(-apart, axis=None, kind="stable")[: np.count_nonzero(apart > MUCH)]
    return [(int(i) // len(places), int(i) % len(places)) for i in order]


class Registered:
    """Frames of one field, each registered to the mean of the others.

    Parameters
    ----------
    frames
        Each of one shape (y, x), those of a pair one after the other.
    """

    def __init__(self, frames: Sequence[Float32]) -> None:
        self._shape = (frames[0].shape[0], frames[0].shape[1])
        self._reach = [min(FARTHEST, side // 4) for side in self._shape]
        self._spectra = np.stack([fft.rfft2(faded(one)) for one in frames])
        self._band = band(self._shape)
        self.places: Float = np.zeros((len(frames), 2))  #: rows and columns of each, displaced
        self._matches: list[Float32] = [np.empty(0, np.float32)] * len(frames)
        self._total = self._spectra.sum(axis=0)
        for _ in range(ROUNDS):
            for number in range(len(frames)):
                self._place(number)
        self._spread = self._noise_of_matches()

    def apart(self, first: int, second: int) -> float:
        """Pixels between the places of two frames; 0 where those are not clearly two."""
        one, other = self.places[first], self.places[second]
        clear = all(
            self._match(frame, own) - self._match(frame, not_own)
            > CLEARLY * self._deviation(own - not_own)
            for frame, own, not_own in ((first, one, other), (second, other, one))
        )
        return float(np.hypot(*(one - other))) if clear else 0.0

    def _place(self, number: int) -> None:
        """Register a frame to the others, where those lie by now."""
        spectrum = self._spectra[number]
        others = self._total - spectrum * self._phase(-self.places[number])
        match = self._near(others.conj() * spectrum * self._band / (len(self._spectra) - 1))
        self._matches[number] = match
        self.places[number] = _summit(match) - self._reach
        self._total = others + spectrum * self._phase(-self.places[number])

    def _phase(self, shift: Float) -> Spectrum:
        """What moves content by a shift, at each frequency."""
        down = np.exp(-2j * np.pi * shift[0] * fft.fftfreq(self._shape[0]))
        across = np.exp(-2j * np.pi * shift[1] * fft.rfftfreq(self._shape[1]))
        return np.asarray(np.outer(down, across), np.complex64)

    def _near(self, spectrum: Spectrum) -> Float32:
        """A cross-correlation at shifts within reach, the one by none in the middle."""
        whole = fft.irfft2(spectrum, self._shape)
        y, x = (np.arange(-reach, reach + 1) for reach in self._reach)
        return np.asarray(whole[np.ix_(y, x)])

    def _noise_of_matches(self) -> Float32:
        """Autocovariance of what noise adds to a match at shifts within reach.

        The noise of a frame and of the mean of the others, from how they differ, so that what
        comes and goes counts as noise too.
        """
        count = len(self._spectra)
        mean = self._total / count
        power = np.zeros(mean.shape)
        for spectrum, place in zip(self._spectra, self.places, strict=True):
            power += np.abs(spectrum * self._phase(-place) - mean) ** 2 / (count - 1)
        weight = np.abs(mean * self._band) ** 2 * power * count / (count - 1)
        return self._near(weight) / np.float32(self._shape[0] * self._shape[1])

    def _deviation(self, shift: Float) -> float:
        """Of the difference of two matches that are a shift apart."""
        middle = np.array(self._reach, float)
        covariance = _at(self._spread, middle + np.clip(shift, -middle, middle))
        return float(np.sqrt(max(2 * (_at(self._spread, middle) - covariance), 0.0)))

    def _match(self, number: int, place: Float) -> float:
        return _at(self._matches[number], place + self._reach)


def _at(field: Float32, place: Float) -> float:
    """Between its pixels, by cubic splines."""
    return float(ndimage.map_coordinates(field, place[:, None], order=3, mode="nearest")[0])


def _summit(field: Float32) -> Float:
    """Row and column of the maximum, to a part of a pixel by parabolas through three values."""
    top = np.array(np.unravel_index(field.argmax(), field.shape), dtype=float)
    for axis in (0, 1):
        line = np.moveaxis(field, axis, 0)[:, int(top[1 - axis])]
        middle = int(top[axis])
        if 0 < middle < len(line) - 1:
            before, here, after = (float(line[middle + step]) for step in (-1, 0, 1))
            bend = before - 2 * here + after
            top[axis] += 0.5 * (before - after) / bend if bend < 0 else 0.0
    return top
