"""Noise models, scenes and denoisers for the tests of ``-c auto``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, flat_background
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.numbers import packed
from fm2s_stack.auto.reach import Reach
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.model import REACH
from fm2s_stack.settings import Auto, NanPolicy, Precision

Float = NDArray[np.float64]


def lags(told: Mapping[tuple[int, int], float] | None = None) -> Float:
    """The autocorrelation with these values at lags (dy, dx), dy not below 0."""
    rho = np.zeros((REACH + 1, 2 * REACH + 1))
    rho[0, REACH] = 1
    for (dy, dx), value in (told or {}).items():
        rho[dy, REACH + dx] = value
        if dy == 0:
            rho[0, REACH - dx] = value
    return rho


def noise_of(
    gain: float = 0.0,
    intercept: float = 100.0,
    rho: Float | None = None,
    mean_level: float = 100.0,
    saturation: float | None = None,
) -> NoiseModel:
    """A noise model as if it had been measured."""
    table = lags() if rho is None else rho
    return NoiseModel(
        gain=gain,
        intercept=intercept,
        floor=1e-3,
        autocorrelation=tuple(map(tuple, table.tolist())),
        gain_error=0.0,
        intercept_error=0.0,
        correlation_error=0.0,
        level_range=(0.0, 1000.0),
        mean_level=mean_level,
        method="frame differences",
        frames=10,
        pixels=1000,
        saturation=saturation,
    )


def some_weights(planes: int, seed: int = 0, strength: float = 0.02) -> NDArray[np.float32]:
    """The fit of a network that does add something, for windows of so many planes."""
    stream = torch.Generator().manual_seed(seed)
    flat = network.initial_parameters(channel_count(planes), stream)
    return packed((flat + strength * torch.randn(flat.shape, generator=stream)).numpy(), 0.3)


def denoiser_of(
    networks: int = 1,
    positions: tuple[float, ...] = (0.0,),
    background: Background | None = None,
    noise: NoiseModel | None = None,
    reach: Reach | None = None,
    nan: NanPolicy = "refuse",
    precision: Precision = "float32",
) -> NeighbourDenoiser:
    """A denoiser of networks that nothing was trained into."""
    reach = reach or Reach(1, 1)
    return NeighbourDenoiser(
        weights=np.stack([some_weights(reach.count, seed) for seed in range(networks)]),
        positions=np.array(positions),
        background=background or flat_background(100.0),
        noise=noise or noise_of(),
        reach=reach,
        intensity=IntensityMap(0, 1000),
        preset=Auto(neighbours=reach.after),
        nan=nan,
        precision=precision,
    )


def movie(shape: tuple[int, int, int] = (6, 40, 50), dtype: str = "float32") -> NDArray:
    """Planes of photons."""
    return np.random.default_rng(0).poisson(100, shape).astype(dtype)


def require_near(samples: NDArray[np.floating], expected: float, slack: float = 0.0) -> None:
    """Assert that the mean of independent samples is as expected but for sampling error."""
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    assert abs(samples.mean() - expected) < 4.5 * error + slack, (samples.mean(), expected, error)
