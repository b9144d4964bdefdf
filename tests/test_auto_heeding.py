"""Of what happens, a result has what the plane itself shows; how much it must take is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from auto_tools import Float, noise_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fm2s_stack.auto import heeding, network
from fm2s_stack.auto.background import Place, flat_background
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.components import BLOCK, Components, part_heeded
from fm2s_stack.auto.events import find_events
from fm2s_stack.auto.folds import Folds
from fm2s_stack.auto.heeding import WHOLE, measure_heed
from fm2s_stack.auto.lesson import Lesson, Run
from fm2s_stack.auto.light import lost_light
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.sites import site_at
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.progress import unheard

FRAMES, EVERY = 320, 20
CHANNELS = channel_count(5)
SIDES = (64, 48)  # the last block of a row is half a block


def cell(sides: tuple[int, int] = SIDES, at: tuple[float, float] = (14, 40)) -> Float:
    """A round cell, its square sum 1."""
    rows, columns = np.indices(sides)
    bright = np.exp(-((rows - at[0]) ** 2 + (columns - at[1]) ** 2) / 18)
    return bright / np.linalg.norm(bright)


def moving() -> Float:
    """What a cell adds and takes away when it moves; its square sum 1."""
    change = cell(at=(14, 42)) - cell(at=(14, 38))
    return change / np.linalg.norm(change)


def components_of(*patterns: Float) -> Components:
    """Those of the block in which patterns lie: the first row's last."""
    inner = np.zeros((len(patterns), BLOCK, BLOCK), np.float16)
    for one, pattern in zip(inner, patterns, strict=True):
        one[:, :16] = pattern[:32, 32:] / np.linalg.norm(pattern[:32, 32:])
    return Components(np.array([[[0, len(patterns)], [0, 0]]]), inner)


def activity(size: float, decay: float = 12.0) -> Float:
    """Something begins every `EVERY` frames, and decays."""
    since = np.arange(FRAMES) % EVERY
    return size * np.exp(-since / decay) * (np.arange(FRAMES) >= EVERY)


def lesson_of(
    pattern: Float, size: float, components: Components | None = None, decay: float = 12.0
) -> Lesson:
    """Noise of deviation 2 around 100, in which something happens; sizes in deviations."""
    noise = np.random.default_rng(1).normal(size=(FRAMES, *SIDES))
    planes = 100 + 2 * (activity(size, decay)[:, None, None] * pattern + noise)
    return Lesson(
        runs=(Run(Place(0), planes.astype(np.float32)),),
        background=flat_background(100.0),
        noise=noise_of(0.0, 4.0),
        skewness=Skewness(0.0, 0.0),
        reach=Reach(2, 2),
        crop=32,
        steps=1,
        seed=3,
        folds=Folds((0.0,), (components or components_of(pattern),)),
    )


@pytest.fixture
def keeping(monkeypatch):
    """Take a network's place: what it makes is a part of the plane that it is shown."""

    def keep(part: float) -> None:
        inner = slice(network.HALO, -network.HALO)
        monkeypatch.setattr(
            heeding.network, "run", lambda kernels, shown: part * shown[:, 0, inner, inner]
        )

    return keep


def weights() -> NDArray[np.float32]:
    return np.zeros(network.parameter_count(CHANNELS), np.float32)


def test_events_are_found_where_they_begin_and_look_like_what_happens():
    events, course = find_events(lesson_of(cell(), 40.0), unheard)
    begins = set(range(EVERY, FRAMES - 1, EVERY))
    assert len(events) == len(begins)
    assert all(any(abs(event.number - at) <= 1 for at in begins) for event in events)
    truth = cell()[:32, 32:]
    for event in events:
        assert event.block == (slice(0, 32), slice(32, 48))
        pattern = event.pattern / np.linalg.norm(event.pattern)
        assert (pattern * truth).sum() / np.linalg.norm(truth) > 0.99
    since = activity(1.0)[2 * EVERY - 6 :]
    rise = since[6:] - since[:4].mean()  # over the planes before, in which the last one decays
    expected = rise[:10] / rise[:2].mean()
    np.testing.assert_allclose([course(step) for step in range(10)], expected, atol=0.1)
    assert course(-3) == 0 and abs(course(-2)) < 0.1


def test_noise_alone_has_no_events():
    assert find_events(lesson_of(cell(), 0.0), unheard)[0] == []


def test_what_moves_is_no_event():
    lesson = lesson_of(moving(), 15.0)
    assert find_events(lesson, unheard)[0] == []


@pytest.mark.parametrize("part", [0.6, 0.8, 0.9])
def test_as_much_is_taken_as_makes_events_whole(keeping, part):
    keeping(part)
    heed = measure_heed(lesson_of(cell(), 15.0, decay=3.0), weights())
    # In its first two planes, 11 and 15 deviations, it is high; then it is calm for long.
    kept = [part + (1 - part) * part_heeded(np.float32(part * size), heed) for size in (10, 18)]
    assert heed > 0
    assert kept[0] - 0.01 < WHOLE < kept[1] + 0.01


def test_a_network_that_keeps_all_need_not_heed_the_planes(keeping):
    keeping(1.0)
    assert measure_heed(lesson_of(cell(), 15.0), weights()) == 0


def test_where_no_event_is_seen_nothing_is_taken(keeping):
    keeping(0.5)
    assert measure_heed(lesson_of(cell(), 0.0), weights()) == 0
    nothing = Components(np.zeros((1, 2, 2), np.int64), np.empty((0, BLOCK, BLOCK), np.float16))
    assert measure_heed(lesson_of(cell(), 15.0, nothing), weights()) == 0


def test_what_keeps_next_to_nothing_does_not_take_the_planes_for_whole(keeping):
    keeping(0.02)
    assert measure_heed(lesson_of(cell(), 15.0), weights()) == heeding.HEEDS[-1]


@given(
    part=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    at=st.integers(0, FRAMES - 1),
    since=st.integers(-2, 6),
    reach=st.sampled_from([Reach(2, 2), Reach(1, 1), Reach(4, 0), Reach(0, 0)]),
)
def test_an_event_that_is_let_happen_is_as_if_it_had_been_recorded(part, at, since, reach):
    lesson = replace(lesson_of(cell(), 4.0), reach=reach)
    rows, columns = ((32 * n, min(32 * n + 32, side)) for n, side in zip(part, SIDES, strict=True))
    pattern = np.random.default_rng(at).normal(size=(rows[1] - rows[0], columns[1] - columns[0]))
    course = {-2: 0.2, -1: 0.5, 0: 1.0, 1: 0.9, 2: 0.8, 3: 0.6}

    def amount(step: int) -> float:
        return course.get(step, 0.0)

    planes = lesson.runs[0].planes.copy()
    for step in range(FRAMES):
        planes[step, slice(*rows), slice(*columns)] += 2 * amount(since + step - at) * pattern
    recorded = replace(lesson, runs=(replace(lesson.runs[0], planes=planes),))
    expected = site_at(recorded, recorded.runs[0], at, (rows, columns))
    got = site_at(lesson, lesson.runs[0], at, (rows, columns)).with_event(
        pattern.astype(np.float32), amount, since
    )
    np.testing.assert_allclose(
        got.shown(got.deviations[0]), expected.shown(expected.deviations[0]), atol=1e-4
    )


def test_half_is_taken_of_a_change_of_the_size_that_is_told():
    sizes = np.array([0.0, 1.0, 2.0, 4.0, 20.0], np.float32)
    np.testing.assert_allclose(part_heeded(sizes, 0.25), [0, 0.2, 0.5, 0.8, 100 / 101], rtol=1e-6)


def orthonormal(count: int) -> NDArray[np.float16]:
    """As good as half precision holds them."""
    q = np.linalg.qr(np.random.default_rng(2).normal(size=(BLOCK * BLOCK, count)))[0]
    return q.T.reshape(count, BLOCK, BLOCK).astype(np.float16)


@pytest.mark.parametrize("origin", [(0, 0), (32, 0)])
def test_what_is_heeded_lies_in_the_components_block_by_block(origin):
    rng = np.random.default_rng(5)
    ranks = np.array([[[2, 0], [1, 3]]])
    components = Components(ranks, orthonormal(6))
    shape = (64 - origin[0], 64)
    made, own = rng.normal(0, 3, (2, *shape)).astype(np.float32)
    got = components.heeded(own, made, 0.5, 0, origin)
    starts = {(0, 0): (0, 2), (0, 1): (2, 2), (1, 0): (2, 3), (1, 1): (3, 6)}
    for (row, column), (first, last) in starts.items():
        if 32 * row < origin[0]:
            continue
        block = np.s_[32 * row - origin[0] :, 32 * column :][0:2]
        block = tuple(slice(part.start, part.start + 32) for part in block)
        expected = made[block].astype(float)
        for basis in components.bases[first:last].astype(float):
            size, there = (basis * made[block]).sum(), (basis * own[block]).sum()
            expected += basis * (there - size) * 0.5 * size**2 / (1 + 0.5 * size**2)
        np.testing.assert_allclose(got[block], expected, atol=1e-4)


def test_heeding_nothing_changes_no_bit():
    made = np.random.default_rng(6).normal(size=(64, 48)).astype(np.float32)
    own = np.zeros_like(made)
    got = components_of(cell()).heeded(own, made, 0.0, 0, (0, 0))
    np.testing.assert_array_equal(got, made)


def test_light_is_measured_with_the_components_that_results_are_made_with(keeping):
    keeping(0.5)
    nothing = Components(np.zeros((1, 2, 2), np.int64), np.empty((0, BLOCK, BLOCK), np.float16))
    lesson = lesson_of(cell(), 15.0, nothing)
    half = 0.5 * np.mean(lesson.runs[0].planes - 100) / 2
    assert lost_light(lesson, weights(), 1.0).lost == pytest.approx(half, rel=0.1)
    applied = replace(lesson, components=components_of(cell()))
    assert lost_light(applied, weights(), 1.0).lost < 0.3 * half
