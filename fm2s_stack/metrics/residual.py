"""What was removed, raw minus result: does it look like noise, or is signal in it?

Nothing here needs the truth. Where the noise of the result and of what it is compared with
would be the same noise, other frames are used instead: the halves of a sample, or the raw
movie some frames later, whose noise is another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm2s_stack.metrics.pairs import Float, Mask
from fm2s_stack.metrics.sample import Block

BIN = 4  #: pixels, the side of the squares in which changes over time are looked at
LAGS = (3, 4, 5, 6)  #: frames; beyond the reach of most filters in time, within a transient
FAR = 8  #: frames to one whose noise and signal are another's
SURE = 2.0  #: standard errors by which something must rise from nothing to be there


@dataclass(frozen=True)
class Whiteness:
    """Correlation of the residual with itself, one step away; 0 in white noise."""

    y: float  #: one row away
    x: float  #: one column away
    t: float | None  #: one frame away; the noise's own is 0
    noise_y: float | None  #: that of the raw movie's own noise, a row away
    noise_x: float | None  #: a column away

    @property
    def excess(self) -> float:
        """By how much it exceeds the noise's own, at most: what is alike nearby is structure.

        Below 0 the residual alternates, as it does where a filter averages neighbours.
        """
        return max(self.y - (self.noise_y or 0.0), self.x - (self.noise_x or 0.0), self.t or -1.0)


class WhitenessSums:
    """Gathers a `Whiteness`, a run of frames at a time."""

    def __init__(self) -> None:
        self._residual, self._noise = np.zeros(4), np.zeros(4)
        self._frames = 0

    def add(self, raw: Block, result: Block) -> None:
        """The next run, shape (t, y, x)."""
        residual = raw - result
        self._residual += _products(residual - residual.mean())
        # Successive frames share their signal: what is left in the difference is noise.
        noise = np.diff(raw, axis=0)
        self._noise += _products(noise)
        self._frames = max(self._frames, len(raw))

    def whiteness(self) -> Whiteness:
        """Of the runs so far; all 0 where nothing was removed."""
        y, x, t = _parts(self._residual)
        if self._frames < 2:
            return Whiteness(y, x, None, None, None)
        noise_y, noise_x, _ = _parts(self._noise)
        return Whiteness(y, x, t, noise_y, noise_x)


def _products(block: Block) -> Float:
    """Mean square of a block, and its mean products with itself a row, column, frame on.

    Each times its number of frames, so that runs add up.
    """
    shifted = ((block, block), (block[:, 1:], block[:, :-1]), (block[:, :, 1:], block[:, :, :-1]),
               (block[1:], block[:-1]))  # fmt: skip
    return len(block) * np.array([float(np.mean(a * b)) if a.size else 0.0 for a, b in shifted])


def _parts(sums: Float) -> list[float]:
    return (sums[1:] / sums[0]).tolist() if sums[0] > 0 else [0.0, 0.0, 0.0]


@dataclass(frozen=True)
class Static:
    """What does not change over time, from the means of the sample's two halves."""

    chi_square: float  #: of the residual's temporal mean against its error; 1: noise alone
    lost: float | None  #: size of the structure in the residual, part of the raw movie's
    floor: float | None  #: what of `lost` noise alone could pretend (two standard errors)
    contrast: float | None  #: part of the raw structure's contrast that was removed, signed


class HalfSums:
    """Gathers temporal means of raw and result in the two halves of a sample."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._raw, self._result, self._square = (np.zeros((2, *shape)) for _ in range(3))
        self._frames = np.zeros(2, dtype=int)

    def add(self, raw: Block, result: Block, half: int) -> None:
        """The next run, shape (t, y, x), of half 0 or 1."""
        self._raw[half] += raw.sum(axis=0, dtype=np.float64)
        self._result[half] += result.sum(axis=0, dtype=np.float64)
        self._square[half] += np.square(raw - result, dtype=np.float64).sum(axis=0)
        self._frames[half] += len(raw)

    def means(self, which: str) -> Float:
        """Mean of ``raw`` or ``result`` in each half, shape (2, y, x)."""
        sums = self._raw if which == "raw" else self._result
        means: Float = sums / self._frames[:, None, None]
        return means

    def static(self) -> Static:
        """What of the structure is in the residual; the noise of the halves is independent."""
        raw = self.means("raw")
        residual = raw - self.means("result")
        power, lost = _shared(*raw), max(_shared(*residual), 0.0)
        if not power > SURE * _chance(*raw):  # a blank field has nothing to lose
            return Static(self._chi_square(), None, None, None)
        floor = np.sqrt(SURE * _chance(*residual) / power)
        both = (_shared(residual[0], raw[1]) + _shared(residual[1], raw[0])) / 2
        return Static(self._chi_square(), float(np.sqrt(lost / power)), float(floor), both / power)

    def _chi_square(self) -> float:
        count = int(self._frames.sum())
        mean = (self._raw - self._result).sum(axis=0) / count
        variance = (self._square.sum(axis=0) / count - mean**2) * count / max(count - 1, 1)
        live = variance > 1e-9 * np.maximum(mean**2, 1e-30)
        off = (mean - mean.mean())[live] ** 2
        return float(np.mean(off / (variance[live] / count))) if live.any() else 0.0


def _shared(a: Float, b: Float) -> float:
    """Covariance over pixels."""
    return float(np.mean((a - a.mean()) * (b - b.mean())))


def _chance(a: Float, b: Float) -> float:
    """Standard error of the covariance of two planes that share nothing."""
    return float(a.std() * b.std() / np.sqrt(a.size))


@dataclass(frozen=True)
class Dynamic:
    """What changes over time, in squares of 4x4 pixels."""

    lost: float | None  #: part of the changes that is in the residual; None: none are sure
    error: float | None  #: standard error of `lost`
    mixing: float  #: of a neighbouring frame's noise, the part that is in a frame


def dynamic(raws: Sequence[Float], residuals: Sequence[Float], mixing: float) -> Dynamic:
    """Signal that comes and goes, lost to the residual.

    The residual some frames after is compared with the raw movie now: their noise is
    independent, so that what correlates is signal; ``sum r[t + k] * raw[t]`` over
    ``sum raw[t + k] * raw[t]`` is the part of it that was removed.

    Parameters
    ----------
    raws, residuals
        Runs, shape (t, squares), the mean of each square in each frame.
    mixing
        As `MixingSums` gives it; it is handed on.
    """
    middle = np.mean(np.concatenate(raws), axis=0)
    offset = np.mean(np.concatenate(residuals), axis=0)
    products = np.array([
        (_lagged(raw - middle, residual - offset), _lagged(raw - middle, raw - middle))
        for raw, residual in zip(raws, residuals, strict=True)
    ])  # fmt: skip
    lost, power = products.T
    total = float(power.sum())
    if not total > SURE * float(np.std(power) * np.sqrt(len(power))):
        return Dynamic(None, None, mixing)
    value = float(lost.sum()) / total
    error = float(np.sqrt(np.sum((lost - value * power) ** 2))) / total
    return Dynamic(value, error, mixing)


def _lagged(now: Float, later: Float) -> float:
    return float(sum(np.mean(now[:-lag] * later[lag:]) for lag in LAGS if lag < len(now)))


class MixingSums:
    """How much of a neighbouring frame's noise is in a frame: filters in time put it there.

    The residual of a frame holds minus that part of the noise of the frame before it. A
    frame farther back, whose noise is another, takes the signal out.
    """

    def __init__(self) -> None:
        self._product = self._noise = 0.0

    def add(self, raw: Block, result: Block) -> None:
        """The next run, shape (t, y, x)."""
        later = raw[FAR + 1 :] - result[FAR + 1 :]
        if len(later):
            self._product += float(np.mean(later * (raw[FAR:-1] - raw[: -FAR - 1])))
            self._noise += float(np.mean(np.diff(raw, axis=0) ** 2)) / 2

    def mixing(self) -> float:
        """A part, 0 to 1, of the runs so far."""
        return -self._product / self._noise if self._noise > 0 else 0.0


def squares(block: Block) -> Block:
    """Mean of each square of 4x4 pixels in each frame, shape (t, rows, columns)."""
    frames, rows, columns = block.shape[0], block.shape[1] // BIN, block.shape[2] // BIN
    cut = block[:, : rows * BIN, : columns * BIN]
    means: Block = cut.reshape(frames, rows, BIN, columns, BIN).mean(axis=(2, 4))
    return means


def quiet_squares(runs: Sequence[Block]) -> Mask:
    """The squares that neither change over time nor lie at an edge, about a quarter.

    Chosen by what successive frames share and by the slope of the mean, not by the variance
    over time, which is what is then measured in them.

    Parameters
    ----------
    runs
        Of the raw movie's squares, shape (t, rows, columns).
    """
    together = np.concatenate(runs)
    middle = together.mean(axis=0)
    activity = np.abs(sum(((r[1:] - middle) * (r[:-1] - middle)).mean(axis=0) for r in runs))
    slope = np.hypot(*np.gradient(middle))
    quiet: Mask = (activity <= np.median(activity)) & (slope <= np.median(slope))
    return quiet
