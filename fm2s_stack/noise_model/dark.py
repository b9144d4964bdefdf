"""The level and the noise of darkness, where a part of the field shows it.

A line of variance against level does not tell them apart: an offset moves it, read noise lifts
it. Blanked edges and covered parts of the detector do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.noise_model.model import NoiseModel
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

    offset: float  #: mean level, grey levels
    read_noise: float  #: standard deviation, grey levels


def with_offset(model: NoiseModel, offset: float) -> NoiseModel:
    """The model with the offset that metadata tells, and the read noise that the line then has.

    The read noise stays unknown where the line does not lie clearly above 0 there.
    """
    variance = model.gain * offset + model.intercept
    uncertain = np.hypot(model.gain_error * (offset - model.mean_level), 0.02 * abs(variance))
    read_noise = float(np.sqrt(variance)) if variance > 2 * uncertain else None
    return replace(model, offset=offset, read_noise=read_noise, evidence="metadata")


def with_darkness(
    model: NoiseModel,
    level: Float,
    variance: Float,
    usable: NDArray[np.bool_],
    planes: NDArray,
    origin: float,
) -> NoiseModel:
    """The model with offset and read noise if a part of the field is dark, else as it was.

    Parameters
    ----------
    model
        What else is known.
    level, variance
        Of each tile, the level above `origin`; shape (planes, tiles).
    usable
        Tiles that are not clipped, of that shape.
    planes
        The frames, shape (..., y, x).
    origin
        Grey level that levels count from.
    """
    found = _darkness(model, level, variance, usable, planes, origin)
    if found is None:
        return model
    evidence = "a part of the field that is dark"
    return replace(model, offset=found.offset, read_noise=found.read_noise, evidence=evidence)


def _darkness(
    model: NoiseModel,
    level: Float,
    variance: Float,
    usable: NDArray[np.bool_],
    planes: NDArray,
    origin: float,
) -> Darkness | None:
    places = np.flatnonzero(usable.all(axis=0))
    if len(places) < 2 * FEWEST or model.gain <= 0:
        return None
    mean, square = level[:, places].mean(axis=0), variance[:, places].mean(axis=0)
    frames = planes.reshape(-1, *planes.shape[-2:])
    correlated = np.abs(np.array(model.autocorrelation)).sum() * 2 - 1
    error = np.sqrt(square * correlated / (len(frames) * SIDE**2))
    dark = _lowest_group(mean, error)
    if dark is None:
        return None
    offset = float(mean[dark].mean())
    light, light_error = _light(frames[:: -(-len(frames) // FRAMES)], places[dark], model.gain)
    most = LIGHT * (float(level[usable].mean()) - offset)
    if light_error > most / 2 or light > most:
        return None
    return Darkness(offset + origin, float(np.sqrt(square[dark].mean())))


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
    """Light in some tiles, in grey levels, and its standard error.

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
