"""Which tiles pass for pure noise, and the line through them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model import line as lines
from fm2s_stack.noise_model.defects import Limits
from fm2s_stack.noise_model.line import Line, Tiles
from fm2s_stack.noise_model.model import Method
from fm2s_stack.noise_model.units import Units

Float = NDArray[np.float64]

FEWEST = 24  #: tiles that a line needs
MANY = 4  #: planes from which on some may be left out
LOUD = 3.0  #: by how many errors a plane exceeds the quieter ones that is left out
GROUPS = 24  #: of levels, where clipping is looked for
CLIPPED = 0.005  #: part of pixels at the lowest level from which on a level counts as clipped
BLOCKS = 8  #: clusters a side of the field
EPOCHS = 16  #: clusters along time


@dataclass(frozen=True)
class Looked:
    """What the tiles of all planes say, in numbers of `units`; shape (planes, tiles) mostly."""

    level: Float  #: mean of its pixels
    guide: Float  #: the same as told by other pixels
    variance: Float  #: mean square of the residuals, per degree of freedom
    count: NDArray[np.float32]  #: pixels used
    used: NDArray[np.bool_]  #: whether it tells something
    low: NDArray[np.float32]  #: values at the lowest level
    grid: tuple[int, int]  #: tiles down and across
    units: Units  #: what the numbers mean
    limits: Limits  #: lowest and highest level, where they may clip
    method: Method  #: what the residuals are of
    frames: NDArray[np.float32] = field(repr=False)  #: looked at, shape (planes, frames, y, x)
    systematic: float  #: relative error of the variances beside what scatters
    bounds: lines.Bounds  #: part of pure noise that the line rests on
    notes: tuple[str, ...] = ()  #: said already


class Clean(NamedTuple):
    """The tiles that pass for pure noise, one entry of each array is one of them."""

    plane: NDArray[np.intp]  #: in which plane it is
    tile: NDArray[np.intp]  #: which tile of it
    weight: Float  #: 1 over its variance
    cluster: NDArray[np.intp]  #: neighbours in place and time


class Fit(NamedTuple):
    """The line through the tiles of pure noise."""

    tiles: Tiles  #: all that are usable
    line: Line  #: through those of pure noise
    slope_error: float  #: standard error of the slope
    zero_error: float  #: standard error of the line at grey level 0
    notes: tuple[str, ...]  #: what to say of it


def fit_usable(looked: Looked, usable: NDArray[np.bool_]) -> Fit:
    """The line through the usable tiles, or one variance where no line is to be told."""
    tiles = Tiles(
        looked.level[usable],
        looked.variance[usable],
        looked.guide[usable],
        _clusters(looked)[usable],
    )
    found = _sloped(tiles, looked)
    if found is not None:
        return found
    line = lines.fit_constant(tiles, looked.bounds)
    scatter = np.std(tiles.variance[line.kept]) if line.kept.any() else line.height
    error = float(scatter / np.sqrt(max(1, line.kept.sum())))
    note = "the variance does not follow the level, or the levels hardly differ: taken as constant"
    return Fit(tiles, line, 0.0, error, (note,))


def _sloped(tiles: Tiles, looked: Looked) -> Fit | None:
    if len(tiles.level) < FEWEST or np.ptp(tiles.guide) <= 0:
        return None
    try:
        line = lines.fit_line(tiles, looked.bounds)
    except np.linalg.LinAlgError:
        return None
    again = lines.bootstrap(tiles, line)
    if len(again) < lines.BOOTSTRAPS // 2:
        return None
    slope_error = float(np.std(again[:, 0]))
    if not line.slope > 2 * slope_error:
        return None
    zero_error = float(np.std(again[:, 1] + again[:, 0] * looked.units.number(0.0)))
    return Fit(tiles, line, slope_error, zero_error, ())


def clean_of(usable: NDArray[np.bool_], fit: Fit) -> Clean:
    """The tiles that a line rests on, by plane and place."""
    plane, tile = np.nonzero(usable)
    kept = fit.line.kept
    return Clean(plane[kept], tile[kept], 1 / fit.line.expected[kept], fit.tiles.cluster[kept])


def quiet_planes(looked: Looked, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The usable tiles without planes that lie above the line as a whole: they hold more.

    Half a pixel of motion adds to every tile less than its variance scatters, and yet too much.
    """
    planes, plane = len(looked.level), np.nonzero(usable)[0]
    if planes < MANY or len(plane) < FEWEST * MANY:
        return usable
    tiles, line, *_ = fit_usable(looked, usable)
    missed = tiles.variance - line.slope * tiles.level - line.height
    ratio, kept = (missed / line.expected)[line.kept], plane[line.kept]
    count = np.maximum(np.bincount(kept, minlength=planes), 1)
    above = np.bincount(kept, ratio, planes) / count
    quiet = above < np.percentile(above, 25) + LOUD * ratio.std() / np.sqrt(count)
    return np.asarray(usable & quiet[:, None])


def within_range(
    looked: Looked, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """The usable tiles without the levels whose noise is cut off at the lowest one; notes."""
    if looked.limits.low is None:
        return usable, ()
    guide, low, count = (x[usable] for x in (looked.guide, looked.low, looked.count))
    order = np.argsort(guide, kind="stable")
    lowest = -np.inf
    for group in np.array_split(order, min(GROUPS, len(order))):
        values = looked.frames.shape[1] * count[group].sum()
        if low[group].sum() > CLIPPED * values and _is_cut(
            looked.frames, looked.limits.low, looked.variance[usable][group]
        ):
            lowest = guide[group].max()
    inside = usable & (looked.guide > lowest)
    cut = f"{looked.units.level(looked.limits.low):.6g}"
    if inside.sum() < max(FEWEST, 0.02 * usable.sum()):
        return usable, (f"noise is cut off at the lowest level ({cut}) in nearly all of the field",)
    if np.isinf(lowest):
        return usable, ()
    left_out = f"{looked.units.level(lowest):.4g}"
    return inside, (f"left out below {left_out}: noise is cut off at the lowest level ({cut})",)


def _is_cut(frames: NDArray[np.float32], lowest: float, variance: Float) -> bool:
    """Whether values are cut at the lowest level, not photons that did not come.

    Of cut noise there is as much just above the cut; between no photon and one there is a gap.
    """
    near = lowest + 0.5 * np.sqrt(np.median(variance))
    above = np.count_nonzero((frames > lowest) & (frames <= near))
    return bool(above > 0.2 * np.count_nonzero(frames == lowest))


def _clusters(looked: Looked) -> NDArray[np.intp]:
    planes = len(looked.level)
    epochs = min(planes, EPOCHS)
    down, across = (np.arange(n) * min(n, BLOCKS) // n for n in looked.grid)
    place = (down[:, None] * BLOCKS + across).ravel()
    when = np.arange(planes) * epochs // planes
    return np.asarray(when[:, None] * BLOCKS**2 + place)
