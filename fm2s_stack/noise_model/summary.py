"""From what tiles say to a `NoiseModel`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model.chosen import (
    Clean,
    Fit,
    Looked,
    clean_of,
    fit_usable,
    quiet_planes,
    within_range,
)
from fm2s_stack.noise_model.correlation import WHITE, Correlation
from fm2s_stack.noise_model.dark import find_darkness
from fm2s_stack.noise_model.model import LevelPoint, NoiseModel
from fm2s_stack.noise_model.tiles import SIDE

POINTS = 16  #: of the mean-variance plot
NOTHING = 1e-8  #: variance, as a part of that of the levels, that is none
WORST = 10.0  #: by which errors grow at most where points miss the line

#: how planes tell the correlation, from the usable tiles and those of pure noise
Correlate = Callable[[NDArray[np.bool_], Clean], Correlation]


def summarize(looked: Looked, correlate: Correlate, offset: float | None) -> NoiseModel:
    """The model that the tiles add up to, in grey levels.

    Parameters
    ----------
    looked
        What the tiles say.
    correlate
        How the correlation follows from the tiles of pure noise.
    offset
        Grey level of darkness, where metadata tells it.

    Raises
    ------
    NoiseUnknown
        If no tile tells anything.
    """
    if not looked.used.any():
        raise NoiseUnknown(
            "noise: everything is constant, clipped or defective; there is none to measure"
        )
    usable, notes = within_range(looked, looked.used)
    usable = quiet_planes(looked, usable)
    fit = fit_usable(looked, usable)
    clean = clean_of(usable, fit)
    correlation = correlate(usable, clean) if len(clean.tile) else WHITE
    model = _model(looked, fit, correlation)
    model = replace(model, notes=(*looked.notes, *notes, *fit.notes))
    if offset is not None:
        return with_offset(model, offset)
    return _with_darkness(model, looked, usable, fit, correlation)


def with_offset(model: NoiseModel, offset: float) -> NoiseModel:
    """The model with the offset that metadata tells, and the read noise that the line then has.

    The read noise stays unknown where the line does not lie clearly above 0 there.
    """
    variance = model.gain * offset + model.intercept
    uncertain = np.hypot(model.gain_error * (offset - model.mean_level), 0.02 * abs(variance))
    read_noise = float(np.sqrt(variance)) if variance > 2 * uncertain else None
    return replace(model, offset=offset, read_noise=read_noise, evidence="metadata")


def _with_darkness(
    model: NoiseModel,
    looked: Looked,
    usable: NDArray[np.bool_],
    fit: Fit,
    correlation: Correlation,
) -> NoiseModel:
    found = find_darkness(
        looked.level,
        looked.variance * correlation.inflation,
        usable,
        looked.frames.reshape(-1, *looked.frames.shape[-2:]),
        fit.line.slope * correlation.inflation,
        float(model.whole_autocorrelation.sum()),
    )
    if found is None:
        return model
    return replace(
        model,
        offset=looked.units.level(found.offset),
        read_noise=looked.units.unit * found.read_noise,
        evidence="a part of the field that is dark",
    )


def _model(looked: Looked, fit: Fit, correlation: Correlation) -> NoiseModel:
    units, line, tiles = looked.units, fit.line, fit.tiles
    scale = correlation.inflation * units.unit**2
    gain = line.slope * scale / units.unit
    intercept = line.height * scale - gain * units.origin
    kept = line.kept if line.kept.any() else np.ones_like(line.kept)
    low, high = (units.level(float(x)) for x in np.percentile(tiles.level[kept], (1, 99)))
    at_mean = gain * units.level(float(tiles.level.mean())) + intercept
    if at_mean < NOTHING * units.unit**2:
        raise NoiseUnknown("noise: there is none; these frames were computed or smoothed")
    points = _points(looked, fit, scale)
    scatter = _misfit(points, gain, intercept) * scale
    systematic = looked.systematic * max(abs(intercept), at_mean)
    return NoiseModel(
        gain=gain,
        intercept=intercept,
        floor=max(0.5 * (gain * low + intercept), 1e-3 * abs(at_mean)),
        autocorrelation=correlation.kernel,
        gain_error=float(
            np.hypot(fit.slope_error * scatter / units.unit, looked.systematic * gain)
        ),
        intercept_error=float(np.hypot(fit.zero_error * scatter, systematic)),
        correlation_error=correlation.error,
        level_range=(low, high),
        mean_level=units.level(float(looked.level[looked.used].mean())),
        method=looked.method,
        frames=looked.frames.shape[0] * looked.frames.shape[1],
        pixels=int(kept.sum()) * SIDE**2 * looked.frames.shape[1],
        points=points,
        saturation=None if looked.limits.high is None else units.level(looked.limits.high),
    )


def _points(looked: Looked, fit: Fit, scale: float) -> tuple[LevelPoint, ...]:
    tiles, kept = fit.tiles, np.flatnonzero(fit.line.kept)
    if not len(kept):
        return ()
    order = kept[np.argsort(tiles.guide[kept], kind="stable")]
    edges = np.linspace(tiles.guide[order[0]], tiles.guide[order[-1]], POINTS + 1)[1:-1]
    points = []
    for group in np.split(order, np.searchsorted(tiles.guide[order], edges)):
        if len(group) >= 3:
            variance = tiles.variance[group] * scale / (1 + fit.line.bias)
            error = float(variance.std() / np.sqrt(len(group)))
            level = looked.units.level(float(tiles.level[group].mean()))
            points.append(LevelPoint(level, float(variance.mean()), error))
    return tuple(sorted(points))


def _misfit(points: tuple[LevelPoint, ...], gain: float, intercept: float) -> float:
    """By how much points miss a line beyond their errors (Birge ratio), from 1 to WORST."""
    if len(points) <= 2:
        return 1.0
    level, variance, error = np.array(points).T
    missed = (variance - gain * level - intercept) / np.maximum(error, 1e-9 * variance.max())
    return min(max(1.0, float(np.sqrt((missed**2).sum() / (len(points) - 2)))), WORST)
