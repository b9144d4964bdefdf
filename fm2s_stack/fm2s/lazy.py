"""Mapping a denoiser over a Dask array."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import dask.array as da
import numpy as np
from dask.array.overlap import overlap
from numpy.typing import ArrayLike, NDArray

from fm2s_stack.fm2s.tiles import TILE, Core
from fm2s_stack.settings import NanPolicy

if TYPE_CHECKING:
    from fm2s_stack.fm2s.denoiser import Denoised


class Mappable(Protocol):
    """What denoises planes by themselves."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """One row a network."""

    @property
    def nan(self) -> NanPolicy:
        """What happens to pixels that carry no light."""

    @property
    def halo(self) -> int:
        """Pixels to each side that a result depends on."""

    def denoise(
        self, planes: NDArray[np.generic], positions: NDArray[np.float64], *, core: Core | None
    ) -> Denoised:
        """Denoise the core of planes (n, y, x)."""


def map_denoiser(
    denoiser: Mappable, array: da.Array, positions: ArrayLike | None = None
) -> da.Array:
    """Denoise `array` lazily; see `Denoiser.map`."""
    where = _lazy_positions(denoiser, array, positions)
    plane_axes = (array.ndim - 2, array.ndim - 1)
    if denoiser.nan == "keep":  # padding is known by the whole plane
        array = array.rechunk(dict.fromkeys(plane_axes, -1))
    y_chunks, x_chunks = (on_grid(array.chunks[axis], denoiser.halo) for axis in plane_axes)
    aligned = array.rechunk((*array.chunks[:-2], y_chunks, x_chunks))
    depth = {axis: denoiser.halo for axis in plane_axes if aligned.numblocks[axis] > 1}
    haloed = overlap(aligned, depth=depth, boundary="none")
    return da.map_blocks(
        _block,
        haloed,
        where,
        denoiser=denoiser,
        y_chunks=y_chunks,
        x_chunks=x_chunks,
        chunks=aligned.chunks,
        dtype=array.dtype,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def _lazy_positions(denoiser: Mappable, array: da.Array, positions: ArrayLike | None) -> da.Array:
    if positions is None and len(denoiser.weights) > 1:
        raise ValueError(f"{len(denoiser.weights)} networks: positions of the planes are needed")
    shape = array.shape[:-2]
    values = np.zeros(shape) if positions is None else np.asarray(positions, np.float64)
    if values.shape != shape:
        raise ValueError(f"positions of shape {values.shape} for planes of shape {shape}")
    return da.from_array(values[..., None, None], chunks=(*array.chunks[:-2], 1, 1))


def on_grid(chunks: tuple[int, ...], halo: int) -> tuple[int, ...]:
    """Chunks whose cuts lie on the network's grid of tiles, about as large as those given.

    A last chunk shorter than the halo is joined to the one before it.
    """
    length, step = sum(chunks), max(max(chunks) // TILE, 1) * TILE
    cuts = [*range(0, length, step), length]
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < halo:
        del cuts[-2]
    return tuple(b - a for a, b in pairwise(cuts))


def _block(
    planes: NDArray[np.generic],
    positions: NDArray[np.float64],
    denoiser: Mappable,
    y_chunks: tuple[int, ...],
    x_chunks: tuple[int, ...],
    block_info: dict | None = None,
) -> NDArray[np.generic]:
    if not block_info:  # Dask asks for an example of the result
        return planes
    *_, row, column = block_info[0]["chunk-location"]
    core = (_core(y_chunks, row, denoiser.halo), _core(x_chunks, column, denoiser.halo))
    flat = planes.reshape(-1, *planes.shape[-2:])
    result = denoiser.denoise(flat, positions.ravel(), core=core).planes
    return result.reshape(*planes.shape[:-2], *result.shape[-2:])


def _core(chunks: tuple[int, ...], place: int, halo: int) -> tuple[int, int]:
    start = halo if place else 0
    return start, start + chunks[place]
