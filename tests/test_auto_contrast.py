"""What a network keeps of changes is known, and made up for."""

import numpy as np
import pytest
import torch

from fm2s_stack.auto import calibration, contrast, network
from fm2s_stack.auto.background import Place, flat_background
from fm2s_stack.auto.calibration import calibrated
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.contrast import kept_contrast
from fm2s_stack.auto.lesson import Lesson, Run
from fm2s_stack.auto.light import Light, lost_light
from fm2s_stack.auto.numbers import unpacked
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel

CHANNELS = channel_count(3)
WHITE = ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), *[(0.0,) * 7] * 3)


def lesson_of(changes: float) -> Lesson:
    """White noise of deviation 5, and a cell that is bright in two runs of frames."""
    rng = np.random.default_rng(4)
    planes = 100 + 5 * rng.normal(size=(40, 48, 48))
    for first in (5, 24):
        planes[first : first + 12, 8:32, 16:40] += changes
    planes = planes.astype(np.float32)
    noise = NoiseModel(
        gain=0.0, intercept=25.0, floor=25.0, autocorrelation=WHITE, gain_error=0.0,
        intercept_error=0.0, correlation_error=0.0, level_range=(80.0, 120.0), mean_level=100.0,
        method="frame differences", frames=40, pixels=1,
    )  # fmt: skip
    runs = (Run(Place(0), planes),)
    reach = Reach(1, 1)
    return Lesson(runs, flat_background(100.0), noise, Skewness(0.0, 0.0), reach, 32, 1, 3)


@pytest.fixture
def keeping(monkeypatch):
    """Take a network's place: what it makes is a part of the plane that it is shown."""

    def keep(part: float) -> None:
        halo = network.HALO
        monkeypatch.setattr(
            contrast.network,
            "run",
            lambda kernels, shown: part * shown[:, 0, halo:-halo, halo:-halo],
        )

    return keep


@pytest.mark.parametrize("part", [1.0, 0.9, 0.82])
def test_the_part_that_is_kept_is_found_under_the_noise(keeping, part):
    keeping(part)
    weights = np.zeros(network.parameter_count(CHANNELS), np.float32)
    assert kept_contrast(lesson_of(4.0), weights) == pytest.approx(part, abs=0.02)


def test_what_keeps_little_is_not_made_up_for_whole(keeping):
    keeping(0.6)
    weights = np.zeros(network.parameter_count(CHANNELS), np.float32)
    assert kept_contrast(lesson_of(4.0), weights) == 0.8


def test_what_is_kept_of_weak_changes_elsewhere_does_not_count(keeping, monkeypatch):
    lesson = lesson_of(6.0)
    halo = network.HALO

    def of_strong_ones_alone(kernels, shown):
        plane = shown[:, 0, halo:-halo, halo:-halo]
        happens = shown[:, 1:3, halo:-halo, halo:-halo].mean(1) > 0.3
        return plane * torch.where(happens, 0.9, 0.2)

    smooth = torch.nn.functional.avg_pool2d
    monkeypatch.setattr(
        contrast.network,
        "run",
        lambda kernels, shown: of_strong_ones_alone(kernels, smooth(shown, 9, 1, 4)),
    )
    weights = np.zeros(network.parameter_count(CHANNELS), np.float32)
    assert kept_contrast(lesson, weights) > 0.75


def test_nothing_is_made_up_for_where_nothing_changes(keeping):
    keeping(0.7)
    weights = np.zeros(network.parameter_count(CHANNELS), np.float32)
    assert kept_contrast(lesson_of(0.0), weights) == 1.0


@pytest.mark.parametrize("part", [1.0, 0.7])
def test_the_light_that_is_lost_is_found(keeping, monkeypatch, part):
    keeping(part)
    whole = contrast.network.run
    monkeypatch.setattr(contrast.network, "run", lambda kernels, shown: whole(kernels, shown) - 0.1)
    weights = np.zeros(network.parameter_count(CHANNELS), np.float32)
    lesson = lesson_of(4.0)
    mean = (lesson.runs[0].planes.mean() - 100) / 5
    lost = mean - (part * mean - 0.1)
    assert lost_light(lesson, weights, 0.0).lost == pytest.approx(lost, abs=0.02)


def test_a_network_that_is_made_up_for_gives_that_much_more(monkeypatch):
    monkeypatch.setattr(calibration, "kept_contrast", lambda *asked: 0.8)
    monkeypatch.setattr(calibration, "measure_heed", lambda *asked: 0.5)
    monkeypatch.setattr(calibration, "lost_light", lambda *asked: Light(0.25, 0.1))
    stream = torch.Generator().manual_seed(1)
    weights = torch.randn(network.parameter_count(CHANNELS), generator=stream).numpy() * 0.05
    shown = torch.randn((2, CHANNELS, 32, 32), generator=stream)
    before = network.run(network.layers(torch.from_numpy(weights), CHANNELS), shown)
    changed, heed = unpacked(calibrated(lesson_of(4.0), weights))
    after = network.run(network.layers(torch.from_numpy(changed), CHANNELS), shown)
    torch.testing.assert_close(after, before / 0.8 + 0.25)
    assert heed == 0.5
