"""`NeighbourDenoiser`: a trained network with the background and noise it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.channels import Scale, channel_count, channels_of, mean_of
from fm2s_stack.auto.components import BLOCK, Components, no_components
from fm2s_stack.auto.cut import cut, mirrored, widened, within
from fm2s_stack.auto.filling import fill_tiles
from fm2s_stack.auto.folds import Folds, no_folds
from fm2s_stack.auto.level_map import LevelMap
from fm2s_stack.auto.numbers import unpacked
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.seen import Planes, Seen
from fm2s_stack.fm2s.blending import shares_at
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.tiles import Core, Tile
from fm2s_stack.fm2s.unchanged import light_of, put_back
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import Auto, NanPolicy, Precision

HALO = max(network.HALO, BLOCK)  #: of cuts on the grid of tiles, which is one of blocks too


STUDY = (
    "background",
    "background_positions",
    "background_lines",
    "background_map",
    "component_ranks",
    "components",
    "light",
)


def from_study(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What a `NeighbourDenoiser` knows of a recording, from its `study`."""
    mean, positions, lines, shifts, ranks, bases, light = (arrays[name] for name in STUDY)
    return {
        "background": Background(mean, positions, lines, LevelMap(*shifts)),
        "components": Components(ranks, bases),
        "light": light,
    }


@dataclass(frozen=True, eq=False)
class _Network:
    """One that makes a plane, or a part of it."""

    kernels: network.Kernels
    heed: float  #: of the plane itself, as `Components.heeded`
    light: float  #: added everywhere, deviations of the noise
    share: float  #: of its result in the plane


@dataclass(frozen=True, eq=False)
class NeighbourDenoiser:
    """The networks of one channel, which make a plane of itself and its neighbours.

    With several networks each has a position along the stack; a plane between two of them
    gets both results, blended linearly, so that no step appears where one takes over.
    """

    weights: NDArray[np.float32]  #: what was fitted, shape (networks, fit_size)
    positions: NDArray[np.float64]  #: where along the stack each network applies, ascending
    background: Background  #: of the recording
    noise: NoiseModel  #: of the recording, as measured
    reach: Reach  #: planes that a plane is made of
    intensity: IntensityMap  #: range of grey levels, by which tolerances are told
    preset: Auto  #: what was asked for
    channel: int = 0  #: index of the channel in the source
    loss: tuple[float, ...] = ()  #: final training loss of each network
    nan: NanPolicy = "refuse"  #: what happens to pixels that carry no light
    precision: Precision = "float32"  #: arithmetic of the networks
    components: Components = field(default_factory=no_components)  #: of the recording
    light: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  #: what each of lent
    #: networks loses here, deviations of the noise; empty for those trained here, which have it
    folds: Folds = field(default_factory=no_folds)  #: components to train with; not stored
    halo: int = HALO  #: pixels to each side that a result depends on

    @property
    def study(self) -> dict[str, NDArray[Any]]:
        """What is known of the recording as a whole, as arrays named as in `STUDY`."""
        return {
            "background": self.background.mean,
            "background_positions": self.background.positions,
            "background_lines": self.background.lines,
            "background_map": self.background.level_map.as_array(),
            "component_ranks": self.components.ranks,
            "components": self.components.bases,
            "light": self.light,
        }

    def __call__(
        self,
        planes: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        device: str = "cpu",
    ) -> Planes:
        """Denoise planes that follow each other.

        Parameters
        ----------
        planes
            Grey levels, shape (n, y, x), whole planes.
        positions
            Of each along the stack (its source index), shape (n,); None: from 0 on.
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
        NonFinitePixels
            If a plane has NaN or infinity and `nan` is ``refuse``.
        """
        array = np.asarray(planes)
        where = np.arange(len(array)) if positions is None else np.asarray(positions)
        light = [self.light_of(plane, at) for plane, at in zip(array, where.tolist(), strict=True)]
        result = np.empty(array.shape, np.dtype(dtype or array.dtype))
        core = ((0, array.shape[1]), (0, array.shape[2]))
        for i, at in enumerate(where.tolist()):
            seen = Seen.of(self.reach.window(i, (0, len(array))), array, light)
            self.fill(seen, Place(at), core, result[i], device)
        return result

    def fill(
        self,
        window: Seen,
        place: Place,
        core: Core,
        result: Planes,
        device: str = "cpu",
        pulse: Pulse = unheard,
    ) -> int:
        """Denoise the core of one plane into `result`; how many pixels were clipped.

        Parameters
        ----------
        window
            The plane and its neighbours.
        place
            Where the plane is.
        core
            Rows and columns of the planes that are wanted. Around it must lie `halo` pixels,
            fewer only where the plane ends.
        result
            Of the shape of the core, and the pixel type that is wanted.
        device
            ``cpu`` or ``cuda:N``.
        pulse
            Called before each tile; what it raises ends the work.

        Raises
        ------
        NonFinitePixels
            If the plane has NaN and the result's type cannot hold it.
        """
        own_plane, light = window.planes[0], window.light[0]
        networks = [
            self._network(i, share, device)
            for i, share in shares_at(self.positions, place.position)
        ]
        clipped = fill_tiles(
            own_plane,
            core,
            result,
            lambda tile: self._levels(window, place, tile, networks),
            self.noise.saturation,
            pulse,
        )
        if light is not None:
            put_back(own_plane, light, core, result, self._name(place.position))
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

    def _name(self, position: float) -> str:
        return f"plane {position:g} of channel {self.channel}"

    def _network(self, number: int, share: float, device: str) -> _Network:
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        weights, heed = unpacked(self.weights[number])
        flat = torch.from_numpy(weights.copy()).to(device, dtype)
        found = network.layers(flat, channel_count(self.reach.count))
        kernels = [
            (kernel.contiguous(memory_format=torch.channels_last), bias) for kernel, bias in found
        ]
        light = float(self.light[number]) if len(self.light) else 0.0
        return _Network(kernels, heed, light, share)

    def _levels(
        self,
        window: Seen,
        place: Place,
        tile: Tile,
        networks: list[_Network],
    ) -> NDArray[np.float64]:
        """A tile of the result, grey levels."""
        y, x = (
            cut(own, size, network.HALO, network.SQUARE)
            for own, size in zip((tile.rows, tile.columns), window.planes.shape[1:], strict=True)
        )
        scale, shown = self._shown(window, place, (y.read, x.read))
        tensor = torch.from_numpy(mirrored(shown, y, x))
        inner = within(slice(*tile.rows), y.read), within(slice(*tile.columns), x.read)
        own, corner = shown[0][inner], (tile.rows[0], tile.columns[0])
        origin = (place.origin[0] + corner[0], place.origin[1] + corner[1])
        made = np.zeros(own.shape, np.float32)
        for each in networks:
            part = self._run(each.kernels, tensor)[: own.shape[0], : own.shape[1]]
            heeded = self.components.heeded(own, part, each.heed, place.other, origin)
            made += np.float32(each.share) * (heeded + np.float32(each.light))
        return scale.part(inner).levels(made)

    def _shown(
        self, window: Seen, place: Place, read: tuple[slice, slice]
    ) -> tuple[Scale, NDArray[np.float32]]:
        """The scale of a part of the plane, and what the network is shown of it."""
        wide = [
            widened(part, n, BLOCK) for part, n in zip(read, window.planes.shape[1:], strict=True)
        ]
        scale = Scale.of(self.background.at(place, *wide), self.noise)
        deviations = scale.deviations(window.planes[:, *wide])
        for deviation, valid in zip(deviations, window.light, strict=True):
            if valid is not None:
                deviation[~valid[*wide]] = 0
        deviations[list(window.absent)] = 0
        near, past = np.split(deviations, [len(deviations) - window.past])
        origin = (place.origin[0] + wide[0].start, place.origin[1] + wide[1].start)
        inner = (within(read[0], wide[0]), within(read[1], wide[1]))
        projected = [
            self.components.project(plane, place.other, origin)[inner]
            for plane in (near[0], mean_of(past))
        ]
        part = scale.part(inner)
        return part, channels_of(near[:, *inner], part, window.missing, projected)

    def _run(self, kernels: network.Kernels, shown: Tensor) -> NDArray[np.float32]:
        kernel = kernels[0][0]
        with one_thread(), torch.no_grad():
            made = network.run(kernels, shown[None].to(kernel.device, kernel.dtype))
        return made[0].float().cpu().numpy()
