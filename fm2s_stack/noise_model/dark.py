"""The level and the noise of darkness, where a part of the field shows it.

A line of variance against level does not tell them apart: an offset moves it, read noise lifts
it. Blanked edges and covered parts of the detector do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model.tiles import SIDE, cut

Float = NDArray[np.float64]

FEWEST = 8  #: tiles that darkness needs
LOWEST = 0.005  #: part of the tiles among which darkness is looked for first
UNIFORM = 1.5  #: most spread of the levels of darkness, in standard errors
APART = 10.0  #: least distance to the middle of all levels, in standard errors
GAP = 0.1  #: most tiles just above darkness, as a part of its own
LIGHT = 0.05  #: most light in darkness, as a part of the mean light
FRAMES = 32  #: looked at


class Darkness(NamedTuple):
    """What dark tiles show."""

    offset: float  #: mean level
    read_noise: float  #: standard deviation


def find_darkness(
    level: Float,
    variance: Float,
    usable: NDArray[np.bool_],
    frames: NDArray[np.float32],
    gain: float,
    correlated: float,
) -> Darkness | None:
    """The dark part of a field, if there clearly is one.

    Its tiles are all of the lowest level, apart from all others, and their noise is symmetric.

    Parameters
    ----------
    level, variance
        Of each tile, shape (planes, tiles).
    usable
        Tiles that are not clipped, of that shape.
    frames
        What was looked at, shape (frames, y, x).
    gain
        Variance per level.
    correlated
        Sum of the autocorrelation of the noise over all lags.
    """
    places = np.flatnonzero(usable.sum(axis=0) > 0.5 * len(usable))
    if len(places) < 2 * FEWEST or gain <= 0:
        return None
    weight = usable[:, places] / usable[:, places].sum(axis=0)
    mean, square = (level[:, places] * weight).sum(0), (variance[:, places] * weight).sum(0)
    values = weight.astype(bool).sum(axis=0) * SIDE**2 * len(frames) / len(level)
    error = np.sqrt(square * max(correlated, 1.0) / values)
    dark = _lowest_group(mean, error)
    if dark is None:
        return None
    offset = float(mean[dark].mean())
    light, light_error = _light(frames[:: -(-len(frames) // FRAMES)], places[dark], gain)
    most = LIGHT * (float(level[usable].mean()) - offset)
    if light_error > most / 2 or light > most:
        return None
    return Darkness(offset, float(np.sqrt(np.median(square[dark]))))


def _lowest_group(level: Float, error: Float) -> NDArray[np.bool_] | None:
    """The tiles at the lowest level, if they are of one level and apart from all others."""
    count = max(FEWEST, int(LOWEST * len(level)))
    order = np.argsort(level)
    first = order[:count]
    near = np.median(error[first])
    centre = np.median(level[first])
    for _ in range(10):
        group = np.abs(level - centre) < 4 * near
        if not group.any():
            return None
        centre, near = np.median(level[group]), np.median(error[group])
    above = (level > centre + 5 * near) & (level < centre + 10 * near)
    if (
        group.sum() < FEWEST
        or level[group].std() > UNIFORM * near
        or above.sum() > GAP * group.sum()
        or np.median(level[~group]) < centre + APART * near
        or level[~group].min(initial=np.inf) < centre
    ):
        return None
    return np.asarray(group)


def _light(frames: NDArray, tiles: NDArray[np.intp], gain: float) -> tuple[float, float]:
    """Light in some tiles, as levels above darkness, and its standard error.

    The third cumulant of photon noise is the square of the gain times the light; that of read
    noise, which is symmetric, is 0.
    """
    cubes, squares, count = 0.0, 0.0, 0
    for frame in frames:
        values = cut(frame)[..., tiles].astype(float)
        away = values - values.mean(axis=(0, 1))
        cubes, squares, count = (
            cubes + (away**3).sum(),
            squares + (away**2).sum(),
            count + away.size,
        )
    error = np.sqrt(15 * (squares / count) ** 3 / count)
    return cubes / count / gain**2, float(error) / gain**2
