"""From what tiles say to a `NoiseModel`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model import line as lines
from fm2s_stack.noise_model.correlation import WHITE, Correlation, correlate
from fm2s_stack.noise_model.defects import Limits
from fm2s_stack.noise_model.line import Line, Tiles
from fm2s_stack.noise_model.model import LevelPoint, Method, NoiseModel
from fm2s_stack.noise_model.tiles import SIDE

Float = NDArray[np.float64]

FEWEST = 24  #: tiles that a line needs
GROUPS = 24  #: of levels, where clipping is looked for
POINTS = 16  #: of the mean-variance plot
CLIPPED = 0.005  #: part of pixels at the lowest level from which on a level counts as clipped
BLOCKS = 8  #: clusters a side of the field
EPOCHS = 16  #: clusters along time
SYSTEMATIC = 0.02  #: of the variances, beside what scatters


@dataclass(frozen=True)
class Looked:
    """What the tiles of all planes say; arrays of shape (planes, tiles) but for the last ones."""

    level: Float  #: mean level above `origin`
    guide: Float  #: the same from other pixels; NaN where there are none
    sums: NDArray[np.float32]  #: products of residuals at each lag, (lags, planes, tiles)
    count: NDArray[np.float32]  #: pixels used
    used: NDArray[np.bool_]  #: whether it tells something
    low: NDArray[np.float32]  #: values at the lowest level
    high: NDArray[np.float32]  #: values at the highest level
    grid: tuple[int, int]  #: tiles down and across
    basis: NDArray[np.float32]  #: changes taken out of some tiles
    freedom: int  #: degrees of freedom taken out of each
    origin: float  #: grey level that levels count from
    limits: Limits  #: lowest and highest level, where they may clip
    method: Method  #: what the residuals are of
    frames: int  #: frames looked at
    planes: NDArray = field(repr=False)  #: the frames
    notes: tuple[str, ...] = ()  #: said already


def summarize(looked: Looked, offset: float | None) -> NoiseModel:
    """The model that the tiles add up to.

    Raises
    ------
    NoiseUnknown
        If too few tiles tell anything.
    """
    usable = looked.used & np.isfinite(looked.guide) & (looked.high == 0)
    if usable.sum() < 1:
        raise NoiseUnknown("noise: no pixels vary without being clipped; there is none to measure")
    usable, notes = _within_range(looked, usable)
    tiles, which = _tiles(looked, usable), np.nonzero(usable)
    line, errors, more = _line(tiles, looked)
    correlation = _correlation(looked, which, tiles, line)
    model = _model(looked, tiles, line, errors, correlation, (*looked.notes, *notes, *more))
    return model if offset is None else with_offset(model, offset, "metadata")


def _tiles(looked: Looked, usable: NDArray[np.bool_]) -> Tiles:
    variance = looked.sums[0] / np.maximum(looked.count - looked.freedom, 1)
    return Tiles(
        looked.level[usable],
        variance[usable].astype(float),
        looked.guide[usable],
        _clusters(looked)[usable],
    )


def _clusters(looked: Looked) -> NDArray[np.intp]:
    planes = len(looked.level)
    epochs = min(planes, EPOCHS)
    down, across = (np.arange(n) * min(n, BLOCKS) // n for n in looked.grid)
    place = (down[:, None] * BLOCKS + across).ravel()
    when = np.arange(planes) * epochs // planes
    return np.asarray(when[:, None] * BLOCKS**2 + place)


def _within_range(
    looked: Looked, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Without the levels whose noise is cut off at the lowest or highest level."""
    if looked.limits == (None, None):
        return usable, ()
    guide = looked.guide[usable]
    order = np.argsort(guide, kind="stable")
    low, high = -np.inf, np.inf
    for group in np.array_split(order, min(GROUPS, len(order))):
        pixels = 2 * looked.count[usable][group].sum()
        if looked.low[usable][group].sum() > CLIPPED * pixels and _is_cut(looked, usable, group):
            low = guide[group].max()
    inside = usable & (looked.guide > low) & (looked.guide < high)
    if inside.sum() < max(FEWEST, 0.02 * usable.sum()):
        return usable, ("nearly all levels are clipped at the lowest one: the noise is larger",)
    return inside, ()


def _is_cut(looked: Looked, usable: NDArray[np.bool_], group: NDArray[np.intp]) -> bool:
    """Whether values are cut at the lowest level, not photons that did not come.

    Of cut noise there is as much just above the cut; between no photon and one there is a gap.
    """
    lowest = looked.limits.low
    freedom = np.maximum(looked.count[usable][group] - looked.freedom, 1)
    variance = np.median(looked.sums[0][usable][group] / freedom)
    near = lowest + 0.5 * np.sqrt(variance)
    planes = looked.planes
    above = np.count_nonzero((planes > lowest) & (planes <= near))
    return bool(above > 0.2 * np.count_nonzero(planes == lowest))


def _line(tiles: Tiles, looked: Looked) -> tuple[Line, tuple[float, float], tuple[str, ...]]:
    """The line, with the errors of its slope and its value at grey level 0, and notes."""
    if len(tiles.level) >= FEWEST and np.ptp(tiles.guide) > 0:
        try:
            line = lines.fit_line(tiles)
            again = lines.bootstrap(tiles, line)
        except np.linalg.LinAlgError:
            again = np.empty((0, 2))
        if len(again) > 10:
            slope_error = float(np.std(again[:, 0]))
            intercept_error = float(np.std(again[:, 1] - again[:, 0] * looked.origin))
            if np.isfinite(slope_error) and line.slope > 2 * slope_error:
                return line, (slope_error, intercept_error), ()
    line = lines.fit_constant(tiles)
    count = max(1, int(line.kept.sum()))
    scatter = np.std(tiles.variance[line.kept]) if line.kept.any() else line.height
    note = "the variance does not follow the level, or the levels hardly differ: taken as constant"
    return line, (0.0, float(scatter / np.sqrt(count))), (note,)


def _correlation(
    looked: Looked, which: tuple[NDArray[np.intp], ...], tiles: Tiles, line: Line
) -> Correlation:
    whole = line.kept & (looked.count[which] == SIDE**2)
    if not whole.any() or looked.basis.shape[-1] == 0:
        return WHITE
    sums = looked.sums[:, which[0], which[1]][:, whole].astype(float)
    weight = 1 / line.expected[whole]
    return correlate(sums, weight, tiles.cluster[whole], looked.basis, looked.freedom)


def _model(
    looked: Looked,
    tiles: Tiles,
    line: Line,
    errors: tuple[float, float],
    correlation: Correlation,
    notes: tuple[str, ...],
) -> NoiseModel:
    scale = correlation.inflation
    gain, height = line.slope * scale, line.height * scale
    kept = line.kept if line.kept.any() else np.ones_like(line.kept)
    low, high = (float(v) for v in np.percentile(tiles.level[kept], (1, 99)))
    at_mean = gain * float(tiles.level.mean()) + height
    dimmest = max(gain * low + height, 0.0)
    intercept = height - gain * looked.origin
    systematic = SYSTEMATIC * max(abs(intercept), at_mean)
    return NoiseModel(
        gain=gain,
        intercept=intercept,
        floor=max(0.5 * dimmest, 1e-3 * abs(at_mean), float(np.finfo(np.float32).tiny)),
        autocorrelation=correlation.kernel,
        gain_error=float(np.hypot(errors[0] * scale, SYSTEMATIC * gain)),
        intercept_error=float(np.hypot(errors[1] * scale, systematic)),
        correlation_error=correlation.error,
        level_range=(low + looked.origin, high + looked.origin),
        mean_level=float(looked.level[looked.used].mean()) + looked.origin,
        method=looked.method,
        frames=looked.frames,
        pixels=int(kept.sum()) * SIDE**2 * looked.frames // len(looked.level),
        points=_points(looked, tiles, line, scale),
        saturation=looked.limits.high,
        notes=notes,
    )


def _points(looked: Looked, tiles: Tiles, line: Line, scale: float) -> tuple[LevelPoint, ...]:
    kept = np.flatnonzero(line.kept)
    order = kept[np.argsort(tiles.guide[kept], kind="stable")]
    if not len(order):
        return ()
    edges = np.linspace(tiles.guide[order[0]], tiles.guide[order[-1]], POINTS + 1)[1:-1]
    groups = np.split(order, np.searchsorted(tiles.guide[order], edges))
    points = []
    for group in groups:
        if len(group) >= 3:
            variance = tiles.variance[group] * scale / (1 + line.bias)
            error = float(variance.std() / np.sqrt(len(group)))
            level = float(tiles.level[group].mean()) + looked.origin
            points.append(LevelPoint(level, float(variance.mean()), error, True))
    return tuple(points)


def with_offset(model: NoiseModel, offset: float, evidence: str) -> NoiseModel:
    """The model with the level of darkness known, and the read noise where the line tells it."""
    variance = model.gain * offset + model.intercept
    certain = variance > 0
    read_noise = float(np.sqrt(variance)) if certain else None
    return replace(model, offset=offset, read_noise=read_noise, evidence=evidence)
