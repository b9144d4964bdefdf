"""The plan, against brute force."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.errors import MemoryTooSmall
from fm2s_stack.memory import BASE
from fm2s_stack.plan import Plan, Request, make_plan

lengths = st.tuples(
    st.integers(1, 200),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
requests = st.builds(
    Request,
    shape=lengths,
    along=st.sampled_from("tz"),
    input_itemsize=st.sampled_from([1, 2, 4]),
    output_itemsize=st.sampled_from([1, 2, 8]),
    block_bytes=st.integers(1, 10**8),
    workers=st.integers(1, 5),
    memory=st.none() | st.integers(BASE + 10**7, 6 * 10**9),
    pyramid=st.sampled_from(["yx", "zyx", "none"]),
    sharded=st.booleans(),
    chunks=st.none() | st.tuples(st.integers(1, 70), st.integers(1, 600), st.integers(1, 600)),
    most_planes=st.sampled_from([1, 16, 64]),
    whole_planes=st.booleans(),
)


def boxes(plan: Plan) -> list[tuple[tuple[int, int], ...]]:
    return [(u.t, (u.c, u.c + 1), u.z, u.y, u.x) for u in plan.units]


def files(box, level) -> set[tuple[int, ...]]:
    """Files of a level that hold a pixel of a level-0 box, one by one along each axis."""
    file = level.shard or level.chunk
    spans = [
        sorted(
            {
                pixel // f // n
                for pixel in (start, *range(start - start % (f * n) + f * n, stop, f * n))
            }
        )
        for (start, stop), f, n in zip(box, level.factor, file, strict=True)
    ]
    return set(itertools.product(*spans))


@settings(max_examples=60, deadline=None)
@given(requests)
def test_units_cover_every_pixel_once_and_own_whole_files_at_every_level(request):
    plan = make_plan(request)
    if len(plan.units) > 800:
        return
    assert sum(math.prod(unit.shape) for unit in plan.units) == math.prod(request.shape)
    for number, level in enumerate(plan.levels):
        owners: dict[tuple[int, ...], int] = {}
        for unit, box in zip(plan.units, boxes(plan), strict=True):
            for file in files(box, level):
                assert owners.setdefault(file, unit.index) == unit.index, (number, file)
    assert [unit.index for unit in plan.units] == list(range(len(plan.units)))


@settings(max_examples=150, deadline=None)
@given(requests)
def test_levels_halve_and_their_chunks_divide_their_shards(request):
    plan = make_plan(request)
    assert plan.levels[0].shape == request.shape
    for level in plan.levels:
        assert level.shape == tuple(
            -(-n // f) for n, f in zip(request.shape, level.factor, strict=True)
        )
        assert (level.shard is not None) == request.sharded
        if level.shard:
            assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))
    if request.pyramid == "none":
        assert len(plan.levels) == 1
    else:
        assert max(plan.levels[-1].shape[3:]) <= 256
        assert all(max(level.shape[3:]) > 256 for level in plan.levels[:-1])


@settings(max_examples=150, deadline=None)
@given(requests)
def test_a_plan_keeps_its_bounds(request):
    plan = make_plan(request)
    assert 1 <= plan.workers <= request.workers
    *_, rows, columns = request.shape
    along = 0 if request.along == "t" else 2
    for unit in plan.units[:50]:
        if request.chunks is None:
            assert unit.shape[along] <= request.most_planes
        if request.whole_planes:
            assert unit.shape[3:] == (rows, columns)
        assert unit.y[0] % 256 == 0 and unit.x[0] % 256 == 0, "the network's grid"
    if plan.fits and request.memory is not None:
        assert plan.projected_bytes <= request.memory
    if not plan.fits:
        with pytest.raises(MemoryTooSmall, match="GB"):
            plan.require_memory()
        more = make_plan(replace(request, memory=None))
        assert more.fits


MOVIE = Request((10_000, 1, 1, 512, 512), "t", 2, 2, 8 * 2**20, workers=3)


def test_a_movie_is_cut_into_shards_of_64_whole_frames():
    plan = make_plan(MOVIE)
    assert plan.units[0].shape == (64, 1, 1, 512, 512)
    assert len(plan.units) == 157
    assert plan.levels[0].shard == (64, 1, 1, 512, 512)
    assert plan.levels[0].chunk == (16, 1, 1, 256, 256)
    assert [level.shape[3] for level in plan.levels] == [512, 256]
    assert plan.projected_bytes < 1.2e9


def test_memory_does_not_grow_with_the_movie():
    short, long = (make_plan(replace(MOVIE, shape=(n, 1, 1, 512, 512))) for n in (500, 100_000))
    assert short.projected_bytes == long.projected_bytes


def test_less_memory_means_smaller_units_then_an_error_that_is_still_a_plan():
    sizes = [make_plan(replace(MOVIE, memory=m)) for m in (2 * 10**9, 800 * 10**6, 10**6)]
    depth = [plan.units[0].shape[0] * plan.workers for plan in sizes]
    assert depth[0] > depth[1] and sizes[1].fits
    assert not sizes[2].fits and sizes[2].units


def test_a_huge_plane_is_tiled():
    plan = make_plan(Request((4, 1, 1, 30_000, 30_000), "t", 2, 2, 10**6, memory=3 * 10**9))
    assert plan.fits and max(plan.units[0].shape[3:]) <= 8192
    assert np.prod(plan.units[0].shape) * 2 <= 2**28
