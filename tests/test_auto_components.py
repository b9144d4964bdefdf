"""Principal components of the blocks of a recording."""

from __future__ import annotations

import numpy as np
import pytest
from auto_tools import lags, noise_of

from fm2s_stack.auto.background import Background, flat_background
from fm2s_stack.auto.component_search import MOST, ComponentSearch
from fm2s_stack.auto.components import BLOCK, Components, no_components

LEVEL, DEVIATION = 100.0, 10.0
FLAT = flat_background(LEVEL)


def recording(sources: np.ndarray, strengths: np.ndarray, seed: int = 0) -> np.ndarray:
    """White noise around one level, and sources (n, y, x) that change at random."""
    rng = np.random.default_rng(seed)
    amounts = rng.normal(0, 1, (160, len(sources))) * strengths
    noise = rng.normal(0, 1, (160, *sources.shape[1:]))
    return LEVEL + DEVIATION * (np.tensordot(amounts, sources, 1) + noise)


def blob(shape: tuple[int, int], y: float, x: float, width: float = 3.0) -> np.ndarray:
    rows, columns = np.indices(shape)
    found = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))
    return found / np.linalg.norm(found)


def search(movie: np.ndarray, background: Background = FLAT, **noise: object) -> Components:
    model = noise_of(0.0, DEVIATION**2, **noise)
    return ComponentSearch(movie[:, None], range(len(movie)), background, model).found()


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_noise_alone_has_no_components_also_where_it_is_correlated(rho):
    rng = np.random.default_rng(3)
    white = rng.normal(0, 1, (160, 96, 97))
    share = (1 - np.sqrt(1 - 4 * rho**2)) / (2 * rho) if rho else 0.0
    noise = (white[..., :-1] + share * white[..., 1:]) / np.hypot(1, share)
    found = search(LEVEL + DEVIATION * noise, rho=lags({(0, 1): rho}))
    assert found.ranks.shape == (1, 3, 3) and found.ranks.sum() == 0


def test_what_changes_together_is_found_where_it_is_and_nothing_else():
    shape = (64, 64)
    sources = np.stack([blob(shape, 10, 12), blob(shape, 20, 22), blob(shape, 45, 50)])
    found = search(recording(sources, np.array([12.0, 12.0, 12.0])))
    assert found.ranks.tolist() == [[[2, 0], [0, 1]]]


def test_components_keep_their_sources_and_hardly_any_noise():
    shape = (64, 64)
    source = blob(shape, 14, 15)
    found = search(recording(source[None], np.array([30.0])))
    kept = found.project((5 * source).astype(np.float32), 0, (0, 0))
    assert np.vdot(kept, source) == pytest.approx(5, rel=0.03)
    noise = np.random.default_rng(9).normal(0, 1, (200, *shape)).astype(np.float32)
    left = [np.square(found.project(plane, 0, (0, 0))).sum() for plane in noise]
    assert np.mean(left) == pytest.approx(found.ranks.sum(), abs=0.4)


def test_a_projection_is_that_of_least_squares_on_each_block():
    shape = (70, 45)  # ends within blocks
    rng = np.random.default_rng(5)
    sources = rng.normal(0, 1, (3, *shape)) / 20
    found = search(recording(sources, np.array([30.0, 20.0, 15.0])))
    assert found.ranks.min() >= 1
    plane = rng.normal(0, 1, shape).astype(np.float32)
    got = found.project(plane, 0, (0, 0))
    start = 0
    for row, column in np.ndindex(found.ranks.shape[1:]):
        here = np.s_[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
        block = plane[here]
        basis = found.bases[start : start + found.ranks[0, row, column]]
        start += len(basis)
        matrix = basis[:, : block.shape[0], : block.shape[1]].reshape(len(basis), -1).T
        amounts = np.linalg.lstsq(matrix.astype(float), block.ravel().astype(float), rcond=None)[0]
        np.testing.assert_allclose(
            got[here], (matrix @ amounts).reshape(block.shape), atol=0.02 * np.abs(block).max()
        )


def test_a_part_has_the_projection_of_the_whole():
    rng = np.random.default_rng(6)
    movie = recording(rng.normal(0, 1, (4, 96, 80)) / 20, np.full(4, 20.0))
    found = search(movie)
    plane = rng.normal(0, 1, (96, 80)).astype(np.float32)
    whole = found.project(plane, 0, (0, 0))
    part = found.project(plane[32:, 64:], 0, (32, 64))
    np.testing.assert_array_equal(part, whole[32:, 64:])


def test_planes_at_one_position_have_components_of_their_own():
    shape = (32, 32)
    still = recording(np.zeros((1, *shape)), np.zeros(1))
    lively = recording(blob(shape, 16, 16)[None], np.array([15.0]), seed=1)
    background = Background(np.full((2, *shape), LEVEL, np.float32), np.zeros(1), LINES)
    model = noise_of(0.0, DEVIATION**2)
    movie = np.stack([still, lively], axis=1)
    found = ComponentSearch(movie, range(len(movie)), background, model).found()
    assert found.ranks.ravel().tolist() == [0, 1]
    plane = blob(shape, 16, 16).astype(np.float32)
    assert not found.project(plane, 0, (0, 0)).any()
    assert np.vdot(found.project(plane, 1, (0, 0)), plane) == pytest.approx(1, rel=0.05)


LINES = np.array([[[0.0, 1.0], [0.0, 1.0]]])


def test_there_are_never_more_than_can_be_stored():
    rng = np.random.default_rng(8)
    movie = recording(rng.normal(0, 1, (40, 32, 32)) / 32, np.full(40, 30.0))
    assert search(movie).ranks.max() == MOST


def test_without_components_nothing_is_shown():
    plane = np.ones((40, 50), np.float32)
    assert not no_components().project(plane, 3, (64, 0)).any()


def test_fading_light_is_not_a_component():
    rng = np.random.default_rng(2)
    scene = rng.uniform(50, 500, (64, 64)).astype(np.float32)
    fading = np.exp(-np.arange(160) / 100)
    movie = fading[:, None, None] * scene + rng.normal(0, DEVIATION, (160, 64, 64))
    lines = np.stack([np.zeros(160), fading], axis=-1)[:, None]
    background = Background(scene[None], np.arange(160.0), lines)
    assert search(movie, background).ranks.sum() == 0
