"""The mean of a recording is denoised, and stays its mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from auto_tools import noise_of

from fm2s_stack.auto.background import Background
from fm2s_stack.auto.still import without_noise
from fm2s_stack.errors import StoppedEarly

COUNT = 100  #: frames
GAIN, DARK = 3.0, 50.0


def scene(side: int = 96) -> np.ndarray:
    """Photons of cells on a slope."""
    y, x = np.mgrid[:side, :side]
    cells = sum(
        np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 30.0)
        for cy, cx in ((20, 30), (60, 22), (44, 70), (80, 76))
    )
    return 0.2 + 0.002 * x + 0.5 * cells


def mean_of_frames(others: int = 1) -> Background:
    """The mean of frames of few photons."""
    rng = np.random.default_rng(0)
    total = rng.poisson(COUNT * scene(), (others, 96, 96))
    mean = (DARK + GAIN * total / COUNT).astype(np.float32)
    return Background(mean, np.array([3.0]), np.ones((1, others, 2)))


NOISE = noise_of(GAIN, -GAIN * DARK, mean_level=DARK + GAIN * 0.4)


def test_it_is_nearer_to_the_truth_and_as_bright():
    truth = DARK + GAIN * scene()
    background = mean_of_frames(2)
    found = without_noise(background, NOISE, COUNT)
    error = np.square(found.mean - truth).mean(axis=(1, 2))
    before = np.square(background.mean - truth).mean(axis=(1, 2))
    assert (error < 0.5 * before).all()
    light = background.mean.mean() - DARK
    assert found.mean.mean() - DARK == pytest.approx(light, rel=0.01)
    assert found.mean.dtype == np.float32


def test_of_very_many_frames_nothing_is_smoothed_away():
    rng = np.random.default_rng(1)
    truth = DARK + GAIN * scene() * rng.uniform(0.5, 1.5, (96, 96))  # structure of single pixels
    background = replace(mean_of_frames(), mean=truth[None].astype(np.float32))
    found = without_noise(background, NOISE, 10**6)
    assert np.abs(found.mean[0] - truth).max() < 0.05 * np.ptp(truth)


def test_how_brightness_drifts_is_left_as_it_is():
    background = mean_of_frames()
    found = without_noise(background, NOISE, COUNT)
    assert found.positions is background.positions and found.lines is background.lines


def test_it_can_be_stopped():
    def stop() -> None:
        raise StoppedEarly("enough")

    with pytest.raises(StoppedEarly):
        without_noise(mean_of_frames(), NOISE, COUNT, stop)
