"""Training a network by adding noise to a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from auto_tools import Float, denoiser_of, lags, noise_of

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, Place, flat_background
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.crops import Crop, draw_crop
from fm2s_stack.auto.lesson import Lesson, Run, stream_of
from fm2s_stack.auto.numbers import fit_size
from fm2s_stack.auto.reach import Reach, reach_of
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.auto.trainer import SHARES, Trainer, train
from fm2s_stack.errors import StoppedEarly

HALO = network.HALO
INNER = slice(HALO, -HALO)


def scene(side: int = 48) -> Float:
    """Photons of a scene with edges and slopes, from 20 to 60."""
    y, x = np.mgrid[:side, :side]
    return 40 + 10 * np.sin(x / 5.0) + 10.0 * ((y // 8 + x // 12) % 2)


def photons(frames: int = 40, side: int = 48, seed: int = 0) -> Float:
    """Frames of the constant scene, gain 2 and dark level 10."""
    return 10 + 2.0 * np.random.default_rng(seed).poisson(scene(side), (frames, side, side))


def lesson_of(planes: Float, reach: Reach | None = None, **told) -> Lesson:
    values = {
        "runs": (Run(Place(0), planes.astype(np.float32)),),
        "background": flat_background(90.0),
        "noise": noise_of(2.0, -20.0, mean_level=90.0),
        "skewness": Skewness(4.0, -40.0),
        "reach": reach or Reach(1, 1),
        "crop": 16,
        "steps": 3,
        "seed": 7,
    }
    return Lesson(**(values | told))


def background_of(level: Float) -> Background:
    """A background that stays, shape (y, x)."""
    return Background(level[None].astype(np.float32), np.zeros(1), np.array([[[0.0, 1.0]]]))


def crops_of(lesson: Lesson, count: int) -> list[Crop]:
    stream = stream_of(lesson, 0)
    recorruption = Recorruption(lesson.noise, lesson.skewness)
    return [draw_crop(lesson, recorruption, stream) for _ in range(count)]


def in_threads(compute: Callable[[int], torch.Tensor], count: int) -> list[torch.Tensor]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(compute, range(count)))


def from_the_last(compute: Callable[[int], torch.Tensor], count: int) -> list[torch.Tensor]:
    return [compute(i) for i in reversed(range(count))][::-1]


@pytest.mark.parametrize("side_by_side", [in_threads, from_the_last])
def test_how_the_shares_are_computed_shows_in_no_bit(side_by_side):
    lesson = lesson_of(photons(12, 24))
    weights, loss = train(lesson)
    others, other_loss = train(lesson, side_by_side=side_by_side)
    np.testing.assert_array_equal(others, weights)
    assert other_loss == loss


def test_the_seed_matters_and_nothing_else_that_is_random():
    lesson = lesson_of(photons(12, 24))
    torch.manual_seed(1)
    weights, _ = train(lesson)
    torch.manual_seed(2)
    np.testing.assert_array_equal(train(lesson)[0], weights)
    others, _ = train(replace(lesson, seed=8))
    assert weights.shape == others.shape == (fit_size(channel_count(3)),)
    assert np.mean(others != weights) > 0.9


def first_gradients(lesson: Lesson) -> list[tuple[float, ...]]:
    """Of the last biases, which no weight takes part in: each share's mean targets."""
    caught = []

    def catch(compute: Callable[[int], torch.Tensor], count: int) -> list[torch.Tensor]:
        caught.extend(compute(i) for i in range(count))
        return caught

    Trainer(replace(lesson, steps=1)).run(catch)
    return [tuple(gradient[-4:].tolist()) for gradient in caught]


def test_every_share_and_every_seed_sees_crops_of_its_own():
    lesson = lesson_of(photons(12, 24))
    seen = [first_gradients(replace(lesson, seed=seed)) for seed in (7, 8)]
    assert len({gradient for shares in seen for gradient in shares}) == 2 * SHARES


def test_progress_is_told_after_each_step_and_a_pulse_can_end_it():
    told = []
    train(lesson_of(photons(4, 16)), progress=told.append)
    assert told == [1, 2, 3]

    def stop() -> None:
        if len(told) == 5:
            raise StoppedEarly("enough")

    with pytest.raises(StoppedEarly):
        train(lesson_of(photons(4, 16)), progress=told.append, pulse=stop)
    assert told == [1, 2, 3, 1, 2]


def known(reach: Reach, rho: Float | None = None, frames: int = 8) -> Lesson:
    """A lesson of Gaussian noise of deviation 3 around a scene that is its background."""
    rng = np.random.default_rng(5)
    truth = rng.uniform(50, 150, (32, 32)).astype(np.float32)
    noise = noise_of(0.0, 9.0, rho)
    drawn = Recorruption(noise, Skewness(0, 0))
    stream = np.random.default_rng(3)
    planes = np.stack([truth + drawn.draw(truth, stream) for _ in range(frames)])
    return lesson_of(
        planes,
        reach,
        background=background_of(truth),
        noise=noise,
        skewness=Skewness(0, 0),
    )


@pytest.mark.parametrize("reach", [Reach(1, 1), Reach(0, 0), Reach(4, 0), Reach(4, 4)])
@pytest.mark.parametrize("rho", [None, lags({(0, 1): 0.35})], ids=["white", "coloured"])
def test_the_errors_of_all_that_is_shown_and_of_the_target_are_independent(reach, rho):
    # Few frames, so that those of a window stand in for each other, and for themselves.
    crops = crops_of(known(reach, rho, frames=40), 400)
    targets = np.stack([crop.target.numpy() for crop in crops])
    for channel in range(reach.count):
        shown = np.stack([crop.inputs[channel, INNER, INNER].numpy() for crop in crops])
        for shifted in (targets, np.roll(targets, 1, 2), np.roll(targets, 1, 1)):
            products = (shown * shifted).mean((1, 2))
            assert abs(products.mean()) < 4.5 * products.std() / np.sqrt(len(products)) + 0.02


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_no_plane_that_stands_in_for_itself_tells_its_own_noise(frames):
    for crop in crops_of(known(Reach(2, 2), frames=frames), 300):
        for shown in crop.inputs[:5, INNER, INNER].numpy():
            if shown.any():  # absent planes are shown as no deviation at all
                correlation = np.corrcoef(shown.ravel(), crop.target.numpy().ravel())[0, 1]
                assert abs(correlation) < 0.4


def test_input_and_target_have_twice_the_variance_of_the_noise_and_neighbours_once():
    crops = crops_of(known(Reach(1, 1)), 300)
    targets = np.stack([crop.target.numpy() for crop in crops])
    shown = np.stack([crop.inputs[:3, INNER, INNER].numpy() for crop in crops])
    assert abs(targets.var() - 2) < 0.1
    np.testing.assert_allclose(shown.var((0, 2, 3)), [2, 1, 1], atol=0.1)


def test_a_network_that_adds_nothing_has_the_loss_of_twice_the_noise():
    _, loss = train(replace(known(Reach(1, 1)), steps=1))
    assert abs(loss - 2) < 0.15


@pytest.mark.parametrize("reach", [Reach(2, 2), Reach(4, 0)])
def test_windows_of_first_and_last_planes_are_trained_often(reach):
    planes = np.broadcast_to(np.arange(1.0, 61)[:, None, None], (60, 16, 16))
    lesson = lesson_of(planes, reach, noise=noise_of(0.0, 1e-3), background=flat_background(0.0))
    lacking: Counter[tuple[int, bool]] = Counter()
    for crop in crops_of(lesson, 1000):
        absent = int(sum(not plane.any() for plane in crop.inputs[1:5]))
        levels = np.rint(crop.inputs[:5].mean((1, 2)).numpy() * np.sqrt(1e-3)).astype(int)
        steps = (levels[1:] - levels[0]).tolist()
        # What is told fits what is shown: planes that a whole window does not have.
        strange = sum(not -reach.before <= step <= reach.after or step == 0 for step in steps)
        missing = round(4 * float(crop.inputs[-3, 0, 0]))
        assert absent <= missing
        if reach.after:
            assert strange == missing
        else:
            assert absent == missing
        at_start = bool(reach.after) and sum(steps) > 0
        lacking[missing, at_start] += missing > 0
    assert 200 < lacking.total() < 350
    # As near an end as a plane can be, and everything between; on both sides, if any.
    sides = [(n, at_start) for n in (1, 2) for at_start in (True, False)]
    wanted = sides if reach.after else [(n, False) for n in (1, 2, 3, 4)]
    assert min(lacking[case] for case in wanted) > 30
    assert sum(lacking[case] for case in wanted) == lacking.total()


def test_each_plane_is_compared_with_the_background_of_its_place():
    planes = 100 + 10.0 * np.arange(5)[:, None, None] + np.zeros((5, 16, 16))
    lines = np.array([[[0.0, 1.0]], [[20.0, 1.2]]])  # 100 at the first plane, 140 at the last
    lesson = lesson_of(
        planes,
        runs=(Run(Place(20), planes.astype(np.float32)),),
        background=Background(np.full((1, 16, 16), 100, np.float32), np.array([20.0, 24.0]), lines),
    )
    for crop in crops_of(lesson, 50):
        clean = (crop.inputs[0, INNER, INNER] + crop.target) / 2
        assert float(clean.abs().max()) < 1e-4


@pytest.mark.parametrize("shape", [(20, 20), (15, 31), (7, 40)])
def test_a_crop_is_some_part_of_the_plane_turned_over_and_its_mirrored_surroundings(shape):
    scene = np.arange(float(np.prod(shape))).reshape(shape)
    rng = np.random.default_rng(0)
    background = rng.uniform(-99, 99, (1, 1, shape[0] + 3, shape[1] + 5)).astype(np.float32)
    lesson = lesson_of(
        np.stack([scene] * 5),
        runs=(Run(Place(0, 0, (3, 5)), np.stack([scene] * 5).astype(np.float32)),),
        noise=noise_of(0.0, 4.0, mean_level=0.0),
        background=background_of(background[0, 0]),
    )
    padded = np.pad(scene, HALO + 1, mode="symmetric")
    levels = np.pad(background[0, 0, 3:, 5:], HALO + 1, mode="symmetric")
    found = set()
    for crop in crops_of(lesson, 60):
        inputs, target = crop.inputs.numpy(), crop.target.numpy()
        # What was added to one was taken from the other: their mean is the plane.
        clean = (inputs[0, INNER, INNER] + target) / 2
        np.testing.assert_allclose(inputs[1, INNER, INNER], clean, atol=1e-3)
        wide = (inputs[1] * 2, inputs[3] * 20)  # above the background; the background
        high, broad = wide[0].shape
        fits = [
            (y, x, flips)
            for y in range(padded.shape[0] - high + 1)
            for x in range(padded.shape[1] - broad + 1)
            for flips in ((1, 1), (1, -1), (-1, 1), (-1, -1))
            for cut in [np.s_[y : y + high, x : x + broad]]
            if np.allclose(wide[1], levels[cut][:: flips[0], :: flips[1]], atol=1e-2)
            and np.allclose(sum(wide), padded[cut][:: flips[0], :: flips[1]], atol=1e-2)
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert {flips for _, _, flips in found} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert len({x for _, x, _ in found}) >= min(3, (shape[1] - 15) // 2)


def test_the_noise_that_is_added_is_that_of_the_level_and_not_of_the_planes_own_noise():
    # A pixel that is bright by chance gets no more noise than its neighbours in time tell.
    planes = np.full((12, 16, 16), 100.0)
    planes[::2] = 300.0
    lesson = lesson_of(planes, Reach(1, 1), noise=noise_of(1.0, 0.0), crop=16)
    lesson = replace(lesson, skewness=Skewness(0, 0), background=flat_background(1.0))
    for crop in crops_of(lesson, 200):
        added = (crop.inputs[0, INNER, INNER] - crop.target) / 2
        level = float(crop.inputs[1:3].mean() + 1)
        assert abs(float(added.var()) / level - 1) < 0.5


def test_a_constant_scene_is_learnt_without_bias_and_far_below_its_noise():
    planes = photons(40)
    lesson = lesson_of(planes, reach_of(2, causal=False), crop=32, steps=150)
    weights, loss = train(lesson)
    made = denoiser_of(reach=lesson.reach, noise=lesson.noise, background=lesson.background)
    got = replace(made, weights=weights[None])(planes, dtype="float64")
    truth = 10 + 2 * scene()
    raw, left = (np.sqrt(((p - truth) ** 2).mean((1, 2))) for p in (planes, got))
    assert left.max() < 0.45 * raw.mean()
    assert abs((got - truth).mean()) < 0.02 * raw.mean()
    for level in (0, 1):  # bright and dark parts
        part = (truth > np.median(truth)) == level
        assert abs((got - truth)[:, part].mean()) < 0.06 * raw.mean()
    assert 2 < loss < 2.5  # 2 is what no network can know: the noise, and what was added


def test_the_first_plane_of_a_causal_denoiser_is_denoised_too():
    planes = photons(24)
    lesson = lesson_of(planes, reach_of(1, causal=True), crop=32, steps=100)
    weights, _ = train(lesson)
    made = denoiser_of(reach=lesson.reach, noise=lesson.noise, background=lesson.background)
    first = replace(made, weights=weights[None])(planes, dtype="float64")[0]
    truth = 10 + 2 * scene()
    assert ((first - truth) ** 2).mean() < 0.5 * ((planes[0] - truth) ** 2).mean()
