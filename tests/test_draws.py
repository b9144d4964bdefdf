"""What networks are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fm2s_stack.fm2s import draws
from fm2s_stack.fm2s.draws import Drawer, beside
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.training_planes import prepare_plane
from fm2s_stack.settings import FitSettings

PRESET = replace(find_preset("twophoton"), filter=1, stride=7)
SETTINGS = FitSettings(PRESET, crop=16)


def planes(shape: tuple[int, int] = (23, 30)) -> np.ndarray:
    """Two planes in which every value is found once."""
    values = np.random.default_rng(0).permutation(2 * shape[0] * shape[1])
    return (values.reshape(2, *shape) / (4 * values.size)).astype(np.float32)


def drawer(seed: int = 5, settings: FitSettings = SETTINGS, valid: bool = False) -> Drawer:
    masks = [np.arange(30) < 10] * 2 if valid else [None] * 2
    return Drawer(
        [
            prepare_plane(own, PRESET, "cpu", None if mask is None else np.tile(mask, (23, 1)))
            for own, mask in zip(planes(), masks, strict=True)
        ],
        settings,
        seed,
        "cpu",
    )


def levels_by_hand(plane: np.ndarray) -> np.ndarray:
    found = np.empty_like(plane)
    for y in range(0, 23, 7):
        for x in range(0, 30, 7):
            total = plane[y : y + 7, x : x + 7].sum() / 49  # what is missing counts as zero
            found[y : y + 7, x : x + 7] = np.clip(total, 1e-5, 0.15)
    return found


def test_crops_lie_inside_their_planes_and_levels_on_the_whole_planes_grid(monkeypatch):
    met: list[torch.Tensor] = []

    def noted(target, level, preset, stream):
        met.append(level)
        return target.expand(-1, preset.amplification, -1, -1)

    monkeypatch.setattr(draws.noise, "draw", noted)
    batch = drawer().noised(200)
    assert batch.target.shape == (200, 1, 16, 16) and batch.weight is None
    corners = set()
    for crop, level in zip(batch.target[:, 0].numpy(), met[0][:, 0].numpy(), strict=True):
        (n,), (y,), (x,) = np.nonzero(planes() == crop[0, 0])
        np.testing.assert_array_equal(crop, planes()[n, y : y + 16, x : x + 16])
        expected = levels_by_hand(planes()[n])[y : y + 16, x : x + 16]
        np.testing.assert_allclose(level, expected, rtol=1e-5)
        corners.add((int(n), int(y), int(x)))
    assert {n for n, _, _ in corners} == {0, 1}
    assert {y for _, y, _ in corners} == set(range(8)) and {x for *_, x in corners} == set(
        range(15)
    )


def test_crops_are_the_same_however_many_are_drawn_at_a_time():
    one, other = drawer(), drawer()
    together = one.noised(6).target
    apart = torch.cat([other.noised(n).target for n in (1, 3, 2)])
    assert torch.equal(together, apart)


def test_every_draw_of_a_batch_has_noise_of_its_own():
    whole = replace(SETTINGS, crop=None)
    batch = drawer(settings=whole).noised(8)
    apart = (batch.inputs - batch.target).numpy().reshape(16, -1)
    assert np.abs(np.corrcoef(apart) - np.eye(16)).max() < 0.25
    assert abs(apart.mean()) < 0.01 and batch.inputs.min() >= 0 and batch.inputs.max() <= 1


def test_draws_of_one_seed_agree_and_those_of_another_do_not():
    assert torch.equal(drawer().noised(3).inputs, drawer().noised(3).inputs)
    assert not torch.equal(drawer().noised(3).target, drawer(6).noised(3).target)


def test_networks_beside_each_other_keep_their_draws_and_get_weights_of_one():
    masked, plain = drawer(valid=True).noised(4), drawer(6).noised(4)
    together = beside([masked, plain]).one(2)
    assert torch.equal(together.inputs[:, :2], masked.inputs[2:3])
    assert torch.equal(together.inputs[:, 2:], plain.inputs[2:3])
    assert torch.equal(together.target[:, 1:], plain.target[2:3])
    assert together.weight is not None and masked.weight is not None
    assert torch.equal(together.weight[:, :1], masked.weight[2:3])
    assert bool((together.weight[:, 1] == 1).all()) and not bool(together.weight[:, 0].all())


def test_the_first_draw_is_the_recording_as_it_is():
    first = drawer().recorded()
    (n,), (y,), (x,) = np.nonzero(planes() == float(first.inputs[0, 0, 0, 0]))
    for channel in first.inputs[0].numpy():
        np.testing.assert_array_equal(channel, planes()[n, y : y + 16, x : x + 16])
    assert pytest.approx(0) == float((first.inputs - first.target).abs().max())
