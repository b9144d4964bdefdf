"""The denoisers of an output, loaded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.denoiser import STUDY, NeighbourDenoiser, from_study
from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import SIZE, PlanewiseDenoiser
from fm2s_stack.auto.reach import reach_of
from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.network import COLLAPSED
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.settings import PIXEL_VERSION, Auto, NanPolicy, Precision, Preset
from fm2s_stack.store.attributes import read_attributes, require_complete
from fm2s_stack.store.studies import read_study
from fm2s_stack.store.weights import read_weights, stored_weights_sha256


def load_denoisers(path: str | Path) -> tuple[AnyDenoiser, ...]:
    """The denoisers that made an output, one a channel.

    Parameters
    ----------
    path
        A complete OME-Zarr of `denoise_stack`.

    Raises
    ------
    OutputIncomplete
        If it was never sealed.
    OutputError
        If it is no output of ours, or damaged.
    UsageError
        If every plane of it has a network of its own, which fits no other plane.
    """
    if not Path(path).is_dir():
        raise OutputError(f"{path}: no such output; give an OME-Zarr that fm2s-stack made")
    require_complete(path)
    told = _Told.of(path)
    if told.per_plane:
        raise UsageError(
            f"{path} was made with --fit frame, a network for each plane; "
            "expected one of --fit stack or --fit-every"
        )
    return _stored(path, told)


def load_frozen(path: str | Path) -> tuple[AnyDenoiser, ...]:
    """The denoisers of an output that is being made; without networks in mode ``frame``.

    Raises
    ------
    OutputError
        If they are damaged.
    """
    told, made = _Told.of(path), read_attributes(path)
    if made["settings"]["fit"]["mode"] == "frame":
        size = SIZE if isinstance(told.preset, Auto) else COLLAPSED
        nothing = (np.empty((0, size), np.float32), np.empty(0))
        return tuple(told.denoiser(path, c, *nothing) for c in range(len(told.channels)))
    try:
        if stored_weights_sha256(path) != made["weights_sha256"]:
            raise OutputError(f"{path}: its networks are damaged")
        return _stored(path, told)
    except OutputError as error:
        raise OutputError(
            f"{error}; no whole copy is in its journal: make it anew with --overwrite, since other "
            "networks would give another movie"
        ) from error


def _stored(path: str | Path, told: _Told) -> tuple[AnyDenoiser, ...]:
    stored = read_weights(path)
    positions = stored.knots if len(stored.knots) else np.zeros(1)
    return tuple(
        told.denoiser(
            path,
            i,
            stored.weights[:, i].reshape(-1, stored.weights.shape[-1]),
            positions,
            tuple(stored.loss[:, i].ravel().tolist()),
        )
        for i in range(len(told.channels))
    )


def preset_of(told: Mapping[str, Any]) -> Preset | Auto:
    """The preset, or what stands in its place, from its fields as JSON holds them.

    Raises
    ------
    TypeError
        If they are neither's.
    """
    return Auto(**told) if told.get("name") == Auto.name else Preset(**told)


@dataclass(frozen=True)
class _Told:
    """What the provenance of an output says of its denoisers."""

    preset: Preset | Auto
    channels: tuple[int, ...]
    maps: tuple[IntensityMap, ...]
    noise: tuple[NoiseModel | None, ...]
    nan: NanPolicy
    per_plane: bool
    precision: Precision

    def denoiser(
        self,
        path: str | Path,
        i: int,
        weights: NDArray[np.float32],
        positions: NDArray[np.float64],
        loss: tuple[float, ...] = (),
    ) -> AnyDenoiser:
        """The denoiser of the i-th channel."""
        noise, auto = self.noise[i], self.preset
        common: dict[str, Any] = {
            "weights": weights,
            "positions": positions,
            "intensity": self.maps[i],
            "preset": auto,
            "channel": self.channels[i],
            "loss": loss,
            "nan": self.nan,
            "precision": self.precision,
        }
        if not isinstance(auto, Auto):
            return Denoiser(**common)
        if noise is None:
            return LeftAlone(**common)
        if auto.alone:
            return PlanewiseDenoiser(noise=noise, **common)
        return NeighbourDenoiser(
            noise=noise,
            reach=reach_of(auto.neighbours or 0, causal=auto.causal),
            **from_study(read_study(path, i, STUDY)),
            **common,
        )

    @classmethod
    def of(cls, path: str | Path) -> _Told:
        told = read_attributes(path)
        try:
            preset = preset_of(told["preset"])
            if isinstance(preset, Auto) and told["pixel_version"] != PIXEL_VERSION:
                raise OutputError(
                    f"{path}: its networks are of -c auto in pixel version "
                    f"{told['pixel_version']}, expected {PIXEL_VERSION}, that of this fm2s-stack; "
                    "make it anew, or use the fm2s-stack it was made with"
                )
            selection, fit = told["selection"], told["settings"]["fit"]
            write = told["settings"]["write"]
            spans = (selection["frames"], selection["slices"])
            return cls(
                preset=preset,
                channels=tuple(selection["channels"]),
                maps=tuple(
                    IntensityMap(m["low"], m["high"], m["clamp"]) for m in told["intensity"]
                ),
                noise=tuple(
                    None if n is None else NoiseModel.from_json(n)
                    for n in told.get("noise", [None] * len(selection["channels"]))
                ),
                nan=fit["nan"],
                per_plane=fit["mode"] == "frame" and any(b - a > 1 for a, b in spans),
                precision=write.get("precision", "float32"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path}: its provenance is damaged ({error}); make it anew"
            ) from error
