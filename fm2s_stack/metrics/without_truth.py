"""All measures that need no truth, from a sample of a raw recording and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, Mask
from fm2s_stack.metrics.residual import (
    BIN,
    Dynamic,
    HalfSums,
    MixingSums,
    Static,
    Whiteness,
    WhitenessSums,
    dynamic,
    quiet_squares,
    squares,
)
from fm2s_stack.metrics.rings import rings_of
from fm2s_stack.metrics.sample import LEAST_FRAMES, Block, Recording, Sample, choose_sample

Advance = Callable[[int], None]


@dataclass(frozen=True)
class FlatNoise:
    """Temporal noise where nothing happens."""

    raw: float  #: standard deviation over time within runs of 16 frames, grey levels
    result: float  #: the same of the result

    @property
    def reduction(self) -> float:
        """By how much the noise was lowered, decibels."""
        if self.result <= 0:
            return float("inf")
        return 20 * float(np.log10(self.raw / self.result)) if self.raw > 0 else 0.0


@dataclass(frozen=True)
class Resolution:
    """Finest detail that is shared, by Fourier ring correlation at 1/7; pixels.

    2 is the finest that pixels can show. None: no detail is.
    """

    frame_raw: float | None  #: by raw frames far apart in time
    frame_result: float | None  #: by frames of the result far apart in time
    mean_raw: float | None  #: by the means of the sample's halves, raw
    mean_result: float | None  #: by those of the result


@dataclass(frozen=True)
class WithoutTruth:
    """What a result is like, judged by itself and its raw recording.

    What needs changes over time is None for recordings of less than 24 frames.
    """

    removed: float  #: root mean square of raw minus result, grey levels
    shift: float  #: mean of the result minus that of raw, grey levels
    level: float  #: mean of raw, grey levels
    whiteness: Whiteness  #: of the residual, with that of the noise
    noise: FlatNoise | None  #: in flat regions
    static: Static | None  #: structure in the residual that stays
    dynamic: Dynamic | None  #: structure in the residual that comes and goes
    resolution: Resolution | None  #: of frames and of means


def without_truth(
    raw: Recording, result: Recording, advance: Advance | None = None
) -> WithoutTruth:
    """Measure a result without a truth.

    Parameters
    ----------
    raw, result
        Recordings of one shape (t, y, x), in the same grey levels: numpy, zarr or Dask
        arrays. Up to 128 frames of each are read, 16 at a time, and the middle 512x512
        pixels of them used.
    advance
        Called with the number of frames done, after each run.

    Returns
    -------
    WithoutTruth

    Raises
    ------
    UsageError
        If shapes differ, or there are not three axes.
    """
    if tuple(raw.shape) != tuple(result.shape):
        raise UsageError(f"raw of shape {raw.shape}, result of {result.shape}: expected one shape")
    sample = choose_sample(tuple(raw.shape))
    return _Pass(sample, raw, result, advance).measures()


class _Pass:
    """One reading of the sample."""

    def __init__(
        self, sample: Sample, raw: Recording, result: Recording, advance: Advance | None
    ) -> None:
        shape = (sample.rows.stop - sample.rows.start, sample.columns.stop - sample.columns.start)
        self.whiteness, self.halves, self.mixing = WhitenessSums(), HalfSums(shape), MixingSums()
        self.raws: list[Block] = []
        self.residuals: list[Block] = []
        self.firsts: list[tuple[Block, Block]] = []
        self.variances = np.zeros((2, *shape))
        self.removed = self.shift = self.level = 0.0
        for number, run in enumerate(sample.runs):
            self._add(sample.read(raw, run), sample.read(result, run), number % 2)
            if advance is not None:
                advance(len(run))
        self.runs, self.frames = len(sample.runs), raw.shape[0]

    def _add(self, raw: Block, result: Block, half: int) -> None:
        self.whiteness.add(raw, result)
        self.halves.add(raw, result, half)
        self.mixing.add(raw, result)
        self.raws.append(squares(raw))
        self.residuals.append(squares(raw - result))
        self.firsts.append((raw[0], result[0]))
        if len(raw) > 1:
            self.variances += [block.var(axis=0, ddof=1) for block in (raw, result)]
        self.removed += float(np.mean((raw - result) ** 2))
        self.shift += float(np.mean(result - raw))
        self.level += float(np.mean(raw))

    def measures(self) -> WithoutTruth:
        enough = self.frames >= LEAST_FRAMES and self.raws[0].size > 0
        return WithoutTruth(
            removed=float(np.sqrt(self.removed / self.runs)),
            shift=self.shift / self.runs,
            level=self.level / self.runs,
            whiteness=self.whiteness.whiteness(),
            noise=self._noise() if enough and min(self.raws[0].shape) > 1 else None,
            static=self.halves.static() if enough else None,
            dynamic=self._dynamic() if enough else None,
            resolution=self._resolution() if enough and min(self.firsts[0][0].shape) >= 8 else None,
        )

    def _noise(self) -> FlatNoise:
        quiet: Mask = np.kron(quiet_squares(self.raws), np.ones((BIN, BIN), dtype=bool))
        inside = self.variances[:, : quiet.shape[0], : quiet.shape[1]][:, quiet]
        raw, result = np.sqrt(inside.mean(axis=1) / self.runs)
        return FlatNoise(float(raw), float(result))

    def _dynamic(self) -> Dynamic:
        raws, residuals = (
            [run.reshape(len(run), -1).astype(np.float64) for run in runs]
            for runs in (self.raws, self.residuals)
        )
        return dynamic(raws, residuals, self.mixing.mixing())

    def _resolution(self) -> Resolution:
        frames = [self._frames(which) for which in (0, 1)]
        means = [_finest([self._pair(which)]) for which in ("raw", "result")]
        return Resolution(*frames, *means)

    def _frames(self, which: int) -> float | None:
        planes = [first[which] for first in self.firsts]
        return _finest([*pairwise(planes)])

    def _pair(self, which: str) -> tuple[Float, Float]:
        first, second = self.halves.means(which)
        return first, second


def _finest(pairs: list[tuple[Float, Float]] | list[tuple[Block, Block]]) -> float | None:
    return rings_of(pairs).resolution
