"""Denoising planes on a GPU, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.fm2s.batch import CALL_BYTES, TILES_A_CALL, Share, apply_batch, bytes_of_plane
from fm2s_stack.fm2s.conveyor import Compute, affordable_batch, convey_what_fits
from fm2s_stack.fm2s.inference import prepared
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.levels import Levels
from fm2s_stack.fm2s.tiles import Core, tiles_of
from fm2s_stack.progress import Pulse

if TYPE_CHECKING:
    from fm2s_stack.fm2s.denoiser import Denoiser

BATCHES = 4  #: that a call is cut into at least, so that copying and computing overlap


def denoise_batches(
    denoiser: Denoiser,
    planes: NDArray[np.generic],
    positions: NDArray[np.float64],
    core: Core,
    result: NDArray[np.generic],
    device: str,
    pulse: Pulse,
) -> int:
    """Denoise the core of planes into `result`; how many pixels were clipped.

    Parameters as for `Denoiser.denoise`.
    """
    masks = [denoiser.valid(plane, positions[i], pulse) for i, plane in enumerate(planes)]
    if all(mask is None for mask in masks):
        return _convey(denoiser, planes, positions, core, result, denoiser.intensity, device, pulse)
    # Pixels without light are made up on the CPU, which has the tools for that.
    unit = np.stack([denoiser.unit_plane(p, m, pulse) for p, m in zip(planes, masks, strict=True)])
    computed = np.empty(result.shape, np.float32)
    _convey(denoiser, unit, positions, core, computed, None, device, pulse)
    clipped = 0
    for i, mask in enumerate(masks):
        result[i], count = denoiser.intensity.from_unit(computed[i], result.dtype)
        clipped += count
        if mask is not None:
            denoiser.put_back(planes[i], mask, positions[i], core, result[i])
    return clipped


def _convey(
    denoiser: Denoiser,
    planes: NDArray[np.generic],
    positions: NDArray[np.float64],
    core: Core,
    result: NDArray[np.generic],
    intensity: IntensityMap | None,
    device: str,
    pulse: Pulse,
) -> int:
    levels = Levels(intensity, planes.dtype, result.dtype)
    batch = _batch(planes, core, device)
    with torch.inference_mode(), _current(device):
        compute = _compute(denoiser, positions, core, levels, device)
        return convey_what_fits(planes, result, compute, batch, device, pulse)


def _batch(planes: NDArray[np.generic], core: Core, device: str) -> int:
    """Planes at a time: some calls full of tiles, if the device's free memory holds them."""
    fill = -(-TILES_A_CALL // sum(1 for _ in tiles_of(core)))
    wanted = max(fill, -(-len(planes) // BATCHES))
    needed = bytes_of_plane((planes.shape[1], planes.shape[2]), planes.dtype.itemsize)
    return max(1, min(wanted, affordable_batch(device, needed, CALL_BYTES)))


def _compute(
    denoiser: Denoiser, positions: NDArray[np.float64], core: Core, levels: Levels, device: str
) -> Compute:
    shares = [[Share(i, part) for i, part in denoiser.shares(at)] for at in positions]
    used = sorted({one.network for own in shares for one in own})
    networks = {i: prepared(denoiser.weights[i], device, denoiser.precision) for i in used}

    def compute(carried: Tensor, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        unit = levels.to_unit(carried)
        return levels.from_unit(apply_batch(networks, [shares[i] for i in numbers], unit, core))

    return compute


def _current(device: str) -> torch.cuda.device:
    """Makes a GPU the current one, whose stream computes; nothing on the CPU."""
    return torch.cuda.device(torch.device(device) if device.startswith("cuda") else -1)
