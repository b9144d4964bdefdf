"""The noise that networks are trained against."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.fm2s.noise import draw, patch_level
from fm2s_stack.settings import Preset


def levels_one_by_one(target: np.ndarray, stride: int) -> np.ndarray:
    """Patch levels by loops over a plane padded with zeros at the right and bottom."""
    rows, columns = (-(-n // stride) * stride for n in target.shape)
    padded = np.zeros((rows, columns))
    padded[: target.shape[0], : target.shape[1]] = target
    found = np.empty(target.shape)
    for y, x in np.ndindex(target.shape):
        top, left = y // stride * stride, x // stride * stride
        mean = padded[top : top + stride, left : left + stride].mean()
        found[y, x] = min(max(mean, 1e-5), 0.15)
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 9))
def test_patch_levels_count_the_padding_and_are_clamped(rows, columns, stride, seed):
    target = np.random.default_rng(seed).random((rows, columns)) * 0.3
    level = patch_level(torch.from_numpy(target).float(), stride).numpy()
    np.testing.assert_allclose(level, levels_one_by_one(target, stride), rtol=1e-5)


def moments(target: float, level: float, preset: Preset) -> tuple[float, float, torch.Tensor]:
    planes = torch.full((1, 1, 300, 300), target)
    drawn = draw(planes, torch.full_like(planes, level), preset, torch.Generator().manual_seed(3))
    return float(drawn.mean()), float(drawn.var()), drawn


def test_the_noise_has_the_variance_of_its_three_parts_where_nothing_is_clamped():
    preset = Preset("wide", 2, 75, 3, k_g=20, k_p=400, lambda_p=900)
    target, level = 0.5, 0.1
    mean, variance, _ = moments(target, level, preset)
    expected = target * level / 400 + (20 / 255 * level) ** 2 + target / 900
    assert mean == pytest.approx(target, abs=1e-3)
    assert variance == pytest.approx(expected, rel=0.03)


def test_the_noise_is_drawn_independently_in_each_channel_and_stays_in_range():
    preset = Preset("strong", 6, 5, 3, k_g=200, k_p=30, lambda_p=70)
    _, _, drawn = moments(0.1, 0.15, preset)
    assert drawn.shape == (1, 6, 300, 300)
    assert float(drawn.min()) >= 0 and float(drawn.max()) <= 1
    correlation = torch.corrcoef(drawn[0].reshape(6, -1)) - torch.eye(6)
    assert float(correlation.abs().max()) < 0.02


def test_targets_below_black_draw_no_photons():
    preset = Preset("no read noise", 1, 5, 3, k_g=0, k_p=30, lambda_p=70)
    planes = torch.full((1, 1, 8, 8), -0.2)
    drawn = draw(planes, torch.full_like(planes, 0.1), preset, torch.Generator().manual_seed(0))
    assert not drawn.any()
