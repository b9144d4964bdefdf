"""What ``-c auto`` reads of a recording to know it as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack import open_stack
from fm2s_stack.auto.background import Place
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.job import auto_measuring
from fm2s_stack.job.auto_measuring import GROUP, Study, study
from fm2s_stack.job.noise import measure_noise
from fm2s_stack.progress import Silent
from fm2s_stack.settings import FitSettings

SIDE = 160  #: of the field, pixels


@given(st.integers(16, 3000), st.integers(16, 600))
def test_all_frames_are_read_or_groups_of_consecutive_ones_spread_over_all(frames, most):
    numbers = auto_measuring._studied(frames, most)
    assert numbers == sorted(set(numbers)) and numbers[0] >= 0 and numbers[-1] < frames
    if frames <= most:
        assert numbers == list(range(frames))
        return
    assert len(numbers) == most // GROUP * GROUP
    groups = [numbers[i : i + GROUP] for i in range(0, len(numbers), GROUP)]
    assert all(group == list(range(group[0], group[0] + GROUP)) for group in groups)
    between = np.diff([0, *(group[0] for group in groups), frames])
    assert between.max() <= 2 * frames / len(groups) + 2 * GROUP


def smooth_scene() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return 250 + 50 * np.sin(y / 9) * np.cos(x / 7)


def blinking(path: Path, frames: int) -> Path:
    """A scene in noise; a cell of it is bright in a fifth of the frames."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE]
    scene = smooth_scene()
    cell = 60 * np.exp(-((y - 40) ** 2 + (x - 20) ** 2) / 18.0)
    bright = np.repeat(rng.random(frames // 6 + 1) < 0.2, 6)[:frames, None, None]
    movie = scene + bright * cell + rng.normal(0, 20, (frames, SIDE, SIDE))
    tifffile.imwrite(path, movie.round().astype("uint16"), photometric="minisblack")
    return path


def studied(path: Path, **told: bool) -> Study:
    stack = open_stack(path)
    noise = measure_noise(stack, 0, progress=Silent())
    return study(stack, 0, FitSettings(), "t", noise, Silent(), **told)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return blinking(tmp_path_factory.mktemp("blinking") / "movie.tif", 200)


def test_the_background_is_the_scene_without_its_noise(recording):
    found = studied(recording)
    mean = tifffile.imread(recording).mean(axis=0, dtype=float)
    y, x = np.mgrid[:SIDE, :SIDE]
    scene = smooth_scene()
    level = found.background.at(Place(100.0), slice(0, SIDE), slice(0, SIDE))
    quiet = np.hypot(y - 40, x - 20) > 12
    assert np.std((level - scene)[quiet]) < 0.7 * np.std((mean - scene)[quiet])
    assert level.mean() == pytest.approx(mean.mean(), rel=1e-3)


def test_components_lie_where_something_changes_and_folds_have_them_too(recording):
    found = studied(recording)
    for ranks in (found.components.ranks, *(found.folds.at(t).ranks for t in range(0, 200, 33))):
        assert ranks.shape == (1, SIDE // BLOCK, SIDE // BLOCK)
        assert ranks[0, 1, 0] == 1
        # Of the noise of 25 blocks hardly any rises above what drawn noise has.
        assert ranks.sum() <= 5


def test_components_that_none_is_trained_with_are_not_searched(recording):
    found, whole = studied(recording, to_train=False), studied(recording)
    assert not len(found.folds.at(0).bases)
    np.testing.assert_array_equal(found.components.bases, whole.components.bases)


def test_of_few_frames_there_is_a_background_and_no_component(tmp_path):
    found = studied(blinking(tmp_path / "short.tif", 40))
    assert not found.background.is_flat
    assert not len(found.components.bases) and not len(found.folds.at(0).bases)


def test_of_very_few_there_is_not_even_that(tmp_path):
    assert studied(blinking(tmp_path / "short.tif", 12)).background.is_flat
