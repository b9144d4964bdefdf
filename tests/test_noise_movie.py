"""The noise of movies: the true one is found, whatever moves, glows, bleaches or is clipped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_tools import Disturbed, poisson_pairs, scene
from scipy import ndimage

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model import NoiseModel, measure_movie
from fm2s_stack.noise_model.registration import shift_between
from fm2s_stack.simulate import Simulation


def movie(**settings) -> Simulation:
    return Simulation(**{"frames": 300, "height": 160, "width": 160, **settings})


CASES = {
    "plain": Disturbed(movie()),
    "dim": Disturbed(movie(photons=3)),
    "bright": Disturbed(movie(photons=200)),
    "correlated": Disturbed(movie(correlation=0.4)),
    "no read noise": Disturbed(movie(read_noise=0.0)),
    "much read noise": Disturbed(movie(read_noise=120.0, offset=600, photons=60), pairs=16),
    "moving": Disturbed(movie(photons=100), jitter=3),
    "moving slowly sampled correlated": Disturbed(
        movie(photons=100, correlation=0.3, frame_interval=1 / 3), pairs=16, jitter=2
    ),
    "active and slow": Disturbed(movie(photons=200, frame_interval=1 / 2)),
    "bleaching": Disturbed(movie(), bleached=0.6),
    "saturated": Disturbed(movie(photons=60), saturated=0.01),
    "dead pixels": Disturbed(movie(), dead=0.002),
    "dead pixels and motion": Disturbed(movie(), jitter=2, dead=0.002),
    "negative": Disturbed(movie(dtype="int16", read_noise=40.0)),
    "eight bit": Disturbed(movie(dtype="uint8", gain=0.5, photons=200, offset=5, read_noise=1.0)),
    "photon counting": Disturbed(movie(photons=5, gain=1, offset=0, read_noise=0.0)),
    "small": Disturbed(movie(height=64, width=64, photons=60), pairs=16),
    "two frames": Disturbed(movie(height=256, width=256, photons=60), pairs=1),
}


@pytest.mark.parametrize("name", CASES)
def test_gain_intercept_and_correlation_are_those_of_the_simulation(name):
    case = CASES[name]
    case.require_measured(measure_movie(case.make()))


def test_the_errors_told_are_about_those_that_are_made():
    found = [measure_movie(poisson_pairs(seed, pairs=2, side=64)) for seed in range(12)]
    missed = [(model.gain - 1) / model.gain_error for model in found]
    assert np.sqrt(np.mean(np.square(missed))) < 2
    spread = np.std([model.gain for model in found])
    assert spread / 2 < np.mean([model.gain_error for model in found]) < 3 * spread


@settings(max_examples=12, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), pairs=st.integers(1, 3))
def test_other_grey_levels_of_the_same_movie_give_the_same_noise(scale, shift, pairs):
    plain = poisson_pairs(pairs=pairs, side=72)
    one, other = measure_movie(plain), measure_movie(scale * (plain + shift))
    assert other.gain == pytest.approx(scale * one.gain, rel=1e-3)
    expected = scale**2 * (one.intercept - one.gain * shift)
    near = scale**2 * 1e-3 * (abs(one.intercept) + one.gain * (abs(shift) + 20))
    assert other.intercept == pytest.approx(expected, abs=near)
    np.testing.assert_allclose(other.autocorrelation, one.autocorrelation, atol=2e-3)


def test_the_correlation_of_every_neighbour_is_found_and_the_variance_is_that_of_a_pixel():
    rng = np.random.default_rng(3)
    kernel = np.array([[0.0, 0.3, 0.1], [0.2, 1.0, 0.5], [0.0, 0.1, 0.0]])
    kernel /= np.sqrt((kernel**2).sum())
    noise = ndimage.convolve(rng.normal(size=(12, 2, 128, 128)), kernel[None, None], mode="wrap")
    root = np.sqrt(scene(128))
    model = measure_movie(scene(128) + root * noise)
    padded = np.pad(kernel, 3)
    for dy in range(4):
        for dx in range(-3, 4):
            true = (kernel * padded[3 + dy : 6 + dy, 3 + dx : 6 + dx]).sum()
            assert model.autocorrelation[dy][3 + dx] == pytest.approx(true, abs=0.03), (dy, dx)
    assert model.gain == pytest.approx(1, rel=0.06)


def test_noise_cut_off_at_zero_is_left_out_and_said():
    frames = np.maximum(np.rint(poisson_pairs(read_noise=6)), 0).astype(np.uint16)
    model = measure_movie(frames)
    assert model.variance(35) == pytest.approx(35 + 36, rel=0.06)
    assert any("cut off at the lowest level" in note for note in model.notes)
    photons = np.random.default_rng(0).poisson(scene() / 20, (6, 2, 96, 96))
    assert not measure_movie(photons).notes


def test_saturation_is_told_only_where_pixels_pile_up():
    frames = np.rint(poisson_pairs(read_noise=0))
    assert measure_movie(frames).saturation is None
    assert measure_movie(np.minimum(frames, 45)).saturation == 45


def dark_border(light: float, read_noise: float = 5.0) -> np.ndarray:
    frames = 10 * poisson_pairs(side=128, read_noise=read_noise / 10) + 100
    rng = np.random.default_rng(1)
    border = frames[..., :16].shape
    frames[..., :16] = 100 + 10 * rng.poisson(light, border) + read_noise * rng.normal(size=border)
    return np.rint(frames).astype(np.int16)


def test_a_dark_border_tells_offset_and_read_noise():
    model = measure_movie(dark_border(0))
    assert model.offset == pytest.approx(100, abs=0.3)
    assert model.read_noise == pytest.approx(5, rel=0.1)
    assert model.photons == pytest.approx((model.mean_level - 100) / 10, rel=0.1)


@pytest.mark.parametrize("light", [2.0, 0.0])
def test_without_darkness_offset_and_read_noise_are_unknown(light):
    frames = dark_border(light) if light else (10 * poisson_pairs() + 100)
    model = measure_movie(frames)
    assert model.offset is None
    assert model.read_noise is None


def test_an_offset_from_metadata_tells_the_read_noise_where_the_line_is_certain():
    frames = 10 * poisson_pairs(read_noise=5) + 100
    model = measure_movie(frames, offset=100.0)
    assert (model.offset, model.evidence) == (100.0, "metadata")
    assert model.read_noise == pytest.approx(50, rel=0.1)
    assert measure_movie(10 * poisson_pairs(read_noise=0) + 100, offset=100.0).read_noise is None


def test_pixels_that_are_not_finite_and_constant_borders_are_left_out():
    frames = poisson_pairs() + 50
    whole = measure_movie(frames)
    frames[2, 1, 30, 40] = np.nan
    frames[..., :9, :] = 0
    frames[..., -5:] = 0
    model = measure_movie(frames)
    assert model.gain == pytest.approx(whole.gain, rel=0.05)
    assert model.level_range[0] > 50


def test_repeated_frames_are_left_out_and_counted():
    frames = poisson_pairs()
    frames[1, 1] = frames[1, 0]
    model = measure_movie(frames)
    assert model.frames == 10
    assert any("1 pair" in note for note in model.notes)


AWKWARD = {
    "one tile": np.random.default_rng(0).poisson(5, (1, 2, 8, 8)).astype(np.uint8),
    "few tiles": np.random.default_rng(0).poisson(5, (2, 2, 9, 30)).astype(np.uint8),
    "one level": np.random.default_rng(0).poisson(5, (4, 2, 64, 64)).astype(np.uint8),
    "two values": (np.random.default_rng(0).random((4, 2, 64, 64)) < 0.3).astype(np.uint8),
    "few photons": (np.random.default_rng(0).random((4, 2, 64, 64)) < 0.01).astype(np.uint8),
    "tiny floats": 1e-12 * np.random.default_rng(0).normal(size=(4, 2, 64, 64)),
    "huge floats": 1e9 + 1e5 * np.random.default_rng(0).normal(size=(4, 2, 64, 64)),
    "half precision": np.random.default_rng(0).random((4, 2, 64, 64)).astype(np.float16),
    "a blank frame": np.where(np.arange(8).reshape(4, 2, 1, 1) == 3, 0, poisson_pairs(0, 4)),
    "quieter where brighter": (
        np.arange(64) * 10
        + np.random.default_rng(0).normal(size=(8, 2, 64, 64)) * np.linspace(20, 5, 64)
    ),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_frames_give_a_model_of_finite_numbers(name):
    model = measure_movie(AWKWARD[name])
    told = model.as_json()
    for key in ("gain", "intercept", "gain_error", "intercept_error", "correlation_error"):
        assert np.isfinite(told[key]), key
    assert model.gain >= 0
    assert model.floor > 0
    assert np.isfinite(model.autocorrelation).all()
    variance = AWKWARD[name].astype(float).var(axis=(1, 2, 3)).max()
    levels = np.linspace(*model.level_range, 5)
    assert (model.variance(levels) > 0).all()
    assert (model.variance(levels) < 3 * variance).all()


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (np.zeros((3, 2, 32, 32), np.uint16), "identical"),
        (np.full((3, 2, 32, 32), 0.5), "identical"),
        (np.random.default_rng(0).poisson(5, (3, 2, 5, 50)), "too small"),
        (np.minimum(np.random.default_rng(0).poisson(99, (3, 2, 32, 32)), 90), "clipped"),
        (np.full((1, 2, 32, 32), np.nan) * np.array([1, 2])[None, :, None, None], "constant"),
        (np.zeros((3, 32, 32)), "expected"),
    ],
)
def test_what_tells_nothing_is_refused_in_one_line(frames, why):
    with pytest.raises(NoiseUnknown, match=why) as caught:
        measure_movie(frames)
    assert "\n" not in str(caught.value)


def test_a_model_comes_back_from_json():
    model = measure_movie(dark_border(0))
    assert NoiseModel.from_json(json.loads(json.dumps(model.as_json()))) == model
    with pytest.raises(ValueError, match="method"):
        NoiseModel.from_json({**model.as_json(), "method": "guess"})


def test_the_variance_is_the_line_and_never_below_the_floor():
    model = measure_movie(10 * poisson_pairs() + 100)
    assert model.variance(300) == pytest.approx(model.gain * 300 + model.intercept)
    assert model.variance([-1e9, 0]).tolist() == [model.floor] * 2


@given(y=st.integers(-6, 6), x=st.integers(-6, 6))
@settings(max_examples=20, deadline=None)
def test_a_shift_by_whole_pixels_is_found_under_noise(y, x):
    rng = np.random.default_rng(0)
    big = ndimage.gaussian_filter(rng.random((96, 96)), 2) * 4000
    frames = [
        rng.poisson(part) for part in (big[16:80, 16:80], big[16 - y : 80 - y, 16 - x : 80 - x])
    ]
    assert shift_between(*(frame.astype(np.float32) for frame in frames)) == (y, x)


def test_a_real_movie_has_the_correlation_and_the_variance_of_its_differences(data):
    movie = tifffile.imread(data / "tiff" / "two_photon_movie.tif").astype(float)
    model = measure_movie(movie.reshape(10, 2, 128, 256))
    still = np.diff(movie, axis=0)[:, 10:-10, 10:-10]
    still -= still.mean(axis=(1, 2), keepdims=True)
    beside = (still[..., 1:] * still[..., :-1]).mean() / (still**2).mean()
    assert model.correlation_rows[0] == pytest.approx(beside, abs=0.03)
    assert model.variance(movie.mean()) == pytest.approx((still**2).mean() / 2, rel=0.1)
    assert model.saturation == 4094
