"""`Denoiser`: trained networks with their intensity map, callable on planes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fm2s_stack.errors import UnsupportedPixels
from fm2s_stack.fm2s import network
from fm2s_stack.fm2s.apply import apply_network
from fm2s_stack.fm2s.blending import shares_at
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.padding import fill_invalid
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.fm2s.unchanged import light_of, put_back
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import NanPolicy, Precision, Preset

if TYPE_CHECKING:
    import dask.array as da


class Denoised(NamedTuple):
    """Denoised planes and how many of their pixels were clipped to the dtype."""

    planes: NDArray[np.generic]  #: shape (n, y, x)
    clipped: int  #: pixels beyond the range of the dtype


@dataclass(frozen=True, eq=False)
class Denoiser:
    """The networks of one channel, and what is needed to use them.

    With several networks each has a position along the stack; a plane between two of them
    gets both results, blended linearly, so that no step appears where one takes over.
    """

    weights: NDArray[np.float32]  #: collapsed parameters, shape (networks, 3529)
    positions: NDArray[np.float64]  #: where along the stack each network applies, ascending
    intensity: IntensityMap  #: grey levels to the unit scale and back
    preset: Preset  #: the noise it was trained against
    channel: int = 0  #: index of the channel in the source
    loss: tuple[float, ...] = ()  #: final training loss of each network
    nan: NanPolicy = "refuse"  #: what happens to pixels that carry no light
    precision: Precision = "float32"  #: arithmetic of the networks
    halo: int = network.HALO  #: pixels to each side that a result depends on

    def with_network(self, weights: NDArray[np.float32]) -> Denoiser:
        """The same intensity map and preset with one network, for planes anywhere."""
        return replace(self, weights=weights[None], positions=np.zeros(1), loss=())

    def __call__(
        self,
        planes: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        device: str = "cpu",
    ) -> NDArray[np.generic]:
        """Denoise planes.

        Parameters
        ----------
        planes
            Grey levels, shape (..., y, x).
        positions
            Position of each plane along the stack (its source index), shape of `planes`
            without y and x. Needed when there are several networks.
        dtype
            Pixel type of the result; None: that of `planes`.
        device
            ``cpu`` or ``cuda:N``.

        Returns
        -------
        ndarray
            Shape of `planes`; integers rounded and clipped to `dtype`, never wrapped.

        Raises
        ------
        ValueError
            If there are several networks and no positions.
        NonFinitePixels
            If a plane has NaN or infinity and `nan` is ``refuse``.
        """
        array = np.asarray(planes)
        flat, where = flattened(array, positions, len(self.weights))
        result = self.denoise(flat, where, dtype=dtype, device=device)
        return result.planes.reshape(array.shape)

    def denoise(
        self,
        planes: NDArray[np.generic],
        positions: NDArray[np.float64],
        *,
        core: Core | None = None,
        dtype: DTypeLike | None = None,
        device: str = "cpu",
        pulse: Pulse = unheard,
    ) -> Denoised:
        """Denoise planes, or the core of planes that were cut with a halo.

        Parameters
        ----------
        planes
            Grey levels, shape (n, y, x).
        positions
            Of each plane along the stack, shape (n,).
        core
            Rows and columns of `planes` that are wanted; None: all. Around it must lie
            `halo` pixels, fewer only where the plane ends.
        dtype, device
            As for calling.
        pulse
            Called before each plane, and each row of tiles in it; what it raises ends the work.
        """
        own: Core = core or ((0, planes.shape[1]), (0, planes.shape[2]))
        shape = (len(planes), *(stop - start for start, stop in own))
        result = np.empty(shape, np.dtype(dtype or planes.dtype))
        clipped = self.denoise_into(planes, positions, own, result, device, pulse)
        return Denoised(result, clipped)

    def denoise_into(
        self,
        planes: NDArray[np.generic],
        positions: NDArray[np.float64],
        core: Core,
        result: NDArray[np.generic],
        device: str = "cpu",
        pulse: Pulse = unheard,
    ) -> int:
        """Denoise the core of planes into `result`; how many pixels were clipped.

        Parameters as for `denoise`; `result` has the shape of the core of every plane, and the
        pixel type that is wanted.
        """
        if device == "cpu":
            return sum(
                self.fill(plane, positions[i], core, result[i], pulse)
                for i, plane in enumerate(planes)
            )
        from fm2s_stack.fm2s.device_batches import denoise_batches

        self._require_range(planes.dtype)
        return denoise_batches(self, planes, positions, core, result, device, pulse)

    def _require_range(self, dtype: np.dtype) -> None:
        if self.intensity.clamp and dtype != np.uint8:
            raise UnsupportedPixels(
                f"a denoiser of 8-bit pixels was given {dtype}, of which it would hold "
                "all within 0 to 255; fit one on pixels of that type"
            )

    def fill(
        self,
        plane: NDArray[np.generic],
        position: float,
        core: Core,
        result: NDArray[np.generic],
        pulse: Pulse = unheard,
    ) -> int:
        """Denoise the core of one plane on the CPU into `result`; how many pixels were clipped.

        Parameters as for `denoise`, of one plane.
        """
        pulse()
        self._require_range(plane.dtype)
        valid = self.valid(plane, position, pulse)
        unit = self.unit_plane(plane, valid, pulse)
        mixed = [
            (
                share,
                apply_network(self.weights[i], unit, core, precision=self.precision, pulse=pulse),
            )
            for i, share in self.shares(position)
        ]
        if len(mixed) == 1:
            blended = mixed[0][1]
        else:
            blended = sum(np.float32(share) * part for share, part in mixed)  # type: ignore[assignment]
        result[...], clipped = self.intensity.from_unit(blended, result.dtype)
        if valid is not None:
            self.put_back(plane, valid, position, core, result)
        return clipped

    def unit_plane(
        self, plane: NDArray[np.generic], valid: NDArray[np.bool_] | None, pulse: Pulse
    ) -> NDArray[np.float32]:
        """A plane on the unit scale, with its invalid pixels made up."""
        unit = self.intensity.to_unit(plane)
        if valid is None:
            return unit
        pulse()
        return fill_invalid(np.where(valid, unit, 0), valid)

    def put_back(
        self,
        plane: NDArray[np.generic],
        valid: NDArray[np.bool_],
        position: float,
        core: Core,
        result: NDArray[np.generic],
    ) -> None:
        """Give the invalid pixels of a result their own values again."""
        put_back(plane, valid, core, result, self._name(position))

    def valid(
        self, plane: NDArray[np.generic], position: float, pulse: Pulse
    ) -> NDArray[np.bool_] | None:
        """Which pixels of a plane carry light; None: all.

        Raises
        ------
        NonFinitePixels
            If some are NaN or infinite and `nan` is ``refuse``.
        """
        return light_of(plane, self.nan, self._name(position), pulse)

    def shares(self, position: float) -> list[tuple[int, float]]:
        """The networks that make a plane at the position, and the share of each."""
        return shares_at(self.positions, position)

    def _name(self, position: float) -> str:
        return f"plane {position:g} of channel {self.channel}"

    def map(self, array: da.Array, positions: ArrayLike | None = None) -> da.Array:
        """Denoise a Dask array lazily, with any scheduler.

        Parameters
        ----------
        array
            Grey levels, shape (..., y, x), chunked in any way. Chunks in y and x become
            multiples of 256 and get the exact halo, so that they never show in the result.
        positions
            Of the planes, as for calling.
        """
        from fm2s_stack.fm2s.lazy import map_denoiser

        return map_denoiser(self, array, positions)


def flattened(
    planes: NDArray[np.generic], positions: ArrayLike | None, networks: int
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Planes (..., y, x) as (n, y, x), and the position of each.

    Raises
    ------
    ValueError
        If there are several networks and no positions, or not one a plane.
    """
    flat = planes.reshape(-1, *planes.shape[-2:])
    if positions is None and networks > 1:
        raise ValueError(f"{networks} networks: positions of the planes are needed")
    where = np.zeros(len(flat)) if positions is None else np.ravel(np.asarray(positions, float))
    if len(where) != len(flat):
        raise ValueError(f"{len(where)} positions for {len(flat)} planes")
    return flat, where
