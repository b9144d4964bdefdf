"""Components are told without the planes that are trained on with them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from auto_tools import noise_of
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.auto.background import flat_background
from fm2s_stack.auto.component_search import ComponentSearch
from fm2s_stack.auto.components import BLOCK, Components, no_components
from fm2s_stack.auto.folds import FOLDS, PARTS, Folds, no_folds, search_folds

LEVEL, COUNT = 100.0, 96


def search(planes: np.ndarray) -> ComponentSearch:
    """Of planes whose noise has deviation 1."""
    return ComponentSearch(
        LEVEL + planes[:, None], range(len(planes)), flat_background(LEVEL), noise_of(0.0, 1.0)
    )


def recording() -> np.ndarray:
    """Noise, and a cell that is now bright, now not."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices((BLOCK, BLOCK))
    cell = np.exp(-((rows - 12) ** 2 + (columns - 20) ** 2) / 18)
    amounts = rng.normal(0, 1, COUNT)[:, None, None]
    return amounts * cell + rng.normal(0, 1, (COUNT, BLOCK, BLOCK))


@cache
def folds_of_recording() -> Folds:
    return search_folds(search(recording()), range(COUNT))


def part_of(number: int) -> int:
    """By counting: the recording is cut into runs of one length."""
    return sum(number >= COUNT / PARTS * part for part in range(1, PARTS))


@pytest.mark.parametrize("position", [0, 11, 12, 50, 95])
def test_the_planes_around_a_position_take_no_part_in_its_components(position):
    fold = part_of(position) % FOLDS
    changed = recording()
    rng = np.random.default_rng(2)
    for number in range(COUNT):
        if part_of(number) % FOLDS == fold:
            changed[number] = rng.normal(0, 9, (BLOCK, BLOCK))
    other = search_folds(search(changed), range(COUNT))
    before, after = folds_of_recording().at(position), other.at(position)
    assert before.ranks.tolist() == after.ranks.tolist() == [[[1]]]
    np.testing.assert_array_equal(before.bases, after.bases)


def test_all_other_planes_do():
    whole = search(recording())
    for fold in range(FOLDS):
        among = np.array([part_of(n) % FOLDS != fold for n in range(COUNT)])
        expected = search(recording()[among]).found()
        np.testing.assert_array_equal(whole.found(among=among).bases, expected.bases)
        got = folds_of_recording().at(fold * COUNT / PARTS).bases
        np.testing.assert_array_equal(got, expected.bases)


def test_noise_of_a_plane_is_in_its_own_components_and_not_in_those_of_other_planes():
    planes, whole = recording().astype(np.float32), search(recording()).found()

    def kept(components: Components, number: int) -> float:
        """Squares of what of the plane lies there."""
        return float(np.square(components.project(planes[number], 0, (0, 0))).sum())

    own = np.mean([kept(whole, n) for n in range(COUNT)])
    others = np.mean([kept(folds_of_recording().at(n), n) for n in range(COUNT)])
    assert others < own


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=PARTS, unique=True),
    st.floats(-10, 600),
)
def test_a_position_belongs_to_the_last_part_that_begins_before_it(starts, position):
    starts = sorted(starts)
    sets = tuple(no_components() for _ in range(FOLDS))
    part = max((n for n, start in enumerate(starts) if start <= position), default=0)
    assert Folds(tuple(starts), sets).at(position) is sets[part % FOLDS]


def test_a_short_recording_has_none():
    assert not len(no_folds().at(7.0).bases)
