"""`PlanewiseDenoiser`: planes denoised by themselves, by the noise that was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fm2s_stack.auto.filling import fill_tiles
from fm2s_stack.fm2s.blending import shares_at
from fm2s_stack.fm2s.denoiser import Denoised, flattened
from fm2s_stack.fm2s.fit import Fitted, one_thread
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.padding import fill_invalid
from fm2s_stack.fm2s.tiles import Core, Tile
from fm2s_stack.fm2s.unchanged import light_of, put_back
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.plane.brightness import Brightness
from fm2s_stack.plane.denoiser import HALO, PlaneDenoiser, window_at
from fm2s_stack.plane.estimates import COUNT
from fm2s_stack.plane.fit import fit_plane_denoiser
from fm2s_stack.plane.line import variance_line
from fm2s_stack.plane.mixture import KNOTS
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import Auto, NanPolicy, Precision

if TYPE_CHECKING:
    import dask.array as da

Float32 = NDArray[np.float32]
Planes = NDArray[np.generic]
Fits = list[tuple[float, PlaneDenoiser]]  #: those that make a plane, and the share of each

SIZE = 3 + len(KNOTS) + len(KNOTS) * (COUNT - 1)  #: numbers of a fit, as `packed`


@dataclass(frozen=True, eq=False)
class PlanewiseDenoiser:
    """The fits of one channel, each of which makes a plane of itself alone.

    With several fits each has a position along the stack; a plane between two of them gets
    both results, blended linearly, so that no step appears where one takes over.
    """

    weights: Float32  #: of `packed`, shape (fits, SIZE)
    positions: NDArray[np.float64]  #: where along the stack each fit applies, ascending
    noise: NoiseModel  #: of the recording, as measured
    intensity: IntensityMap  #: range of grey levels, by which tolerances are told
    preset: Auto  #: what was asked for
    channel: int = 0  #: index of the channel in the source
    loss: tuple[float, ...] = ()  #: of each fit, as `PlaneDenoiser.loss`
    nan: NanPolicy = "refuse"  #: what happens to pixels that carry no light
    precision: Precision = "float32"  #: the arithmetic; there is no other
    halo: int = HALO  #: pixels to each side that a result depends on

    def with_network(self, weights: Float32) -> PlanewiseDenoiser:
        """The same noise with one fit, for planes anywhere."""
        return replace(self, weights=weights[None], positions=np.zeros(1), loss=())

    def __call__(
        self,
        planes: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
    ) -> Planes:
        """Denoise planes, on the CPU; as calling a `fm2s_stack.fm2s.denoiser.Denoiser`."""
        array = np.asarray(planes)
        flat, where = flattened(array, positions, len(self.weights))
        return self.denoise(flat, where, dtype=dtype).planes.reshape(array.shape)

    def denoise(
        self,
        planes: Planes,
        positions: NDArray[np.float64],
        *,
        core: Core | None = None,
        dtype: DTypeLike | None = None,
    ) -> Denoised:
        """Denoise planes (n, y, x), or the core of planes that were cut with a halo.

        Parameters as for `fm2s_stack.fm2s.denoiser.Denoiser.denoise`.
        """
        own: Core = core or ((0, planes.shape[1]), (0, planes.shape[2]))
        shape = (len(planes), *(stop - start for start, stop in own))
        result = np.empty(shape, np.dtype(dtype or planes.dtype))
        each = zip(planes, positions.tolist(), result, strict=True)
        return Denoised(result, sum(self.fill(plane, at, own, out) for plane, at, out in each))

    def fill(
        self, plane: Planes, position: float, core: Core, result: Planes, pulse: Pulse = unheard
    ) -> int:
        """Denoise the core of one plane into `result`; how many pixels were clipped.

        Parameters
        ----------
        plane
            Grey levels, shape (y, x). Around the core must lie `halo` pixels, fewer only where
            the plane ends.
        position
            Of the plane along the stack.
        core
            Rows and columns that are wanted.
        result
            Of the shape of the core, and the pixel type that is wanted.
        pulse
            Called before each tile; what it raises ends the work.

        Raises
        ------
        NonFinitePixels
            If the plane has NaN, and that is refused or the result's type cannot hold it.
        """
        light = self.light_of(plane, position, pulse)
        shown = plane if light is None else lit(plane, light)
        fits = [(share, self._fit(i)) for i, share in shares_at(self.positions, position)]
        clipped = fill_tiles(
            plane,
            core,
            result,
            lambda tile: _levels(fits, shown, tile),
            self.noise.saturation,
            pulse,
        )
        if light is not None:
            put_back(plane, light, core, result, self._name(position))
        return clipped

    def light_of(
        self, plane: Planes, position: float, pulse: Pulse = unheard
    ) -> NDArray[np.bool_] | None:
        """Which pixels of a plane (y, x) carry light; None: all.

        Raises
        ------
        NonFinitePixels
            If some are NaN or infinite and `nan` is ``refuse``.
        """
        return light_of(plane, self.nan, self._name(position), pulse)

    def map(self, array: da.Array, positions: ArrayLike | None = None) -> da.Array:
        """Denoise a Dask array lazily; as `fm2s_stack.fm2s.denoiser.Denoiser.map`."""
        from fm2s_stack.fm2s.lazy import map_denoiser

        return map_denoiser(self, array, positions)

    def _name(self, position: float) -> str:
        return f"plane {position:g} of channel {self.channel}"

    def _fit(self, number: int) -> PlaneDenoiser:
        return unpacked(self.weights[number], self.noise)


def lit(plane: Planes, light: NDArray[np.bool_]) -> Float32:
    """A plane with what carries no light made up of the nearest pixels that do."""
    return fill_invalid(np.where(light, plane, 0).astype(np.float32), light)


def fit_planewise(
    denoiser: PlanewiseDenoiser,
    planes: Planes,
    light: NDArray[np.bool_] | None,
    seed: int,
    *,
    draws: int,
    progress: Callable[[int, int], None],
    stride: int = 1,
) -> Fitted:
    """Fit to planes of one recording, whose noise the denoiser has.

    Parameters
    ----------
    denoiser
        Of the channel.
    planes
        Noisy grey levels, shape (n, y, x).
    light
        Which of their pixels carry light; None: all.
    seed
        Of the random numbers, from `stream_seed`.
    draws
        Of noise, at most.
    progress, stride
        As for `fm2s_stack.plane.fit_plane_denoiser`.
    """
    shown = planes
    if light is not None:
        shown = np.stack([lit(plane, own) for plane, own in zip(planes, light, strict=True)])
    fitted = fit_plane_denoiser(
        shown, denoiser.noise, seed, stride=stride, light=light, draws=draws, progress=progress
    )
    return Fitted(packed(fitted), fitted.loss)


def packed(fitted: PlaneDenoiser) -> Float32:
    """What was fitted, beside the noise: stride, brightness, knots, weights, shape (SIZE,)."""
    first = [fitted.stride, fitted.brightness.dark, fitted.brightness.factor]
    return np.concatenate([first, fitted.knots, fitted.weights.ravel()], dtype=np.float32)


def unpacked(numbers: Float32, noise: NoiseModel) -> PlaneDenoiser:
    """The denoiser of `packed` numbers and the noise that they were fitted with."""
    stride, dark, factor = numbers[:3].tolist()
    knots, weights = np.split(numbers[3:], [len(KNOTS)])
    return PlaneDenoiser(
        line=variance_line(noise),
        correlation=noise.whole_autocorrelation,
        knots=knots.copy(),
        weights=weights.reshape(len(KNOTS), COUNT - 1).copy(),
        stride=int(stride),
        brightness=Brightness(dark, factor),
    )


def _levels(fits: Fits, plane: Planes, tile: Tile) -> NDArray[np.float64]:
    """A tile of the result, grey levels: the estimates are those of every fit."""
    (top, bottom), (left, right) = tile.rows, tile.columns
    with one_thread(), torch.inference_mode():
        found = fits[0][1].estimates(window_at(plane, top, left))
        made = sum(np.float32(share) * fit.mixture(found) for share, fit in fits)
    return np.asarray(made)[: bottom - top, : right - left].astype(np.float64)
