"""The denoiser: blending, dtypes, chunks, padding."""

from __future__ import annotations

import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.errors import NonFinitePixels, StoppedEarly, UnsupportedPixels
from fm2s_stack.fm2s import network
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import NanPolicy


def random_weights(seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return network.initial_parameters(1, generator).numpy()


def make(
    networks: int = 1, positions: tuple[float, ...] = (0.0,), nan: NanPolicy = "refuse"
) -> Denoiser:
    return Denoiser(
        weights=np.stack([random_weights(seed) for seed in range(networks)]),
        positions=np.array(positions),
        intensity=IntensityMap(100, 1100),
        preset=find_preset("srdtrans"),
        nan=nan,
    )


def movie(shape: tuple[int, ...] = (6, 40, 50), dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).poisson(300, shape).astype(dtype)


def test_a_plane_between_two_networks_blends_them_linearly():
    both = make(2, (10.0, 20.0))
    plane = movie((40, 50), "float32")
    first, second = (both.with_network(w)(plane, dtype="float64") for w in both.weights)
    for position, share in [(0, 0), (10, 0), (12.5, 0.25), (19, 0.9), (20, 1), (99, 1)]:
        got = both(plane, position, dtype="float64")
        np.testing.assert_allclose(got, (1 - share) * first + share * second, atol=1e-3)


def test_several_networks_need_positions_one_a_plane():
    with pytest.raises(ValueError, match="positions"):
        make(2, (0.0, 5.0))(movie())
    with pytest.raises(ValueError, match="2 positions for 6 planes"):
        make()(movie(), [1, 2])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "float16", "float64"]
)
def test_the_dtype_of_the_input_comes_back(dtype):
    planes = (movie() % 100).astype(dtype)
    assert make()(planes).dtype == dtype


def test_clipped_pixels_are_counted():
    bright = Denoiser(
        np.stack([random_weights(0)]), np.zeros(1), IntensityMap(-1e6, 0), find_preset("srdtrans")
    )
    result = bright.denoise(movie((2, 9, 9)), np.zeros(2))
    whole = bright(movie((2, 9, 9)), dtype="float64")
    assert result.clipped == np.count_nonzero((np.rint(whole) < 0) | (np.rint(whole) > 65535))
    assert result.clipped > 0


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 560), st.integers(1, 560)),
    chunks=st.tuples(st.integers(1, 4), st.integers(1, 560), st.integers(1, 560)),
    positions=st.booleans(),
)
def test_no_chunking_of_a_dask_array_ever_shows_in_a_pixel(shape, chunks, positions):
    denoiser = make(2, (0.0, 2.0)) if positions else make()
    where = np.arange(float(shape[0])) if positions else None
    chunks = tuple(max(c, n // 3, 1) for c, n in zip(chunks, shape, strict=True))
    lazy = da.from_array(movie(shape), chunks=chunks)
    mapped = denoiser.map(lazy, where)
    assert mapped.dtype == np.uint16 and mapped.shape == lazy.shape
    np.testing.assert_array_equal(mapped.compute(scheduler="sync"), denoiser(movie(shape), where))


def test_mapping_computes_nothing_until_asked_and_runs_on_threads_too():
    def explode(block):
        raise AssertionError("read too early")

    make().map(
        da.zeros((4, 30, 30), chunks=2).map_blocks(
            explode, dtype="f4", meta=np.empty((0, 0, 0), "f4")
        )
    )
    lazy = da.from_array(movie((6, 300, 300)), chunks=(2, 90, 300))
    np.testing.assert_array_equal(
        make().map(lazy).compute(scheduler="threads"), make()(movie((6, 300, 300)))
    )


def test_a_denoiser_pickles_small():
    copy = pickle.loads(pickle.dumps(make()))
    np.testing.assert_array_equal(copy(movie()), make()(movie()))
    assert len(pickle.dumps(make())) < 20_000


def test_nan_is_refused_with_its_plane_named():
    planes = movie(dtype="float32")
    planes[3, 2, 2] = np.nan
    with pytest.raises(NonFinitePixels, match="plane 7 of channel 0"):
        make()(planes, np.arange(4, 10))


def test_kept_nan_and_padding_come_back_unchanged_and_touch_nothing_else():
    planes = movie((3, 60, 60), "float32")
    planes[:, :, :9] = -1
    planes[1, 40, 40] = np.nan
    result = make(nan="keep")(planes)
    np.testing.assert_array_equal(result[:, :, :9], planes[:, :, :9])
    assert (
        np.isnan(result[1, 40, 40])
        and np.isfinite(np.delete(result[1].ravel(), 40 * 60 + 40)).all()
    )
    far = make()(np.where(np.isnan(planes), 0, planes))
    np.testing.assert_array_equal(result[0, :, 20:], far[0, :, 20:])
    lazy = make(nan="keep").map(da.from_array(planes, chunks=(1, 20, 20)))
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), result)


def test_kept_pixels_never_wrap_into_a_narrower_dtype():
    planes = movie((2, 40, 40))
    planes[:, :9], planes[:, -9:] = 300, 0
    result = make(nan="keep")(planes, dtype="uint8")
    assert (result[:, :9] == 255).all() and (result[:, -9:] == 0).all()
    signed = planes.astype("float32")
    signed[:, :9] = -70_000
    assert (make(nan="keep")(signed, dtype="int16")[:, :9] == -32768).all()


def test_kept_nan_is_refused_where_the_dtype_has_none():
    planes = movie(dtype="float32")
    planes[3, 2, 2] = np.nan
    with pytest.raises(NonFinitePixels, match="uint16 cannot hold"):
        make(nan="keep")(planes, np.arange(6), dtype="uint16")


def test_a_denoiser_of_8_bit_pixels_refuses_others():
    eight = replace(make(), intensity=IntensityMap(0, 255, clamp=True))
    assert eight(movie(dtype="uint8")).dtype == np.uint8
    with pytest.raises(UnsupportedPixels, match="uint16"):
        eight(movie())


@pytest.mark.parametrize("networks", [1, 2])
def test_work_can_be_stopped_at_each_plane_and_each_row_of_tiles(networks):
    denoiser, felt = make(networks, (0.0, 9.0)[:networks]), []
    planes, where = movie((2, 600, 40)), np.full(2, 4.0)
    found = denoiser.denoise(planes, where, pulse=lambda: felt.append(1))
    np.testing.assert_array_equal(found.planes, denoiser(planes, where))
    assert len(felt) == 2 * (1 + 3 * networks)

    def stop() -> None:
        felt.append(1)
        if len(felt) == 3:
            raise StoppedEarly("enough")

    felt.clear()
    with pytest.raises(StoppedEarly):
        denoiser.denoise(planes, where, pulse=stop)
    assert len(felt) == 3
