"""`NoiseModel`: what is known of the noise of a recording, in grey levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["frame differences", "spatial residuals"]
Kernel = tuple[tuple[float, ...], ...]

REACH = 3  #: largest lag at which the correlation is measured, pixels


class LevelPoint(NamedTuple):
    """What was measured around one grey level."""

    level: float  #: mean, grey levels
    variance: float  #: of one frame's noise, grey levels squared
    error: float  #: standard error of `variance`


@dataclass(frozen=True)
class NoiseModel:
    """Noise whose variance is linear in the level: ``gain * level + intercept``.

    The gain is the variance per grey level: the grey levels of one photon where every photon
    gives the same pulse, more where pulses differ. The intercept is the variance of the line at
    grey level 0; it is below 0 where darkness lies at a higher level (an offset).
    """

    gain: float  #: variance per grey level, 0 where the variance does not follow the level
    intercept: float  #: variance of the line at grey level 0, grey levels squared
    floor: float  #: least variance of any level, above 0, grey levels squared
    #: autocorrelation of the noise: entry [dy][REACH + dx] is that of pixels dy rows (0 to REACH)
    #: and dx columns (-REACH to REACH) apart; 1 at [0][REACH]
    autocorrelation: Kernel
    gain_error: float  #: standard error of `gain`
    intercept_error: float  #: standard error of `intercept`
    correlation_error: float  #: standard error of the lag-1 correlations
    level_range: tuple[float, float]  #: grey levels the line was measured on
    mean_level: float  #: mean of the pixels looked at, grey levels
    method: Method  #: what it was measured from
    frames: int  #: frames looked at
    pixels: int  #: pixels that the line rests on, counted in every frame
    points: tuple[LevelPoint, ...] = ()  #: variance around some levels, ascending
    offset: float | None = None  #: grey level of darkness, where there is evidence
    read_noise: float | None = None  #: standard deviation of darkness, where there is evidence
    saturation: float | None = None  #: grey level at which pixels are clipped, where they are
    evidence: str | None = None  #: where `offset` and `read_noise` are known from
    notes: tuple[str, ...] = ()  #: what limits the measurement, to be said aloud

    def variance(self, level: ArrayLike) -> NDArray[np.float64]:
        """Variance of the noise at grey levels, of the shape of `level`, above 0."""
        line = self.gain * np.asarray(level, dtype=float) + self.intercept
        return np.asarray(np.maximum(line, self.floor))

    @property
    def whole_autocorrelation(self) -> NDArray[np.float64]:
        """Both halves of the autocorrelation: pixels -REACH to REACH rows and columns apart."""
        half = np.array(self.autocorrelation)
        return np.concatenate([half[:0:-1, ::-1], half])

    @property
    def correlation_rows(self) -> tuple[float, ...]:
        """Correlation of pixels 1, 2, ... apart in one row (along x)."""
        return self.autocorrelation[0][REACH + 1 :]

    @property
    def correlation_columns(self) -> tuple[float, ...]:
        """Correlation of pixels 1, 2, ... apart in one column (along y)."""
        return tuple(row[REACH] for row in self.autocorrelation[1:])

    @property
    def photons(self) -> float | None:
        """Photons at the mean level if the noise were that of photons alone; None at gain 0.

        With read noise there are fewer: where the offset is known it is
        ``(mean_level - offset) / gain``.
        """
        if self.gain <= 0:
            return None
        if self.offset is not None:
            return max(self.mean_level - self.offset, 0.0) / self.gain
        return float(self.variance(self.mean_level)) / self.gain**2

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return {**asdict(self), "points": [point._asdict() for point in self.points]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> NoiseModel:
        """From its fields as JSON holds them.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they are not those of a noise model.
        """
        if told["method"] not in get_args(Method):
            raise ValueError(f"noise model: method {told['method']!r} is not known")
        low, high = told["level_range"]
        tuples = {
            "autocorrelation": tuple(tuple(map(float, row)) for row in told["autocorrelation"]),
            "level_range": (float(low), float(high)),
            "points": tuple(LevelPoint(**point) for point in told["points"]),
            "notes": tuple(told["notes"]),
        }
        return cls(**{**told, **tuples})
