"""Training: what it depends on, what it must not depend on, what it gains."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s import network, training_planes
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import fit_network
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.fm2s.training_planes import median_target
from fm2s_stack.metrics import si_psnr
from fm2s_stack.settings import FitSettings

QUICK = FitSettings(find_preset("twophoton"), crop=32, draws=4)


def planes(n: int = 2, shape: tuple[int, int] = (70, 90), seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).poisson(20, (n, *shape)) / 60).astype(np.float32)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first = fit_network(planes(), QUICK, 7)
    assert np.array_equal(fit_network(planes(), QUICK, 7).weights, first.weights)
    assert not np.array_equal(fit_network(planes(), QUICK, 8).weights, first.weights)


def test_the_number_of_torch_threads_never_changes_a_fit():
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(fit_network(planes(), QUICK, 7).weights)
            assert torch.get_num_threads() == threads, "left as it was found"
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*results)


def test_the_random_state_of_the_caller_is_neither_used_nor_changed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_network(planes(), QUICK, 7)
    assert torch.equal(torch.rand(3), expected)


def test_pixels_that_carry_no_light_have_no_part_in_a_fit():
    settings = replace(QUICK, crop=None, draws=12)
    padded = planes()
    padded[:, :, 50:] = 0.9
    valid = np.ones(padded.shape, bool)
    valid[:, :, 50:] = False
    alone = fit_network(np.ascontiguousarray(padded[:, :, :50]), settings, 3).loss
    masked = fit_network(padded, settings, 3, valid=valid).loss
    unmasked = fit_network(padded, settings, 3).loss
    assert masked == pytest.approx(alone, rel=0.15)
    assert unmasked != pytest.approx(alone, rel=0.3)


def test_images_smaller_than_a_crop_are_trained_on_whole():
    assert np.isfinite(fit_network(planes(1, (11, 13)), QUICK, 1).weights).all()


def test_seeds_differ_by_seed_channel_frame_and_slice_and_never_move():
    places = [(s, c, t, z) for s in (0, 1) for c in (0, 1) for t in (0, 1) for z in (0, 1)]
    assert len({stream_seed(*place) for place in places}) == len(places)
    assert stream_seed(3407, 0, 12, 0) == 3820060296052211443


def test_a_short_fit_on_a_real_two_photon_image_gains_six_decibels(data: Path):
    noisy = np.asarray(Image.open(data / "fmd/noisy/TwoPhoton_MICE_1.png"))[160:288, 160:288]
    truth = np.asarray(Image.open(data / "fmd/truth/TwoPhoton_MICE_1.png"))[160:288, 160:288]
    intensity = IntensityMap(0, 255, clamp=True)
    settings = FitSettings(find_preset("twophoton"), draws=120)
    fitted = fit_network(intensity.to_unit(noisy)[None], settings, 1)
    denoiser = Denoiser(fitted.weights[None], np.zeros(1), intensity, settings.preset)
    assert si_psnr(denoiser(noisy), truth) > si_psnr(noisy, truth) + 6


@examples(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 20)),
    side=st.sampled_from([1, 3, 5, 11]),
    values=st.integers(1, 30_000),
)
def test_the_median_in_bands_is_that_of_the_whole_plane(shape, side, values):
    plane = planes(1, shape)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_planes, "BAND_VALUES", values)
        found = median_target(plane, side)
    np.testing.assert_array_equal(found, ndimage.median_filter(plane, side, mode="reflect"))


def test_the_median_of_a_plane_of_many_bands_can_be_stopped_between_them(monkeypatch):
    monkeypatch.setattr(training_planes, "BAND_VALUES", 1)
    felt: list[int] = []
    median_target(planes(1, (70, 90))[0], 5, lambda: felt.append(1))
    assert len(felt) == 7


def test_a_fit_can_be_stopped_in_every_layer_of_a_step_and_in_its_gradients():
    felt: list[int] = []
    expected = fit_network(planes(), QUICK, 7)
    found = fit_network(planes(), QUICK, 7, pulse=lambda: felt.append(1))
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert len(felt) == 2 + 25 * (1 + 2 * len(network.KERNELS))

    def stop() -> None:
        felt.append(1)
        if len(felt) == last:
            raise StoppedEarly("enough")

    for last in range(1, 12):
        felt.clear()
        with pytest.raises(StoppedEarly, match="enough"):
            fit_network(planes(), QUICK, 7, pulse=stop)
        assert len(felt) == last


@pytest.mark.slow
def test_a_fit_on_a_whole_plane_of_four_million_pixels_stops_within_ten_seconds():
    felt: list[float] = []

    def stop() -> None:
        felt.append(time.monotonic())
        if len(felt) > 10:
            raise StoppedEarly("enough")

    settings = FitSettings(find_preset("widefield"), crop=None)
    with pytest.raises(StoppedEarly):
        fit_network(planes(1, (2048, 2048)), settings, 7, pulse=stop)
    assert max(b - a for a, b in pairwise([*felt, time.monotonic()])) < 10
