"""Small recordings that ``-c auto`` denoises plane by plane, and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from fm2s_stack.auto.planewise import PlanewiseDenoiser, fit_planewise
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.noise_model import NoiseModel, measure_image
from fm2s_stack.settings import Auto, FitSettings, NanPolicy, RunSettings

QUICK = FitSettings(Auto(neighbours=0), draws=1)
ALONE = FitSettings(draws=1)
HERE = RunSettings(device="cpu", threads=1)


def cells(shape: tuple[int, ...] = (64, 80), seed: int = 0) -> NDArray[np.uint16]:
    """Bright discs under Poisson noise of gain 10 above an offset of 100."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    scene = 30 + 60 * (((y % 40) - 20) ** 2 + ((x % 40) - 20) ** 2 < 80)
    light = np.random.default_rng(seed).poisson(np.broadcast_to(scene, shape))
    return (light * 10 + 100).astype(np.uint16)


def written(path: Path, pixels: NDArray, axes: str) -> Path:
    """A TIFF of some axes."""
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})
    return path


def pixels_of(output: Path) -> NDArray:
    """Level 0, read by zarr alone."""
    return np.asarray(zarr.open_array(str(output / "s0"), mode="r")[...])


def denoiser_of(
    plane: NDArray,
    noise: NoiseModel | None = None,
    networks: int = 1,
    nan: NanPolicy = "refuse",
) -> PlanewiseDenoiser:
    """A denoiser fitted to a plane, quickly; of several fits, with different seeds."""
    empty = PlanewiseDenoiser(
        weights=np.empty((0, 0), np.float32),
        positions=np.arange(networks) * 10.0,
        noise=noise or measure_image(plane),
        intensity=IntensityMap(0, 1000),
        preset=Auto(neighbours=0),
        nan=nan,
    )
    fits = [
        fit_planewise(
            empty, plane[None], None, seed, draws=1, progress=lambda done, total: None, stride=2
        )
        for seed in range(networks)
    ]
    return PlanewiseDenoiser(**{**vars(empty), "weights": np.stack([f.weights for f in fits])})
