"""Which planes a plane is denoised from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.auto.reach import Reach, Window, reach_of
from fm2s_stack.engine.near import Surroundings, segment_at, segments_of
from fm2s_stack.engine.near_task import with_neighbours
from fm2s_stack.plan import Unit
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.frame_ranges import FrameRanges


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
    # Those of a whole window and those that stand in come in one order.
    near = [p for p in planes[1:] if p != position]
    assert near == sorted(near, key=lambda p: (abs(p - position), p))
    assert planes[1 : 1 + len(near)] == tuple(near)


def test_where_no_plane_is_left_the_neighbour_is_absent_and_never_the_plane_itself():
    assert Reach(2, 2).window(0, (0, 4)) == Window((0, 1, 2, 3, 0), 0.5, (4,), (1, 2, 3))
    assert Reach(4, 0).window(1, (0, 9)) == Window((1, 0, 1, 1, 1), 0.75, (2, 3, 4), (0,))
    assert Reach(1, 1).window(5, (5, 6)) == Window((5, 5, 5), 1.0, (1, 2))


@given(placed())
def test_the_past_is_the_last_planes_before_and_at_a_beginning_the_first_after(case):
    reach, position, segment = case
    past = reach.window(position, segment).past
    if reach.count == 1:
        assert past == ()
    elif position > segment[0]:
        assert past == tuple(p for p in range(position - 4, position) if p >= segment[0])
    elif reach.after:
        assert past == tuple(p for p in range(position + 1, position + 5) if p < segment[1])
    else:
        assert past == ()


@given(placed(), st.integers(-9, 9))
def test_a_window_of_planes_numbered_from_elsewhere_is_moved_whole(case, by):
    reach, position, (first, stop) = case
    moved = reach.window(position, (first, stop)).moved(by)
    assert moved == reach.window(position + by, (first + by, stop + by))


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


@st.composite
def surrounded(draw: st.DrawFn) -> tuple[Reach, Surroundings]:
    """A reach, and trials of 40 frames some of which are excluded."""
    starts, out = draw(st.integers(0, 2**39 - 1)), draw(st.integers(0, 2**40 - 2))
    sparse = draw(st.integers(0, 2**39 - 1))  # fewer trials: longer ones
    breaks = tuple(t for t in range(1, 40) if starts & sparse & sparse >> 3 & 1 << (t - 1))
    excluded = [t for t in range(40) if out & 1 << t]
    if draw(st.booleans()):
        excluded = [t for t in excluded if t % 3]
    stack = stack_of(40, (), cuts=breaks, excluded=excluded)
    reach = Reach(draw(st.integers(0, 8)), draw(st.integers(0, 4)))
    return reach, Surroundings.of(stack, "t")


def eligible(reach: Reach, around: Surroundings) -> Iterator[tuple[int, set[int]]]:
    """Each frame that is not excluded, and those that may belong to its window."""
    out = {t for a, b in around.excluded.runs for t in range(a, b)}
    starts = [first for first, _ in around.segments]
    trial = [sum(start <= t for start in starts) for t in range(40)]
    for position in set(range(40)) - out:
        same = {t for t in range(40) if trial[t] == trial[position]} - out
        yield position, {t for t in same if reach.after or t <= position}


@settings(max_examples=500)
@given(surrounded())
def test_no_window_holds_an_excluded_frame_or_crosses_a_break(case):
    reach, around = case
    for position, there in eligible(*case):
        planes = around.window(reach, position).planes
        assert planes[0] == position and len(planes) == reach.count
        assert set(planes) <= there
        assert set(around.window(reach, position).past) <= there - {position}


@settings(max_examples=500)
@given(surrounded())
def test_excluded_frames_lack_as_those_beyond_a_trial_and_the_nearest_stand_in(case):
    reach, around = case
    for position, there in eligible(*case):
        window, wanted = around.window(reach, position), [position + s for s in reach.steps]
        furthest = 2 * (reach.before + reach.after)
        near = [p for p in there - set(wanted) if abs(p - position) <= furthest]
        near.sort(key=lambda p: (abs(p - position), p))
        lacking = sum(plane not in there for plane in wanted)
        chosen = [p for p in wanted[1:] if p in there] + near[:lacking]
        chosen.sort(key=lambda p: (abs(p - position), p))
        absent = range(1 + len(chosen), len(wanted))
        expected = [position, *chosen, *[position for _ in absent]]
        missing = lacking / max(len(wanted) - 1, 1)
        assert window == Window(tuple(expected), missing, tuple(absent), window.past)


def test_a_frame_between_excluded_ones_has_no_neighbour_of_long_ago():
    around = Surroundings(((0, 100),), FrameRanges(((3, 50), (51, 99))))
    assert around.window(Reach(2, 2), 50) == Window((50,) * 5, 1.0, (1, 2, 3, 4))
    # Every other frame: those twice as far take the place of what lies between.
    others = FrameRanges(tuple((t, t + 1) for t in range(1, 100, 2)))
    window = Surroundings(((0, 100),), others).window(Reach(2, 2), 50)
    assert window == Window((50, 48, 52, 46, 54), 0.5, past=(46, 48))
    causal = Surroundings(((0, 100),), others).window(Reach(4, 0), 50)
    assert causal == Window((50, 48, 46, 44, 42), 0.5, past=(46, 48))


@given(
    st.integers(0, 3), st.booleans(), st.lists(st.integers(1, 29), unique=True),
    st.sets(st.integers(0, 29), max_size=29), st.data(),
)  # fmt: skip
def test_what_is_read_for_a_run_has_its_frames_and_no_more_than_its_windows_need(
    neighbours, causal, breaks, out, data
):
    stack = stack_of(30, tuple(sorted(breaks)), excluded=sorted(out))
    first = data.draw(st.integers(0, 29))
    own = (first, data.draw(st.integers(first + 1, 30)))
    reach, around = reach_of(neighbours, causal=causal), Surroundings.of(stack, "t")
    job, denoiser = SimpleNamespace(stack=stack, along="t"), SimpleNamespace(reach=reach)
    read = with_neighbours(job, denoiser, Unit(0, own, 0, (0, 1), (0, 5), (0, 5))).t
    kept = set(range(*own)) - out
    windows = [around.window(reach, p) for p in kept]
    needed = {*range(*own), *(q for w in windows for q in (*w.planes, *w.past))}
    assert read == (min(needed), max(needed) + 1)
    assert own[0] - read[0] <= 4 * neighbours * 2 and read[1] - own[1] <= 4 * neighbours * 2


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
    windows = [reach.window(p, segment_at(segments, p)) for p in range(*own)]
    read_by = {q for window in windows for q in (*window.planes, *window.past)}
    assert (min(read_by), max(read_by) + 1) == read.t
    assert (read.z, read.y, read.x) == ((0, 1), (0, 5), (0, 5))


def stack_of(
    frames: int,
    breaks: tuple[int, ...],
    slices: int = 1,
    cuts: tuple[int, ...] = (),
    excluded: Sequence[int] = (),
) -> SimpleNamespace:
    """What is asked of a stack."""
    image = SimpleNamespace(shape=(frames, 1, slices, 8, 8))
    stack = SimpleNamespace(image=image, breaks=breaks, cuts=cuts)
    stack.trials = Stack.trials.fget(stack)
    stack.excluded = FrameRanges.of((t, t + 1) for t in excluded)
    return stack


def test_files_and_trials_are_segments():
    assert segments_of(stack_of(10, (3, 7)), "t") == ((0, 3), (3, 7), (7, 10))
    assert segments_of(stack_of(10, ()), "t") == ((0, 10),)


def test_a_frame_a_file_is_one_segment():
    assert segments_of(stack_of(5, (1, 2, 3, 4)), "t") == ((0, 5),)
    assert segments_of(stack_of(5, (1, 2, 3)), "t") == ((0, 1), (1, 2), (2, 3), (3, 5))


def test_along_z_no_slice_is_left_out_whatever_the_frames():
    stack = stack_of(4, (2,), slices=7, excluded=[1, 2])
    assert Surroundings.of(stack, "z") == Surroundings(((0, 7),), FrameRanges())


def test_along_z_all_slices_are_one_segment_whatever_the_files():
    assert segments_of(stack_of(4, (2,), slices=7), "z") == ((0, 7),)


@given(st.lists(st.integers(1, 29), unique=True))
def test_every_plane_lies_in_the_segment_found_for_it(breaks):
    segments = [*zip([0, *sorted(breaks)], [*sorted(breaks), 30], strict=True)]
    for position in range(30):
        first, stop = segment_at(segments, position)
        assert first <= position < stop
