"""The network: parameters, receptive field, collapse, tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from fm2s_stack.fm2s import network
from fm2s_stack.fm2s.apply import apply_network


def parameters(amplification: int, seed: int = 0) -> torch.Tensor:
    return network.initial_parameters(amplification, torch.Generator().manual_seed(seed))


def weights(seed: int = 0) -> np.ndarray:
    return network.collapse(parameters(1, seed), 1).numpy()


def as_module(flat: torch.Tensor, amplification: int) -> nn.Module:
    """The same network put together from torch's own layers."""
    a = amplification
    module = nn.Sequential(
        nn.Conv2d(a, 24, 5, padding="same"),
        nn.LeakyReLU(1e-3),
        nn.Conv2d(24, 12, 3, padding="same"),
        nn.LeakyReLU(1e-3),
        nn.Conv2d(12, a, 5, padding="same"),
    )
    nn.utils.vector_to_parameters(flat, module.parameters())
    return module


def by_scipy(flat: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """The collapsed network in double precision, by correlation with zeros outside."""
    maps = [plane.astype(np.float64)]
    stages = network.layers(torch.from_numpy(flat), 1)
    for stage, (kernel, bias) in enumerate(stages):
        k, b = kernel.numpy().astype(np.float64), bias.numpy().astype(np.float64)
        maps = [
            b[o] + sum(ndimage.correlate(m, k[o, i], mode="constant") for i, m in enumerate(maps))
            for o in range(len(k))
        ]
        if stage < 2:
            maps = [np.where(m > 0, m, 1e-3 * m) for m in maps]
    return maps[0]


@pytest.mark.parametrize(("amplification", "count"), [(1, 3529), (2, 4430)])
def test_the_number_of_parameters_is_the_published_one(amplification, count):
    assert network.parameter_count(amplification) == count
    assert len(parameters(amplification)) == count


@pytest.mark.parametrize("amplification", [1, 2, 6])
def test_the_flat_network_equals_one_built_of_torch_layers(amplification):
    flat = parameters(amplification)
    planes = torch.rand(2, amplification, 20, 31)
    with torch.no_grad():
        torch.testing.assert_close(
            network.forward(flat, planes), as_module(flat, amplification)(planes)
        )


@pytest.mark.parametrize("amplification", [2, 6])
def test_the_collapsed_network_equals_the_mean_over_amplified_channels(amplification):
    flat = parameters(amplification)
    plane = torch.rand(1, 1, 33, 40)
    with torch.no_grad():
        amplified = network.forward(flat, plane.expand(-1, amplification, -1, -1)).mean(1)
        collapsed = network.forward(network.collapse(flat, amplification), plane)[:, 0]
    torch.testing.assert_close(collapsed, amplified, atol=1e-6, rtol=1e-5)


def test_a_pixel_reaches_exactly_five_pixels_to_each_side():
    plane = np.random.default_rng(0).random((41, 41), np.float32)
    touched = plane.copy()
    touched[20, 20] += 10
    whole = ((0, 41), (0, 41))
    change = apply_network(weights(), touched, whole) - apply_network(weights(), plane, whole)
    rows, columns = np.nonzero(change)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 25, 15, 25)
    assert network.HALO == 5


@pytest.mark.parametrize("shape", [(7, 9), (64, 300), (256, 256), (257, 261), (520, 31)])
def test_tiles_join_to_what_scipy_computes_over_the_whole_plane(shape):
    plane = np.random.default_rng(1).random(shape, np.float32)
    result = apply_network(weights(), plane, ((0, shape[0]), (0, shape[1])))
    np.testing.assert_allclose(result, by_scipy(weights(), plane), atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(257, 700),
    columns=st.integers(5, 60),
    cut=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_a_plane_cut_with_the_halo_gives_the_same_bits_as_the_whole(rows, columns, cut, seed):
    plane = np.random.default_rng(seed).random((rows, columns), np.float32)
    whole = apply_network(weights(seed), plane, ((0, rows), (0, columns)))
    start = min(256 * cut, (rows - 1) // 256 * 256)
    part = plane[start - network.HALO :]
    core = ((network.HALO, len(part)), (0, columns))
    assert np.array_equal(
        apply_network(weights(seed), np.ascontiguousarray(part), core), whole[start:]
    )


def test_initial_parameters_are_spread_as_torch_spreads_them():
    flat = torch.cat([parameters(6, seed) for seed in range(30)]).view(30, -1)
    kernel = flat[:, : 24 * 6 * 25]
    bound = 1 / (6 * 25) ** 0.5
    assert kernel.abs().max() <= bound
    assert abs(float(kernel.std()) - bound / 3**0.5) < 0.01 * bound
