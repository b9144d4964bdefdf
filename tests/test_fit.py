"""Training: what it depends on, what it must not depend on, what it gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import fit_network
from fm2s_stack.fm2s.intensity import IntensityMap
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.seeds import stream_seed
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
