"""Fitting the weights of a `PlaneDenoiser` on noisy planes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.plane.brightness import brightness_of
from fm2s_stack.plane.denoiser import HALO, TILE, PlaneDenoiser, window_at
from fm2s_stack.plane.draws import ADDED, Drawn, drawn_like
from fm2s_stack.plane.estimates import COUNT, Estimates
from fm2s_stack.plane.line import variance_line
from fm2s_stack.plane.mixture import KNOTS, Sums, best_weights, shares

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Told = Callable[[int, int], None]  #: how many of how many are done

DRAWS = 2  #: of noise, for each tile
TILES = 16  #: that are looked at, at most
#: pixels that weights can be learned from: those of fewer follow their noise, and what the others
#: are compared to, alone, is better
LEAST = 64 * 64
SQUARE = 32  #: side of the squares that belong to one of two halves of the pixels, in turn


def _untold(done: int, total: int) -> None:
    """Nobody is told."""


class Seen(NamedTuple):
    """A tile that weights are fitted on."""

    window: Float32  #: grey levels, the halo included
    inside: tuple[int, int]  #: rows and columns of it that are in the plane
    found: Estimates  #: from it as it is
    taken: NDArray[np.bool_]  #: which pixels of those inside take part, flat


def fit_plane_denoiser(
    planes: NDArray,
    noise: NoiseModel,
    seed: int = 0,
    *,
    stride: int = 1,
    light: NDArray[np.bool_] | None = None,
    draws: int | None = None,
    progress: Told = _untold,
) -> PlaneDenoiser:
    """Fit a denoiser to planes of one recording.

    The weights are those of the least error that is to be expected from new noise, which is told
    without the truth (see `fm2s_stack.plane.draws`). They are as free as tiles of one half of
    the pixels foretell the other half's. The mean of the results is that of the planes.

    Parameters
    ----------
    planes
        Noisy grey levels, finite, shape (y, x) or (planes, y, x); ten planes of a movie are
        plenty. Up to `TILES` tiles of 256 x 256 pixels are looked at.
    noise
        Their noise; see also `with_smooth_noise`.
    seed
        Of the random numbers.
    stride
        Pixels from block to block: 1 for single planes; 2 is three times as fast, for movies.
    light
        Which pixels carry light, shape of `planes`: the others, whose values are made up, are
        not learned from. None: all.
    draws
        Of noise in all, at most; None: two for each tile.
    progress
        Told of how many of how many steps are done, a few times a second; what it raises ends
        the fit.

    Returns
    -------
    PlaneDenoiser
        The same bits for the same arguments, whatever the number of threads.
    """
    planes = planes.reshape(-1, *planes.shape[-2:])
    valid = None if light is None else light.reshape(planes.shape)
    rng = np.random.default_rng(seed)
    denoiser = _unfitted(noise, stride)
    with one_thread(), torch.inference_mode():
        places = _places(planes.shape, rng)[:draws]
        steps = len(places) * (1 + DRAWS)
        seen = []
        for step, place in enumerate(places):
            progress(step, steps)
            seen += _seen(denoiser, planes, valid, place)
        if sum(int(tile.taken.sum()) for tile in seen) < LEAST:
            return denoiser
        contrasts = np.concatenate([_inner(tile, tile.found.contrast) for tile in seen])
        knots = np.quantile(contrasts, KNOTS).astype(np.float32)
        dark = min(_darkest(tile) for tile in seen)
        drawn = drawn_like(noise, dark)
        halves = Sums.empty(), Sums.empty()
        twice = [tile for tile in seen for _ in range(DRAWS)]
        for step, tile in enumerate(twice[:draws], len(places)):
            progress(step, steps)
            _learn(halves, denoiser, drawn, tile, knots, rng)
        weights, loss = best_weights(*halves)
        fitted = replace(denoiser, knots=knots, weights=weights.astype(np.float32), loss=loss)
        return replace(fitted, brightness=brightness_of(dark, *_means(fitted, seen)))


def _means(fitted: PlaneDenoiser, seen: list[Seen]) -> tuple[float, float]:
    """Mean of the pixels that take part, and of what is made of them."""
    inner = slice(HALO, HALO + TILE)
    raw = [_inner(tile, torch.from_numpy(tile.window[inner, inner])) for tile in seen]
    made = [_inner(tile, torch.from_numpy(fitted.mixture(tile.found))) for tile in seen]
    both = (np.concatenate(pixels) for pixels in (raw, made))
    before, after = (float(pixels.mean(dtype=np.float64)) for pixels in both)
    return before, after


def _darkest(tile: Seen) -> float:
    return float(np.quantile(tile.found.centre, 0.002))


def _unfitted(noise: NoiseModel, stride: int) -> PlaneDenoiser:
    return PlaneDenoiser(
        line=variance_line(noise),
        correlation=noise.whole_autocorrelation,
        knots=np.zeros(len(KNOTS), np.float32),
        weights=np.zeros((len(KNOTS), COUNT - 1), np.float32),
        stride=stride,
    )


def _places(shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Plane, row and column of the tiles that are looked at."""
    down, across = (-(-side // TILE) for side in shape[1:])
    count = shape[0] * down * across
    chosen = np.sort(rng.permutation(count)[:TILES])
    plane, row, column = np.unravel_index(chosen, (shape[0], down, across))
    return [
        (int(p), int(r) * TILE, int(c) * TILE) for p, r, c in zip(plane, row, column, strict=True)
    ]


def _seen(
    denoiser: PlaneDenoiser,
    planes: NDArray,
    light: NDArray[np.bool_] | None,
    place: tuple[int, int, int],
) -> list[Seen]:
    """The tile at a place; none where no pixel of it carries light."""
    plane, y, x = place
    rows, columns = (
        min(TILE, side - at) for side, at in zip(planes.shape[1:], (y, x), strict=True)
    )
    taken = np.ones(rows * columns, bool)
    if light is not None:
        taken = light[plane, y : y + rows, x : x + columns].ravel()
    if not taken.any():
        return []
    window = window_at(planes[plane], y, x)
    return [Seen(window, (rows, columns), denoiser.estimates(window), taken)]


def _inner(tile: Seen, values: torch.Tensor) -> Float32:
    """Values (..., TILE, TILE) of the pixels that take part, shape (..., pixels)."""
    rows, columns = tile.inside
    inside = np.asarray(values[..., :rows, :columns].numpy()).reshape(*values.shape[:-2], -1)
    return inside if tile.taken.all() else inside[..., tile.taken]


def _learn(
    halves: tuple[Sums, Sums],
    denoiser: PlaneDenoiser,
    drawn: Drawn,
    tile: Seen,
    knots: Float32,
    rng: np.random.Generator,
) -> None:
    """Count in a tile with new noise."""
    level = np.pad(tile.found.centre.numpy(), HALO, mode="symmetric")
    given, wanted = drawn.pair(tile.window, level, rng)
    found = denoiser.estimates(given, louder=1 + ADDED**2)
    inner = slice(HALO, HALO + TILE)
    target = _inner(tile, torch.from_numpy(wanted[inner, inner]) - found.centre).astype(float)
    each = _inner(tile, shares(found.contrast, torch.from_numpy(knots))).astype(float)
    others = _inner(tile, found.others).astype(float)
    differences = (each[:, None] * others).reshape(-1, others.shape[1])
    half = _halves(tile.inside)[tile.taken]
    for number, sums in enumerate(halves):
        sums.add(differences[:, half == number], target[half == number])


def _halves(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Which half of the pixels each belongs to, squares in turn, shape (pixels,)."""
    rows, columns = (np.arange(side) // SQUARE for side in shape)
    return np.asarray((rows[:, None] + columns) % 2).ravel()
