"""Which planes a plane is denoised from."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.auto.reach import Reach, Window, reach_of
from fm2s_stack.engine.near import segment_at, segments_of
from fm2s_stack.engine.near_task import with_neighbours
from fm2s_stack.plan import Unit
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import NO_FRAMES


@st.composite
def placed(draw: st.DrawFn) -> tuple[Reach, int, tuple[int, int]]:
    """A reach, and a plane somewhere in a segment."""
    reach = Reach(draw(st.integers(0, 8)), draw(st.integers(0, 4)))
    first = draw(st.integers(-5, 30))
    length = draw(st.integers(1, 24))
    return reach, first + draw(st.integers(0, length - 1)), (first, first + length)


def offered(reach: Reach, position: int, segment: tuple[int, int]) -> set[int]:
    """Planes of the segment that may belong to a window."""
    return {p for p in range(*segment) if reach.after or p <= position}


@given(placed())
def test_a_window_has_its_own_plane_first_and_stays_in_the_segment(case):
    reach, position, segment = case
    planes = reach.window(position, segment).planes
    assert planes[0] == position
    assert len(planes) == reach.count == 1 + reach.before + reach.after
    assert set(planes) <= offered(*case)


@given(placed())
def test_no_plane_comes_twice_where_there_are_enough(case):
    reach, position, segment = case
    planes, there = reach.window(position, segment).planes, offered(*case)
    assert len(set(planes)) == min(reach.count, len(there))


@given(st.integers(0, 4), st.integers(0, 20), st.integers(1, 21))
def test_a_causal_window_never_has_a_later_plane(neighbours, position, more):
    reach = reach_of(neighbours, causal=True)
    planes = reach.window(position, (0, position + more)).planes
    assert max(planes) == position
    assert reach.count == reach_of(neighbours, causal=False).count


@given(st.integers(0, 4), st.integers(4, 20))
def test_a_whole_window_is_symmetric_and_the_nearest_come_first(neighbours, position):
    window = reach_of(neighbours, causal=False).window(position, (0, position + 5))
    steps = [plane - position for plane in window.planes]
    assert sorted(steps) == list(range(-neighbours, neighbours + 1))
    assert [abs(step) for step in steps] == sorted(abs(step) for step in steps)
    assert all(a == -b for a, b in zip(steps[1::2], steps[2::2], strict=True))
    assert window.missing == 0


@given(placed())
def test_stand_ins_are_the_nearest_that_are_left(case):
    reach, position, segment = case
    wanted = set(range(position - reach.before, position + reach.after + 1))
    left = sorted(offered(*case) - wanted, key=lambda p: (abs(p - position), p))
    lacking = len(wanted - set(range(*segment)))
    planes = reach.window(position, segment).planes
    assert set(planes) == (wanted & set(range(*segment))) | set(left[:lacking])
    # Those that are there keep their places, and the nearest stand-in comes first.
    order = [position + step for step in reach.steps]
    stood_in = [p for p, own in zip(planes, order, strict=True) if p != own]
    assert stood_in[: len(left)] == left[: len(stood_in)]
    assert all(p == own for p, own in zip(planes, order, strict=True) if own in range(*segment))


def test_where_no_plane_is_left_the_neighbour_is_absent_and_never_the_plane_itself():
    assert Reach(2, 2).window(0, (0, 4)) == Window((0, 3, 1, 0, 2), 0.5, (3,))
    assert Reach(4, 0).window(1, (0, 9)) == Window((1, 0, 1, 1, 1), 0.75, (2, 3, 4))
    assert Reach(1, 1).window(5, (5, 6)) == Window((5, 5, 5), 1.0, (1, 2))


@given(placed())
def test_the_plane_itself_is_named_again_exactly_where_none_is_there(case):
    reach, position, segment = case
    window = reach.window(position, segment)
    again = [n for n, plane in enumerate(window.planes) if n and plane == position]
    assert tuple(again) == window.absent


@given(placed())
def test_missing_is_the_part_of_the_neighbours_that_are_not_there(case):
    reach, position, segment = case
    neighbours = list(range(position - reach.before, position + reach.after + 1))
    neighbours.remove(position)
    lacking = sum(p not in range(*segment) for p in neighbours)
    assert reach.window(position, segment).missing == (lacking / max(len(neighbours), 1))


@given(st.integers(0, 3), st.booleans(), st.lists(st.integers(1, 29), unique=True), st.data())
def test_exactly_the_planes_from_first_to_last_of_the_windows_are_read(
    neighbours, causal, breaks, data
):
    stack = stack_of(30, tuple(sorted(breaks)))
    first = data.draw(st.integers(0, 29))
    own = (first, data.draw(st.integers(first + 1, 30)))
    reach = reach_of(neighbours, causal=causal)
    job, denoiser = SimpleNamespace(stack=stack, along="t"), SimpleNamespace(reach=reach)
    read = with_neighbours(job, denoiser, Unit(0, own, 0, (0, 1), (0, 5), (0, 5)))
    segments = segments_of(stack, "t")
    read_by = {q for p in range(*own) for q in reach.window(p, segment_at(segments, p)).planes}
    assert (min(read_by), max(read_by) + 1) == read.t
    assert (read.z, read.y, read.x) == ((0, 1), (0, 5), (0, 5))


def stack_of(frames: int, breaks: tuple[int, ...], slices: int = 1) -> SimpleNamespace:
    """What is asked of a stack."""
    stack = SimpleNamespace(image=SimpleNamespace(shape=(frames, 1, slices, 8, 8)), breaks=breaks, cuts=())
    stack.trials, stack.excluded = Stack.trials.fget(stack), NO_FRAMES
    return stack


def test_files_and_trials_are_segments():
    assert segments_of(stack_of(10, (3, 7)), "t") == ((0, 3), (3, 7), (7, 10))
    assert segments_of(stack_of(10, ()), "t") == ((0, 10),)


def test_a_frame_a_file_is_one_segment():
    assert segments_of(stack_of(5, (1, 2, 3, 4)), "t") == ((0, 5),)
    assert segments_of(stack_of(5, (1, 2, 3)), "t") == ((0, 1), (1, 2), (2, 3), (3, 5))


def test_along_z_all_slices_are_one_segment_whatever_the_files():
    assert segments_of(stack_of(4, (2,), slices=7), "z") == ((0, 7),)


@given(st.lists(st.integers(1, 29), unique=True))
def test_every_plane_lies_in_the_segment_found_for_it(breaks):
    segments = [*zip([0, *sorted(breaks)], [*sorted(breaks), 30], strict=True)]
    for position in range(30):
        first, stop = segment_at(segments, position)
        assert first <= position < stop
