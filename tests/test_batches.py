"""Planes in batches on a device: the pixels of the CPU's path, with copies in any order."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_denoiser import make, movie

from fm2s_stack.fm2s import conveyor, network
from fm2s_stack.fm2s.batch import READ, TILES_A_CALL, Share, apply_batch
from fm2s_stack.fm2s.conveyor import Runway, convey, convey_what_fits
from fm2s_stack.fm2s.device_batches import denoise_batches
from fm2s_stack.fm2s.inference import HALO, Inference, prepared
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.levels import Levels, carrier
from fm2s_stack.fm2s.tiles import TILE, tiles_of


def in_batches(denoiser, planes, positions=None, dtype=None):
    where = np.zeros(len(planes)) if positions is None else np.asarray(positions, float)
    result = np.empty(planes.shape, dtype or planes.dtype)
    core = ((0, planes.shape[1]), (0, planes.shape[2]))
    clipped = denoise_batches(denoiser, planes, where, core, result, "cpu", lambda: None)
    return result, clipped


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("shape", [(5, 300, 270), (3, 7, 2), (2, 256, 512)])
def test_batches_give_the_pixels_of_the_path_plane_by_plane(dtype, shape):
    planes, denoiser = movie(shape, "uint16").astype(dtype), make()
    if dtype == "uint8":
        denoiser = replace(denoiser, intensity=IntensityMap(0, 255, clamp=True))
    expected = denoiser.denoise(planes, np.zeros(len(planes)))
    found, clipped = in_batches(denoiser, planes)
    assert np.abs(found.astype(float) - expected.planes).max() <= 1
    assert (found != expected.planes).mean() < 1e-3
    assert clipped == expected.clipped


def test_batches_blend_networks_by_position():
    planes, denoiser = movie((7, 40, 50)), make(3, (1.0, 3.0, 5.0))
    where = np.arange(7.0)
    expected = denoiser.denoise(planes, where, dtype=np.dtype("float32"))
    found, _ = in_batches(denoiser, planes, where, "float32")
    np.testing.assert_allclose(found, expected.planes, atol=1e-3)


def test_batches_keep_padding_as_it_was():
    planes, denoiser = movie((4, 60, 50)).astype("float32"), make(nan="keep")
    planes[:, :10] = np.nan
    expected = denoiser.denoise(planes, np.zeros(4))
    found, _ = in_batches(denoiser, planes)
    np.testing.assert_allclose(found, expected.planes, atol=1e-3)
    assert np.isnan(found[:, :10]).all()


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_plane_has_the_same_bits_in_whatever_batch_it_is(count):
    denoiser, planes = make(), torch.rand(9, 300, 260)
    core = ((0, 300), (0, 260))
    net = {0: prepared(denoiser.weights[0], "cpu", "float32")}
    shares = [[Share(0, 1.0)]] * 9
    with torch.inference_mode():
        together = apply_batch(net, shares, planes, core)
        apart = torch.cat(
            [
                apply_batch(net, shares[i : i + count], planes[i : i + count], core)
                for i in range(0, 9, count)
            ]
        )
    assert together.numpy().tobytes() == apart.numpy().tobytes()


def test_a_part_cut_with_its_halo_has_the_bits_of_the_whole():
    plane = torch.rand(1, 600, 700)
    net = {0: prepared(make().weights[0], "cpu", "float32")}
    one = [[Share(0, 1.0)]]
    with torch.inference_mode():
        whole = apply_batch(net, one, plane, ((0, 600), (0, 700)))
        cut = plane[:, TILE - HALO : 2 * TILE + HALO, TILE - HALO :]
        part = apply_batch(net, one, cut, ((HALO, HALO + TILE), (HALO, 700 - TILE + HALO)))
    assert torch.equal(part, whole[:, TILE : 2 * TILE, TILE:])


def test_every_call_has_one_shape(monkeypatch):
    shapes, call = set(), Inference.__call__

    def watched(net, tiles, blank):
        shapes.add(tuple(tiles.shape))
        return call(net, tiles, blank)

    monkeypatch.setattr(Inference, "__call__", watched)
    for shape in ((3, 20, 30), (1, 700, 300), (19, 256, 256)):
        in_batches(make(), movie(shape))
    assert shapes == {(TILES_A_CALL, 1, READ, READ)}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.integers(1, 1100), st.integers(0, 2), st.integers(1, 900))
def test_tiles_cover_a_core_once(y, rows, x, columns):
    core = ((5 * y, 5 * y + rows), (5 * x, 5 * x + columns))
    seen = np.zeros((core[0][1], core[1][1]), int)
    for tile in tiles_of(core):
        seen[slice(*tile.rows), slice(*tile.columns)] += 1
        assert (tile.rows[0] - core[0][0]) % TILE == 0 and tile.rows[1] - tile.rows[0] <= TILE
    assert (seen[core[0][0] :, core[1][0] :] == 1).all()
    assert seen.sum() == rows * columns


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]),
    st.sampled_from(["uint8", "int16", "uint16", "uint32", "int32", "float32"]),
    st.floats(-1e3, 1e3),
    st.floats(1.0, 7e4),
    st.integers(0, 2**31),
)
def test_levels_are_those_of_the_intensity_map(source, target, low, span, seed):
    rng, dtype = np.random.default_rng(seed), np.dtype(source)
    values = rng.normal(0, 3e4, (3, 40)).astype("f8")
    if dtype.kind in "iu":
        values = np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max)
    pixels, mapping = values.astype(dtype), IntensityMap(low, low + span)
    levels = Levels(mapping, dtype, np.dtype(target))
    unit = levels.to_unit(torch.from_numpy(pixels.view(carrier(dtype))))
    np.testing.assert_array_equal(unit.numpy(), mapping.to_unit(pixels))
    made, clipped = levels.from_unit(unit)
    expected, count = mapping.from_unit(mapping.to_unit(pixels), target)
    np.testing.assert_array_equal(made.numpy().view(target), expected)
    assert int(clipped) == count


class Stream:
    """Work that happens later, in order within a stream and in any order across streams."""

    def __init__(self, runway: LateRunway) -> None:
        self.runway, self.queue = runway, []
        runway.streams.append(self)

    def wait_event(self, event: list) -> None:
        self.queue.append((lambda: None, event))

    def record_event(self) -> list:
        event: list = []
        self.queue.append((lambda: event.append(True), None))
        return event


class LateRunway(Runway):
    """Copies and computes as late, and in as odd an order, as events allow."""

    def __init__(self, seed: int) -> None:
        super().__init__("cpu")
        self.streams: list[Stream] = []
        self.random, self.up, self.down = random.Random(seed), Stream(self), Stream(self)
        self.computing = Stream(self)

    def main(self) -> Stream:
        return self.computing

    def begin(self) -> None:
        pass

    def copy(self, target, source, stream, after):
        if after is not None:
            stream.wait_event(after)
        stream.queue.append((lambda: target.copy_(source), None))
        return stream.record_event()

    def wait(self, event) -> None:
        while not event:
            waiting = [stream for stream in self.streams if stream.queue]
            ready = [s for s in waiting if s.queue[0][1] is None or s.queue[0][1]]
            assert ready, "nothing can go on: events wait for each other"
            work, _ = self.random.choice(ready).queue.pop(0)
            work()


@pytest.mark.parametrize("seed", range(12))
def test_no_copy_overtakes_what_it_depends_on(seed):
    runway = LateRunway(seed)
    planes = np.random.default_rng(seed).integers(0, 9999, (11, 6, 7)).astype("uint16")
    result = np.full((11, 6, 7), 7, "uint16")

    def compute(carried, numbers):
        made, count = torch.empty_like(carried), torch.empty((), dtype=torch.int64)

        def later() -> None:
            made.copy_(carried + 1)
            count.fill_(len(numbers))

        runway.computing.queue.append((later, None))
        return made, count

    assert convey(planes, result, compute, 1 + seed % 4, "cpu", runway=runway) == 11
    np.testing.assert_array_equal(result, planes + 1)


def test_a_batch_is_halved_until_it_fits(monkeypatch):
    tried, given_back = [], []
    monkeypatch.setattr(conveyor, "give_back_memory", lambda: given_back.append(1))

    def compute(carried, numbers):
        tried.append(len(numbers))
        if len(numbers) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return carried + 1, torch.zeros((), dtype=torch.int64)

    planes = np.arange(7 * 4, dtype="int32").reshape(7, 2, 2)
    result = np.empty_like(planes)
    convey_what_fits(planes, result, compute, 11, "cpu")
    assert tried == [7, 5, 2, 2, 2, 1] and len(given_back) == 2
    np.testing.assert_array_equal(result, planes + 1)


def test_a_plane_that_does_not_fit_alone_is_told_and_other_errors_pass():
    def lacks(carried, numbers):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def breaks(carried, numbers):
        raise RuntimeError("CUDA error: unspecified launch failure")

    planes = np.zeros((4, 2, 2), "uint8")
    with pytest.raises(torch.OutOfMemoryError):
        convey_what_fits(planes, planes.copy(), lacks, 4, "cpu")
    with pytest.raises(RuntimeError, match="launch failure"):
        convey_what_fits(planes, planes.copy(), breaks, 4, "cpu")


def test_bfloat16_is_close_to_float32_and_not_equal():
    plane = torch.rand(1, 300, 300)
    weights, one, core = make().weights[0], [[Share(0, 1.0)]], ((0, 300), (0, 300))
    with torch.inference_mode():
        exact = apply_batch({0: prepared(weights, "cpu", "float32")}, one, plane, core)
        rough = apply_batch({0: prepared(weights, "cpu", "bf16")}, one, plane, core)
    difference = (exact - rough).abs().max().item()
    assert 0 < difference < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (256, 256), (257, 255), (512, 100)])
def test_the_grouped_last_layer_is_the_network(shape):
    from fm2s_stack.fm2s.apply import apply_network

    weights = torch.from_numpy(make().weights[0])
    plane = torch.rand(*shape)
    expected = network.forward(weights, plane[None, None])[0, 0].numpy()
    found = apply_network(weights.numpy(), plane.numpy(), ((0, shape[0]), (0, shape[1])))
    np.testing.assert_allclose(found, expected, atol=2e-6)
