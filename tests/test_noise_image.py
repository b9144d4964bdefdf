"""The noise of single planes and z-stacks."""

from __future__ import annotations

import numpy as np
import pytest
from noise_tools import scene
from PIL import Image
from scipy import ndimage

from fm2s_stack.errors import NoiseUnknown
from fm2s_stack.noise_model import measure_image
from fm2s_stack.simulate import Simulation, noisy_frame


@pytest.mark.parametrize("photons", [5, 25, 100])
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_gain_and_correlation_of_an_image_are_roughly_those_of_the_simulation(photons, correlation):
    sim = Simulation(frames=2, height=320, width=320, photons=photons, correlation=correlation)
    model = measure_image(noisy_frame(sim, 0))
    assert model.method == "spatial residuals"
    assert abs(model.gain / sim.gain - 1) < 0.25
    assert abs(model.correlation_rows[0] - correlation) < 0.05
    assert abs(model.correlation_columns[0]) < 0.05
    level = model.mean_level
    true = sim.gain * (level - sim.dark_level) + sim.read_noise**2
    assert model.variance(level) == pytest.approx(true, rel=0.15)


def test_noise_correlated_along_rows_and_columns_is_measured_at_its_full_variance():
    rng = np.random.default_rng(0)
    kernel = np.outer([0.4, 1.0], [0.5, 1.0, 0.2])
    kernel /= np.sqrt((kernel**2).sum())
    noise = ndimage.convolve(rng.normal(size=(8, 160, 160)), kernel[None], mode="wrap")
    model = measure_image(scene(160) + np.sqrt(scene(160)) * noise)
    rows = np.correlate([0.5, 1, 0.2], [0.5, 1, 0.2], "full")[2:] / 1.29
    assert model.correlation_rows[:2] == pytest.approx(rows[1:], abs=0.05)
    assert model.correlation_columns[0] == pytest.approx(0.4 / 1.16, abs=0.05)
    assert model.variance(21) == pytest.approx(21, rel=0.12)


def test_a_stack_of_planes_is_measured_more_surely_than_one():
    sim = Simulation(frames=8, height=128, width=128)
    planes = np.stack([noisy_frame(sim, t) for t in range(8)])
    one, all_of_them = measure_image(planes[0]), measure_image(planes)
    assert all_of_them.gain_error < one.gain_error
    assert (one.frames, all_of_them.frames) == (1, 8)


def test_edges_of_bright_things_are_not_taken_for_noise():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    sharp = 30 + 400.0 * ((y // 60 + x // 60) % 2)
    model = measure_image(rng.poisson(sharp))
    assert model.variance(30) == pytest.approx(30, rel=0.25)
    assert model.variance(430) == pytest.approx(430, rel=0.25)


def test_planes_that_tell_nothing_are_refused():
    blocks = np.kron(np.arange(16).reshape(4, 4), np.ones((32, 32)))
    for plane in (np.zeros((64, 64)), np.full((2, 32, 32), 7), np.ones((4, 40)), blocks):
        with pytest.raises(NoiseUnknown):
            measure_image(plane)


@pytest.mark.parametrize(
    "name",
    ["Confocal_BPAE_B_1", "Confocal_MICE_1", "TwoPhoton_BPAE_R_1", "TwoPhoton_MICE_2"],
)
def test_real_images_have_the_noise_of_their_difference_from_the_mean_of_fifty(data, name):
    image, truth = (
        np.asarray(Image.open(data / "fmd" / part / f"{name}.png"), dtype=float)
        for part in ("noisy", "truth")
    )
    model = measure_image(image.astype(np.uint8))
    band = np.abs(truth - np.median(truth)) < 0.3 * np.median(truth) + 2
    level, variance = image[band].mean(), (image - truth)[band].var()
    assert model.variance(level) == pytest.approx(variance, rel=0.2)
    # A scanning microscope's amplifier joins neighbours along rows.
    assert 0.02 < model.correlation_rows[0] < 0.12
    assert abs(model.correlation_columns[0]) < 0.03
