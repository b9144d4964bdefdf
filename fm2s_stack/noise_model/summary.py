"""From what tiles say to a `NoiseModel`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model import line as lines
from fm2s_stack.noise_model.correlation import WHITE, Correlation
from fm2s_stack.noise_model.dark import with_darkness, with_offset
from fm2s_stack.noise_model.defects import Limits
from fm2s_stack.noise_model.line import Line, Tiles
from fm2s_stack.noise_model.model import LevelPoint, Method, NoiseModel
from fm2s_stack.noise_model.tiles import SIDE

Float = NDArray[np.float64]

FEWEST = 24  #: tiles that a line needs
MANY = 4  #: planes from which on some may be left out
LOUD = 3.0  #: by how many errors a plane exceeds the quieter ones that is left out
GROUPS = 24  #: of levels, where clipping is looked for
POINTS = 16  #: of the mean-variance plot
CLIPPED = 0.005  #: part of pixels at the lowest level from which on a level counts as clipped
BLOCKS = 8  #: clusters a side of the field
EPOCHS = 16  #: clusters along time


@dataclass(frozen=True)
class Looked:
    """What the tiles of all planes say; arrays of shape (planes, tiles) but for the last ones."""

    level: Float  #: mean level above `origin`
    guide: Float  #: the same from other pixels; NaN where there are none
    variance: Float  #: mean square of the residuals, per degree of freedom
    count: NDArray[np.float32]  #: pixels used
    used: NDArray[np.bool_]  #: whether it tells something
    low: NDArray[np.float32]  #: values at the lowest level
    grid: tuple[int, int]  #: tiles down and across
    origin: float  #: grey level that levels count from
    limits: Limits  #: lowest and highest level, where they may clip
    method: Method  #: what the residuals are of
    frames: int  #: frames looked at
    planes: NDArray = field(repr=False)  #: the frames
    systematic: float  #: relative error of the variances beside what scatters
    bounds: lines.Bounds  #: part of pure noise that the line rests on
    notes: tuple[str, ...] = ()  #: said already


@dataclass(frozen=True)
class Clean:
    """The tiles that pass for pure noise, one entry of each array is one of them."""

    plane: NDArray[np.intp]  #: in which plane it is
    tile: NDArray[np.intp]  #: which tile of it
    weight: Float  #: 1 over its variance
    cluster: NDArray[np.intp]  #: neighbours in place and time


#: how planes tell the correlation, from the tiles looked at and those of pure noise
Correlate = Callable[[NDArray[np.bool_], Clean], Correlation]


def summarize(looked: Looked, correlate: Correlate, offset: float | None) -> NoiseModel:
    """The model that the tiles add up to.

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
        If too few tiles tell anything.
    """
    usable = looked.used
    if usable.sum() < 1:
        raise NoiseUnknown(
            "noise: everything is constant, clipped or defective; there is none to measure"
        )
    usable, notes = _within_range(looked, usable)
    usable = _quiet(looked, usable)
    tiles = _tiles(looked, usable)
    line, errors, more = _line(tiles, looked)
    clean = _clean(usable, tiles, line)
    correlation = correlate(usable, clean) if len(clean.tile) else WHITE
    model = _model(looked, tiles, line, errors, correlation, (*looked.notes, *notes, *more))
    if offset is not None:
        return with_offset(model, offset)
    variance = looked.variance * correlation.inflation
    return with_darkness(model, looked.level, variance, usable, looked.planes, looked.origin)


def clean_tiles(looked: Looked, usable: NDArray[np.bool_]) -> Clean:
    """The usable tiles that pass for pure noise, by their variances."""
    tiles = _tiles(looked, usable)
    return _clean(usable, tiles, _line(tiles, looked)[0])


def _clean(usable: NDArray[np.bool_], tiles: Tiles, line: Line) -> Clean:
    plane, tile = np.nonzero(usable)
    kept = line.kept
    return Clean(plane[kept], tile[kept], 1 / line.expected[kept], tiles.cluster[kept])


def _tiles(looked: Looked, usable: NDArray[np.bool_]) -> Tiles:
    return Tiles(
        looked.level[usable],
        looked.variance[usable],
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
    """Without the levels whose noise is cut off at the lowest level."""
    if looked.limits.low is None:
        return usable, ()
    guide = looked.guide[usable]
    order = np.argsort(guide, kind="stable")
    low = -np.inf
    for group in np.array_split(order, min(GROUPS, len(order))):
        pixels = looked.frames / len(looked.level) * looked.count[usable][group].sum()
        if looked.low[usable][group].sum() > CLIPPED * pixels and _is_cut(looked, usable, group):
            low = guide[group].max()
    inside = usable & (looked.guide > low)
    if inside.sum() < max(FEWEST, 0.02 * usable.sum()):
        return usable, ("nearly all levels are clipped at the lowest one: the noise is larger",)
    return inside, ()


def _is_cut(looked: Looked, usable: NDArray[np.bool_], group: NDArray[np.intp]) -> bool:
    """Whether values are cut at the lowest level, not photons that did not come.

    Of cut noise there is as much just above the cut; between no photon and one there is a gap.
    """
    lowest = looked.limits.low
    variance = np.median(looked.variance[usable][group])
    near = lowest + 0.5 * np.sqrt(variance)
    planes = looked.planes
    above = np.count_nonzero((planes > lowest) & (planes <= near))
    return bool(above > 0.2 * np.count_nonzero(planes == lowest))


def _quiet(looked: Looked, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the planes that lie above the line as a whole: they hold more than noise.

    Half a pixel of motion adds to every tile less than its variance scatters, and yet too much.
    """
    tiles, plane = _tiles(looked, usable), np.nonzero(usable)[0]
    if len(looked.level) < MANY or len(plane) < FEWEST * MANY:
        return usable
    line = _line(tiles, looked)[0]
    plane, kept = plane[line.kept], line.kept
    missed = tiles.variance[kept] - line.slope * tiles.level[kept] - line.height
    ratio = missed / line.expected[kept]
    count = np.maximum(np.bincount(plane, minlength=len(looked.level)), 1)
    above = np.bincount(plane, ratio, len(looked.level)) / count
    error = ratio.std() / np.sqrt(count)
    quiet = above < np.percentile(above, 25) + LOUD * error
    return np.asarray(usable & quiet[:, None])


def _line(tiles: Tiles, looked: Looked) -> tuple[Line, tuple[float, float], tuple[str, ...]]:
    """The line, with the errors of its slope and its value at grey level 0, and notes."""
    if len(tiles.level) >= FEWEST and np.ptp(tiles.guide) > 0:
        try:
            line = lines.fit_line(tiles, looked.bounds)
            again = lines.bootstrap(tiles, line)
        except np.linalg.LinAlgError:
            again = np.empty((0, 2))
        if len(again) > 10:
            slope_error = float(np.std(again[:, 0]))
            intercept_error = float(np.std(again[:, 1] - again[:, 0] * looked.origin))
            if np.isfinite(slope_error) and line.slope > 2 * slope_error:
                return line, (slope_error, intercept_error), ()
    line = lines.fit_constant(tiles, looked.bounds)
    count = max(1, int(line.kept.sum()))
    scatter = np.std(tiles.variance[line.kept]) if line.kept.any() else line.height
    note = "the variance does not follow the level, or the levels hardly differ: taken as constant"
    return line, (0.0, float(scatter / np.sqrt(count))), (note,)


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
    systematic = looked.systematic * max(abs(intercept), at_mean)
    points = _points(looked, tiles, line, scale)
    scatter = scale * _misfit(points, gain, intercept)
    return NoiseModel(
        gain=gain,
        intercept=intercept,
        floor=max(0.5 * dimmest, 1e-3 * abs(at_mean), float(np.finfo(np.float32).tiny)),
        autocorrelation=correlation.kernel,
        gain_error=float(np.hypot(errors[0] * scatter, looked.systematic * gain)),
        intercept_error=float(np.hypot(errors[1] * scatter, systematic)),
        correlation_error=correlation.error,
        level_range=(low + looked.origin, high + looked.origin),
        mean_level=float(looked.level[looked.used].mean()) + looked.origin,
        method=looked.method,
        frames=looked.frames,
        pixels=int(kept.sum()) * SIDE**2 * looked.frames // len(looked.level),
        points=points,
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


def _misfit(points: tuple[LevelPoint, ...], gain: float, intercept: float) -> float:
    """By how much points miss a line beyond their errors (Birge ratio), 1 or more."""
    if len(points) <= 2:
        return 1.0
    table = np.array([point[:3] for point in points])
    missed = (table[:, 1] - gain * table[:, 0] - intercept) / np.maximum(table[:, 2], 1e-300)
    return max(1.0, float(np.sqrt((missed**2).sum() / (len(points) - 2))))
