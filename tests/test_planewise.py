"""`PlanewiseDenoiser` and `LeftAlone` as a library: types, NaN, saturation, windows, Dask."""

from __future__ import annotations

import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from plane_tools import noise
from planewise_tools import cells, denoiser_of

from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import packed, unpacked
from fm2s_stack.errors import NonFinitePixels
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.plane import HALO, PlaneDenoiser, fit_plane_denoiser
from fm2s_stack.settings import Auto


@pytest.fixture(scope="module")
def denoiser():
    return denoiser_of(cells())


def test_it_gives_what_the_plane_denoiser_gives_rounded(denoiser):
    plane = cells(seed=1)
    alone = unpacked(denoiser.weights[0], denoiser.noise)
    expected = np.rint(alone.denoise(plane))
    result = denoiser(plane)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, expected)


def test_numbers_that_were_packed_are_the_same_fit():
    fitted = fit_plane_denoiser(cells(), noise(gain=10.0), 3, stride=2, draws=1)
    again = unpacked(packed(fitted), noise(gain=10.0))
    assert again.stride == 2
    for name in ("knots", "weights", "correlation"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fitted, name))
    assert again.line == fitted.line


def test_integers_are_clipped_and_counted_never_wrapped(denoiser):
    plane = cells()
    wide, narrow = denoiser(plane, dtype="float32"), np.empty(plane.shape, np.uint8)
    clipped = denoiser.fill(plane, 0.0, ((0, 64), (0, 80)), narrow)
    np.testing.assert_array_equal(narrow, np.clip(np.rint(wide), 0, 255))
    assert clipped == np.count_nonzero(np.rint(wide) > 255) > 0


def test_saturated_pixels_stay_and_their_neighbours_do_not(denoiser):
    plane = np.minimum(cells(), 900)
    saturated = replace(denoiser, noise=replace(denoiser.noise, saturation=900.0))
    result = saturated(plane)
    assert (plane == 900).any()
    np.testing.assert_array_equal(result[plane == 900], 900)
    assert (result[plane < 900] != plane[plane < 900]).mean() > 0.9


def test_a_plane_between_two_fits_gets_both(denoiser):
    plane = cells()
    both = denoiser_of(plane, networks=2)
    first, last, middle = (both(plane, at, dtype="float64") for at in (0.0, 10.0, 2.5))
    assert not np.array_equal(first, last)
    np.testing.assert_allclose(middle, 0.75 * first + 0.25 * last, rtol=1e-5)
    np.testing.assert_array_equal(first, both.with_network(both.weights[0])(plane, dtype="float64"))
    with pytest.raises(ValueError, match="2 networks: positions"):
        both(plane)


def test_nan_and_padding_come_back_and_the_rest_hardly_sees_them(denoiser):
    plane = cells().astype(np.float32)
    holed = plane.copy()
    holed[:12], holed[40, 40] = 0, np.nan
    keeping = replace(denoiser, nan="keep")
    whole, result = keeping(plane), keeping(holed)
    np.testing.assert_array_equal(result[:12], 0)
    assert np.isnan(result[40, 40]) and np.isnan(result).sum() == 1
    far = slice(12 + HALO, None)  # the halo alone sees the padding
    assert far.start < 64
    np.testing.assert_allclose(result[far, 60:], whole[far, 60:], rtol=0.02)
    noisy = np.abs(plane[13:] - whole[13:]).mean()
    assert np.nanmean(np.abs(result[13:] - whole[13:])) < 0.2 * noisy
    with pytest.raises(NonFinitePixels, match=r"plane 0 of channel 0 .* --nan keep"):
        denoiser(holed)


def test_pixels_without_light_are_not_learned_from():
    plane = cells((64, 160))
    light = np.ones(plane.shape, bool)
    light[:, 80:] = False
    spoiled = plane.copy()
    # Beyond the reach of the estimates of what carries light.
    spoiled[:, 80 + HALO :] = np.random.default_rng(1).integers(0, 60000, (64, 80 - HALO))
    fits = [
        fit_plane_denoiser(one, noise(gain=10.0), 0, stride=2, light=light, draws=1)
        for one in (plane, spoiled)
    ]
    np.testing.assert_array_equal(fits[0].knots, fits[1].knots)


def test_a_plane_without_any_light_can_be_fitted():
    nothing = np.zeros((40, 40), bool)
    fitted = fit_plane_denoiser(cells((40, 40)), noise(), light=nothing, draws=1)
    assert isinstance(fitted, PlaneDenoiser)
    assert not fitted.weights.any()


def test_a_dask_array_is_mapped_in_any_chunks_to_the_same_pixels(denoiser):
    planes = cells((2, 290, 300))
    lazy = denoiser.map(da.from_array(planes, chunks=(1, 100, 77)))
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), denoiser(planes))


def test_it_pickles(denoiser):
    plane = cells()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(denoiser))(plane), denoiser(plane))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_a_channel_left_alone_comes_out_as_it_went_in(dtype):
    alone = LeftAlone(np.zeros((1, 3), np.float32), np.zeros(1), IntensityMap(0, 1), Auto())
    plane = np.arange(-3, 117).reshape(10, 12).astype(dtype)
    np.testing.assert_array_equal(alone(plane), plane)
    np.testing.assert_array_equal(alone(plane, dtype="float64"), plane.astype("float64"))


def test_a_channel_left_alone_keeps_nan_where_that_is_asked_for():
    alone = LeftAlone(np.zeros((1, 3), np.float32), np.zeros(1), IntensityMap(0, 1), Auto())
    plane = np.full((9, 9), np.nan, np.float32)
    plane[4, 4] = 2
    with pytest.raises(NonFinitePixels, match="plane 0 of channel 0"):
        alone(plane)
    keeping = replace(alone, nan="keep")
    np.testing.assert_array_equal(keeping(plane), plane)
    with pytest.raises(NonFinitePixels, match="which uint8 cannot hold"):
        keeping(plane, dtype="uint8")
