"""Planes as training needs them: their median targets, patch levels, and random crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from fm2s_stack.fm2s import noise
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import Preset

#: Values that the median looks at between two pulses: about a second on one core.
BAND_VALUES = 2**26


@dataclass(frozen=True, eq=False)
class TrainingPlane:
    """One plane as the trainer needs it, all of shape (1, 1, y, x)."""

    raw: Tensor  #: the recording on the unit scale
    target: Tensor  #: its median
    level: Tensor  #: mean of the target in each patch
    weight: Tensor | None  #: 1 where pixels carry light; None: everywhere


def prepare_plane(
    plane: NDArray[np.float32],
    preset: Preset,
    device: str,
    valid: NDArray[np.bool_] | None,
    pulse: Pulse = unheard,
) -> TrainingPlane:
    """The plane with its median target and patch levels, on the device.

    Parameters
    ----------
    plane
        Shape (y, x), on the unit scale, finite.
    preset
        Gives the median's window and the patches' stride.
    device
        ``cpu`` or ``cuda:N``.
    valid
        Which pixels take part, shape (y, x); None: all.
    pulse
        Called every second or so.
    """
    target = torch.from_numpy(median_target(plane, preset.filter, pulse))
    level = noise.patch_level(target, preset.stride)
    weight = None if valid is None or valid.all() else torch.from_numpy(valid).float()
    raw, target, level = (
        part[None, None].to(device) for part in (torch.from_numpy(plane), target, level)
    )
    return TrainingPlane(
        raw, target, level, None if weight is None else weight[None, None].to(device)
    )


def median_target(
    plane: NDArray[np.float32], side: int, pulse: Pulse = unheard
) -> NDArray[np.float32]:
    """The median of each pixel's window, mirrored at the edges, band by band of rows.

    Parameters
    ----------
    plane
        Shape (y, x), finite.
    side
        Of the window, odd, pixels.
    pulse
        Called before each band: a huge plane takes minutes.

    Returns
    -------
    ndarray
        Shape (y, x): the values that the whole plane would give in one go.
    """
    rows, columns = plane.shape
    halo = side // 2
    height = max(2 * side, BAND_VALUES // (columns * side * side))
    target = np.empty_like(plane)
    for top in range(0, rows, height):
        pulse()
        stop, start = min(top + height, rows), max(top - halo, 0)
        band = ndimage.median_filter(plane[start : stop + halo], size=side, mode="reflect")
        target[top:stop] = band[top - start : stop - start]
    return target


def random_crop(
    planes: list[TrainingPlane], side: int | None, host: torch.Generator
) -> TrainingPlane:
    """A random plane, cut to a random square of `side` pixels; None: the whole plane."""
    chosen = planes[_randint(len(planes), host)]
    if side is None:
        return chosen
    rows, columns = chosen.raw.shape[-2:]
    y = _randint(max(rows - side, 0) + 1, host)
    x = _randint(max(columns - side, 0) + 1, host)
    window = (..., slice(y, y + side), slice(x, x + side))
    weight = None if chosen.weight is None else chosen.weight[window]
    return TrainingPlane(chosen.raw[window], chosen.target[window], chosen.level[window], weight)


def _randint(stop: int, host: torch.Generator) -> int:
    return int(torch.randint(stop, (), generator=host))
