"""The figures of one method on one recording, and how well the noise was measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from quality_filters import Output
from quality_recordings import Frames, Recording

from fm2s_stack import measure_noise, open_stack
from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.metrics import AgainstTruth, CellMeasures, TruthPass, intensity_edges, sampled


@dataclass(frozen=True)
class Figures:
    """What a method reaches on a recording; None where the recording cannot tell."""

    si_psnr: float | None = None  #: of the movie under one affine match, dB
    planes: float | None = None  #: mean SI-PSNR of planes, each matched by itself, dB
    pixels: float | None = None  #: correlation of single-pixel traces with the truth
    regions: float | None = None  #: of region traces
    amplitude: float | None = None  #: of events, a part of the true one
    amplitude_error: float | None = None  #: standard error of that
    leakage: float | None = None  #: before onsets, a part of the peak
    leakage_error: float | None = None  #: standard error of that
    change: float | None = None  #: of the correlation of pairs of regions, mean
    change_size: float | None = None  #: the same, mean of the sizes
    bias: float | None = None  #: mean bias, a part of the light
    range_bias: float | None = None  #: the largest in a range of intensity, with its sign
    flicker: float | None = None  #: of frame means, grey levels
    first: float | None = None  #: first frame over the others, gain over raw, dB
    last: float | None = None  #: last frame over the others
    fit_seconds: float | None = None  #: of our program: the fit
    total_seconds: float | None = None  #: disk to disk
    planes_per_second: float | None = None  #: disk to disk without the fit
    note: str = ""  #: what it was made with
    missing: str = ""  #: why there are no figures

    @classmethod
    def from_json(cls, told: dict[str, float | str | None]) -> Figures:
        """From its fields as JSON holds them; unknown ones are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in told.items() if key in known})  # type: ignore[arg-type]

    def finite(self) -> Figures:
        """With None in place of what is not a number: JSON has no other."""
        told = asdict(self)
        bad = [k for k, v in told.items() if isinstance(v, float) and not math.isfinite(v)]
        return Figures(**{**told, **dict.fromkeys(bad)})


def figures(recording: Recording, output: Output) -> Figures:
    """Measure what a method made of a recording."""
    frames, timing = recording.frames, output.timing
    found = against(frames, output)
    measured = Figures(
        si_psnr=found.si_psnr,
        planes=found.frames_si_psnr,
        pixels=found.pixel_correlation,
        bias=_bias(found, frames),
        range_bias=_range_bias(found, frames),
        flicker=found.flicker,
        first=None if found.ends is None else found.ends.first,
        last=None if found.ends is None else found.ends.last,
        note=output.note,
    )
    if timing is not None:
        measured = replace(
            measured,
            fit_seconds=timing.fit_seconds,
            total_seconds=timing.total_seconds,
            planes_per_second=timing.planes_per_second,
        )
    return _with_cells(measured, found.cells).finite()


def against(frames: Frames, output: Output) -> AgainstTruth:
    """All measures of a result against its truth."""
    edges = intensity_edges(sampled(frames.truth))
    gathered = TruthPass(edges, frames.labels, over_time=frames.kind == "movie")
    for result, truth, raw in zip(output.movie, frames.truth, frames.noisy, strict=True):
        gathered.add(result, truth, raw)
    return gathered.measures(frames.events)


def _with_cells(measured: Figures, cells: CellMeasures | None) -> Figures:
    if cells is None:
        return measured
    peak, leak, change = cells.peak, cells.leakage, cells.change
    return replace(
        measured,
        regions=cells.correlation,
        amplitude=None if peak is None else peak.value,
        amplitude_error=None if peak is None else peak.error,
        leakage=None if leak is None else leak.mean.value,
        leakage_error=None if leak is None else leak.mean.error,
        change=None if change is None else change.mean,
        change_size=None if change is None else change.size,
    )


def _bias(found: AgainstTruth, frames: Frames) -> float | None:
    # The truth of an image pair is another capture, stretched to 8 bits by itself.
    if found.bias is None or frames.kind == "image":
        return None
    return found.bias.overall(frames.dark or 0)


def _range_bias(found: AgainstTruth, frames: Frames) -> float | None:
    if found.bias is None or frames.kind == "image":
        return None
    each = found.bias.relative(frames.dark or 0)
    known = each[np.isfinite(each)]
    return float(known[np.abs(known).argmax()]) if known.size else None


@dataclass(frozen=True)
class NoiseCheck:
    """The measured noise of a simulated recording beside the true one."""

    gain: float  #: variance per grey level
    true_gain: float  #: the same, as simulated
    intercept: float  #: variance at grey level 0, grey levels squared
    true_intercept: float  #: the same, as simulated
    allowed: float  #: by which the intercept may be off: 20 % of it, or 2 % of the variance
    correlation: float  #: of neighbours in a row
    true_correlation: float  #: the same, as simulated
    columns: float  #: correlation of neighbours in a column; simulated is 0

    @property
    def gain_off(self) -> float:
        """Error of the gain, a part of it."""
        return abs(self.gain / self.true_gain - 1)

    @property
    def intercept_off(self) -> float:
        """Error of the intercept, a part of what is allowed."""
        return abs(self.intercept - self.true_intercept) / self.allowed

    @property
    def correlation_off(self) -> float:
        """The larger error of the two correlations."""
        return max(abs(self.correlation - self.true_correlation), abs(self.columns))


def check_noise(recording: Recording) -> NoiseCheck | None:
    """Measure the noise of a simulated recording; None of others.

    Raises
    ------
    NoiseUnknown
        If its pixels do not tell it.
    """
    made = recording.simulation
    if made is None:
        return None
    model = measure_noise(open_stack(recording.noisy), 0)
    truth = recording.frames.truth
    # Rounding to whole grey levels adds 1/12.
    intercept = made.read_noise**2 + 1 / 12 - made.gain * made.dark_level
    half = made.gain * float(truth.min() + truth.max()) / 2 + intercept
    return NoiseCheck(
        gain=model.gain,
        true_gain=made.gain,
        intercept=model.intercept,
        true_intercept=intercept,
        allowed=max(0.2 * abs(intercept), 0.02 * half),
        correlation=model.correlation_rows[0],
        true_correlation=made.correlation,
        columns=model.correlation_columns[0],
    )


def noise_or_reason(recording: Recording) -> tuple[NoiseCheck | None, str]:
    """The check, or why there is none."""
    try:
        return check_noise(recording), ""
    except NoiseUnknown as error:
        return None, str(error)
