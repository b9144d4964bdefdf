"""The network of ``-c auto``, and the denoiser that runs it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from auto_tools import denoiser_of, movie, noise_of, some_weights

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.components import BLOCK, Components
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.numbers import packed
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.seen import Seen
from fm2s_stack.errors import NonFinitePixels, StoppedEarly
from fm2s_stack.fm2s.tiles import TILE

HALO = network.HALO


def kernels_of(planes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return network.layers(torch.from_numpy(some_weights(planes)[:-1]), channel_count(planes))


@pytest.mark.parametrize("planes", [1, 3, 9])
def test_every_parameter_belongs_to_one_layer(planes):
    channels = channel_count(planes)
    flat = torch.arange(network.parameter_count(channels), dtype=torch.float64)
    layers = network.layers(flat, channels)
    parts = [part for layer in layers for part in layer]
    assert torch.equal(torch.cat([part.reshape(-1) for part in parts]), flat)
    assert [part.shape[0] for part in parts] == [network.WIDTH] * 6 + [4] * 2
    assert layers[0][0].shape[1:] == (4 * channels, 3, 3)


def test_layers_are_views_of_the_flat_parameters():
    flat = torch.zeros(network.parameter_count(5))
    for kernel, bias in network.layers(flat, 5):
        kernel += 1
        bias += 1
    assert bool((flat == 1).all())


@pytest.mark.parametrize(("y", "x"), [(2, 2), (6, 10)])
def test_the_result_has_the_pixels_within_the_halo(y, x):
    got = network.run(kernels_of(3), torch.zeros(4, channel_count(3), y + 2 * HALO, x + 2 * HALO))
    assert got.shape == (4, y, x)


def test_a_square_depends_on_itself_and_the_halo_and_on_no_other_pixel():
    planes = torch.randn(1, channel_count(3), 6 + 2 * HALO, 8 + 2 * HALO, requires_grad=True)
    result = network.run(kernels_of(3), planes)
    square = result[0, 2:4, 4:6].sum()
    (gradient,) = torch.autograd.grad(square, planes)
    touched = np.zeros(planes.shape[2:], bool)
    touched[2 : 4 + 2 * HALO, 4 : 6 + 2 * HALO] = True
    for channel in gradient[0].numpy():
        np.testing.assert_array_equal(channel != 0, touched)


def test_before_training_the_network_adds_nothing_but_keeps_the_variance_within():
    flat = network.initial_parameters(5, torch.Generator().manual_seed(1))
    planes = torch.randn(2, 5, 40, 40, generator=torch.Generator().manual_seed(2))
    kernels = network.layers(flat, 5)
    assert bool((network.run(kernels, planes) == 0).all())
    for kernel, _ in kernels[:-1]:
        fan_in = kernel[0].numel()
        assert abs(float(kernel.var()) * fan_in / 2 - 1) < 0.05


def uneven(shape: tuple[int, int, int], planes: int = 2) -> Background:
    """A background that differs from pixel to pixel."""
    rng = np.random.default_rng(3)
    levels = rng.uniform(60, 140, (1, *shape[1:])).astype(np.float32)
    lines = np.stack([np.linspace(0, 9, planes), np.linspace(1, 0.7, planes)], axis=-1)
    return Background(levels, np.linspace(0, 5, planes), lines[:, None])


def some_components(shape: tuple[int, int, int]) -> Components:
    """Components of every block of a plane, as many as chance has it."""
    rng = np.random.default_rng(4)
    ranks = rng.integers(0, 4, (1, *(-(-side // BLOCK) for side in shape[1:])))
    return Components(ranks, rng.normal(0, 0.03, (ranks.sum(), BLOCK, BLOCK)).astype(np.float16))


def untrained(**told) -> NeighbourDenoiser:
    made = denoiser_of(**told)
    flat = network.initial_parameters(channel_count(made.reach.count), torch.Generator())
    return replace(made, weights=packed(flat.numpy(), 0.0)[None])


@pytest.mark.parametrize("shape", [(6, 21, 33), (6, TILE + 9, TILE + 4)])
def test_an_untrained_network_returns_the_background(shape):
    planes = movie(shape)
    background = uneven(planes.shape)
    got = untrained(background=background, noise=noise_of(2.0, 5.0))(planes, dtype="float64")
    for t in range(6):
        level = 9 * t / 5 + (1 - 0.3 * t / 5) * background.mean[0]
        np.testing.assert_allclose(got[t], level, rtol=1e-5)


def test_what_is_added_is_in_units_of_the_noise_at_the_background():
    made = untrained(background=uneven((1, 8, 8), 1), noise=noise_of(2.0, 5.0))
    flat = torch.from_numpy(made.weights[0, :-1])
    network.layers(flat, channel_count(3))[-1][1][:] = 1.0  # adds one deviation everywhere
    got = made(movie((3, 8, 8)), dtype="float64")
    level = made.background.mean[0].astype(float)
    np.testing.assert_allclose(got, [level + np.sqrt(2 * level + 5)] * 3, rtol=1e-5)


@pytest.mark.parametrize(
    "shape", [(3, 2 * TILE + 8, 300), (3, TILE + 1, 2 * TILE + 3), (3, 5, 2 * TILE), (3, 515, 7)]
)
def test_a_plane_cut_on_the_grid_has_the_bits_of_the_whole_plane(shape):
    planes = movie(shape)
    made = denoiser_of(background=uneven(shape), noise=noise_of(2.0, 5.0))
    made = replace(made, components=some_components(shape))
    whole = made(planes, [4, 5, 6])
    rows, columns = shape[1:]
    for top in range(0, rows, TILE):
        for left in range(0, columns, TILE):
            bottom, right = min(top + TILE, rows), min(left + TILE, columns)
            first = max(top - made.halo, 0), max(left - made.halo, 0)
            read = slice(first[0], bottom + made.halo), slice(first[1], right + made.halo)
            core = ((top - first[0], bottom - first[0]), (left - first[1], right - first[1]))
            result = np.empty((bottom - top, right - left), "float32")
            seen = Seen(planes[[1, 0, 2, 0], *read], (None,) * 4, past=1)
            made.fill(seen, Place(5, 0, first), core, result)
            np.testing.assert_array_equal(result, whole[1, top:bottom, left:right])


@pytest.mark.parametrize(("rows", "columns"), [(9, 13), (1, 1), (3, 40), (300, 2)])
def test_any_plane_is_denoised_as_if_its_mirror_image_lay_around_it(rows, columns):
    planes = movie((3, rows, columns))
    got = denoiser_of()(planes, dtype="float64")[1]
    around = ((0, 0), (HALO, HALO + rows % 2), (HALO, HALO + columns % 2))
    mirrored = np.pad((planes[[1, 0, 2]] - 100) / 10, around, mode="symmetric")
    told = np.zeros((4, *mirrored.shape[1:]))  # brightness, missing, components of two
    shown = torch.from_numpy(np.concatenate([mirrored, told]).astype("float32"))
    made = network.run(kernels_of(3), shown[None])[0].numpy()
    np.testing.assert_allclose(got, 100 + 10 * made[:rows, :columns], rtol=1e-5, atol=1e-3)


def test_saturated_pixels_stay_as_they_are_and_others_do_not():
    planes = movie()
    made = denoiser_of(noise=noise_of(saturation=110.0))
    got, free = made(planes), denoiser_of()(planes)
    assert (planes >= 110).any()
    np.testing.assert_array_equal(got, np.where(planes >= 110, planes, free))


def test_pixels_that_are_kept_come_back_and_spoil_no_others():
    planes = movie((5, 40, 50))
    planes[2, 20, 30], planes[2, 5, 5] = np.nan, np.inf
    clean = np.where(np.isfinite(planes), planes, 100)  # the background: nothing is known there
    got = denoiser_of(nan="keep")(planes)
    expected = denoiser_of()(clean)
    expected[2, 20, 30], expected[2, 5, 5] = np.nan, np.inf
    np.testing.assert_array_equal(got, expected)


def test_padding_comes_back_and_touches_no_others():
    planes = movie((3, 40, 50))
    planes[:, :, :9] = 0
    got = denoiser_of(nan="keep")(planes)
    np.testing.assert_array_equal(got[:, :, :9], 0)
    planes[:, :, :9] = 100
    np.testing.assert_array_equal(got[:, :, 9:], denoiser_of()(planes)[:, :, 9:])


def test_nan_is_refused_with_its_plane_named():
    planes = movie()
    planes[3, 2, 2] = np.nan
    with pytest.raises(NonFinitePixels, match="plane 7 of channel 0"):
        denoiser_of()(planes, np.arange(4, 10))
    with pytest.raises(NonFinitePixels, match="uint16 cannot hold"):
        denoiser_of(nan="keep")(planes, dtype="uint16")


def test_a_plane_between_two_networks_blends_them_linearly():
    planes = movie((1, 40, 50))
    both = denoiser_of(2, (10.0, 20.0))
    first, second = (
        replace(both, weights=both.weights[[i]], positions=np.zeros(1))(planes, dtype="float64")
        for i in (0, 1)
    )
    assert np.abs(first - second).max() > 1
    for position, share in [(0, 0), (10, 0), (12.5, 0.25), (19, 0.9), (20, 1), (99, 1)]:
        got = both(planes, [position], dtype="float64")
        np.testing.assert_allclose(got, (1 - share) * first + share * second, atol=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_integers_are_rounded_and_clipped_and_the_clipped_counted(dtype):
    planes = movie((3, 30, 400)) * 100 - 9900
    made = denoiser_of(noise=noise_of(intercept=1e6))
    light, core = (None,) * 3, ((0, 30), (0, 400))
    exact = np.empty((30, 400))
    assert made.fill(Seen(planes, light), Place(0), core, exact) == 0
    result = np.empty((30, 400), dtype)
    clipped = made.fill(Seen(planes, light), Place(0), core, result)
    limits = np.iinfo(dtype)
    np.testing.assert_array_equal(result, np.rint(exact).clip(limits.min, limits.max))
    assert clipped == np.count_nonzero(
        (np.rint(exact) < limits.min) | (np.rint(exact) > limits.max)
    )
    assert (clipped > 0) == (dtype != "int16")


@pytest.mark.parametrize("reach", [Reach(0, 0), Reach(1, 1), Reach(2, 2), Reach(2, 0)])
def test_a_plane_is_made_of_its_window_and_of_nothing_else(reach):
    planes = movie((9, 20, 20))
    made = denoiser_of(reach=reach)
    before = made(planes)
    for changed in range(9):
        other = planes.copy()
        other[changed] += 50
        got = made(other)
        for t in range(9):
            is_part = changed in reach.window(t, (0, 9)).planes
            assert (got[t] != before[t]).any() == is_part


def test_of_what_lies_in_components_a_plane_is_made_of_those_before_it_too():
    planes = movie((9, 40, 40))
    made = replace(denoiser_of(reach=Reach(1, 1)), components=some_components((9, 40, 40)))
    before = made(planes)
    for changed in range(9):
        other = planes.copy()
        other[changed] += np.random.default_rng(1).normal(0, 50, (40, 40)).astype(np.float32)
        got = made(other)
        for t in range(9):
            window = made.reach.window(t, (0, 9))
            is_part = changed in (*window.planes, *window.past)
            assert (got[t] != before[t]).any() == is_part


def test_missing_planes_are_told_to_the_network():
    planes = np.repeat(movie((1, 20, 20)), 3, axis=0)
    first, middle, _ = denoiser_of()(planes)
    assert not np.array_equal(first, middle)


def test_bf16_is_close_to_float32():
    planes = movie((3, 40, 50))
    exact = denoiser_of()(planes) - 100
    rough = denoiser_of(precision="bf16")(planes) - 100
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


def test_work_can_be_stopped_at_each_tile():
    felt = []

    def stop() -> None:
        felt.append(1)
        if len(felt) == 3:
            raise StoppedEarly("enough")

    seen = Seen(movie((3, 600, 300)), (None,) * 3)
    with pytest.raises(StoppedEarly):
        denoiser_of().fill(seen, Place(0), ((0, 600), (0, 300)), np.empty((600, 300)), pulse=stop)
    assert len(felt) == 3
