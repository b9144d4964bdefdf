"""What the user says of frames: lists of excluded ones, first ones of trials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from cli_tools import only_line, recording
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack import open_stack
from fm2s_stack.errors import UsageError
from fm2s_stack.stack.frame_list import excluded_frames
from fm2s_stack.stack.frame_ranges import FrameRanges

RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def frames_of(runs: list[tuple[int, int]]) -> set[int]:
    return {frame for a, b in runs for frame in range(a, b)}


@given(RUNS)
def test_runs_hold_the_frames_they_were_made_of_in_the_fewest_runs(runs):
    ranges, frames = FrameRanges.of(runs), frames_of(runs)
    assert {frame for frame in range(-2, 63) if frame in ranges} == frames
    assert ranges.count == len(frames) and bool(ranges) == bool(frames)
    assert len(ranges.runs) == sum(frame - 1 not in frames for frame in frames)
    assert list(ranges.runs) == sorted(ranges.runs)


@given(RUNS, st.integers(0, 60), st.integers(0, 60))
def test_gaps_are_the_other_frames_and_parts_the_same_ones(runs, first, stop):
    ranges, frames, part = FrameRanges.of(runs), frames_of(runs), set(range(first, stop))
    gaps = list(ranges.gaps(first, stop))
    assert [t for gap in gaps for t in range(*gap)] == sorted(part - frames)
    assert all(a < b for a, b in gaps)
    assert frames_of(list(ranges.within(first, stop).runs)) == part & frames
    assert frames_of(list(ranges.moved(-7).runs)) == {frame - 7 for frame in frames}


@given(st.lists(st.integers(0, 99), min_size=1), st.randoms())
def test_what_a_list_says_is_read_whatever_separates_it(tmp_path_factory, frames, random):
    file = tmp_path_factory.mktemp("list") / "frames.txt"
    parts = [random.choice([f"{t}", f"{t}:{t + 1}"]) for t in frames]
    text = "".join(
        p + random.choice(["\n", ", ", " ", "\t", " # a note, 7\n", ",\n\n"]) for p in parts
    )
    file.write_text(f"# frames: 1 2 3\n{text}", encoding="utf-8-sig")
    assert frames_of(list(excluded_frames(file, 100, "m").runs)) == set(frames)
    # The short form of it reads as the same.
    file.write_text(str(FrameRanges.of((t, t + 1) for t in frames)))
    assert frames_of(list(excluded_frames(file, 100, "m").runs)) == set(frames)


def test_python_names_frames_without_a_file(movie):
    assert excluded_frames([3, (5, 8)], 9, "m").runs == ((3, 4), (5, 8))
    stack = open_stack(movie, breaks=np.array([0, 6]), exclude_frames=np.array([3, 5]))
    assert stack.trials == ((0, 6), (6, 12)) and stack.excluded.runs == ((3, 4), (5, 6))
    with pytest.raises(UsageError, match="1:2:3 is no frame"):
        excluded_frames([(1, 2, 3)], 9, "m")
    with pytest.raises(UsageError, match="--exclude-frames: 9 is beyond the end: m has frames 0"):
        excluded_frames([9], 9, "m")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n\n2 # x\n1:x", "line 4: 1:x is no frame, such as 500, and no range, such as 500:510"),
        ("-1", "line 1: -1 is no frame"),
        ("1.5", "line 1: 1.5 is no frame"),
        ("3:", "line 1: 3: is no frame"),
        ("9" * 5000, "is no frame"),
        ("0 1\n5:5", "line 2: 5:5 holds no frame"),
        ("8:3", "line 1: 8:3 holds no frame"),
        ("# all\n12", "line 2: 12 is beyond the end: "),
        ("10:13", "line 1: 10:13 is beyond the end: "),
        ("0:12", "all of the frames that are selected, 0 to 11 of"),
        (b"\xff\xfe\x00", "not a UTF-8 list of frames"),
    ],
)
def test_a_wrong_list_is_one_line_with_file_line_and_value(call, movie, tmp_path, text, said):
    file = tmp_path / "shutter.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    call.denoise(movie, tmp_path / "o.zarr", "--exclude-frames", file, "--quiet", code=2)
    line = only_line(call.err)
    assert said in line
    assert f"--exclude-frames {file}" in line
    assert not (tmp_path / "o.zarr").exists()


def test_a_list_that_is_not_there_is_one_line(call, movie, tmp_path):
    options = ("--exclude-frames", tmp_path / "none.txt", "--quiet")
    call.denoise(movie, tmp_path / "o.zarr", *options, code=2)
    assert "none.txt: cannot be read: No such file" in only_line(call.err)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("0,6,4", "--breaks 0,6,4: 4 is not after 6"),
        ("0,6,6", "--breaks 0,6,6: 6 is not after 6"),
        ("-3,6", "--breaks -3,6: -3 is negative"),
        ("0,12", "--breaks: 12 is beyond the end: "),
        ("0,six", "'0,six' is not first frames of trials, such as 0,500,1000"),
        ("0,,6", "'0,,6' is not first frames of trials"),
        ("", "'' is not first frames of trials"),
        ("1.5", "'1.5' is not first frames of trials"),
    ],
)
def test_wrong_breaks_are_one_line(call, movie, tmp_path, breaks, said):
    words = ("-c", "auto", f"--breaks={breaks}", "--quiet")
    call.denoise(movie, tmp_path / "o.zarr", *words, code=2)
    assert said in only_line(call.err)


def test_breaks_are_refused_where_no_plane_has_neighbours(call, movie, tmp_path):
    call.denoise(movie, tmp_path / "o.zarr", "--breaks", "6", "--quiet", code=2)
    assert "--breaks: presets denoise each plane by itself; it needs -c auto, or" in call.err
    call.denoise(movie, tmp_path / "o.zarr", "--breaks", "6", "--on-bad-frame", "previous")
    call("batch", tmp_path / "*.tif", tmp_path / "out", "-c", "srdtrans", "--breaks", "6", code=2)
    assert only_line(call.err).startswith("Error: --breaks: presets")
    call.denoise(
        movie, tmp_path / "b.zarr", "--fit-from", tmp_path / "o.zarr", "--breaks", 6, code=2
    )
    assert "--breaks: presets" in call.err


def test_one_frame_is_none_to_leave_out(call, tmp_path):
    recording(tmp_path / "z.tif", (6, 32, 32), imagej=True, metadata={"axes": "ZYX"})
    (tmp_path / "one.txt").write_text("0")
    options = ("--exclude-frames", tmp_path / "one.txt", "--quiet")
    call.denoise(tmp_path / "z.tif", tmp_path / "o.zarr", *options, code=2)
    assert "has one frame, so there is none to leave out" in only_line(call.err)


def test_what_says_nothing_of_the_frames_selected_is_told(call, movie, tmp_path):
    (tmp_path / "none.txt").write_text("# nothing\n")
    call.denoise(movie, tmp_path / "a.zarr", "--exclude-frames", tmp_path / "none.txt")
    assert "--exclude-frames none.txt: names none of the frames selected" in call.err
    (tmp_path / "late.txt").write_text("10:12\n")
    options = ("--exclude-frames", tmp_path / "late.txt", "--frames", "0:8")
    call.denoise(movie, tmp_path / "b.zarr", *options)
    assert "names none of the frames selected" in call.err
    call.denoise(movie, tmp_path / "c.zarr", "-c", "auto", "--breaks", "0", "--dry-run")
    assert "--breaks 0: no trial more than there is without it" in call.out


@given(
    st.lists(st.integers(0, 29), unique=True).map(sorted),
    RUNS,
    st.lists(st.integers(1, 29), unique=True).map(sorted),
    st.tuples(st.integers(0, 29), st.integers(1, 30)).filter(lambda ab: ab[0] < ab[1]),
)
def test_a_selection_has_the_trials_and_excluded_frames_that_lie_in_it(
    whole_stack, breaks, runs, files, selected
):
    first, stop = selected
    runs = [(min(a, 30), min(b, 30)) for a, b in runs]
    frames = frames_of(runs)
    own = replace(whole_stack, breaks=tuple(files))

    def named(stack):
        return stack.split_at(breaks).without(FrameRanges.of(runs))

    if set(range(first, stop)) <= frames:
        with pytest.raises(UsageError, match="at least one must be left"):
            named(own.select(frames=selected))
        return
    expected = named(own.select(frames=selected))
    assert [t + first for t in expected.kept] == sorted(set(range(first, stop)) - frames)
    starts = {b for b in breaks if first < b < stop}
    natural = {b for b in files if first < b < stop}
    if len(natural) < stop - first - 1:
        starts |= natural
    assert [a + first for a, _ in expected.trials] == [first, *sorted(starts)]
    assert [b + first for _, b in expected.trials] == [*sorted(starts), stop]
    if len(frames) < 30:
        other = named(own).select(frames=selected)
        assert other.excluded == expected.excluded


@pytest.fixture(scope="module")
def whole_stack(tmp_path_factory):
    path = tmp_path_factory.mktemp("stack") / "movie.tif"
    tifffile.imwrite(path, np.zeros((30, 16, 16), np.uint16), photometric="minisblack")
    return open_stack(path)


def test_where_every_frame_is_a_file_named_trials_hold_all_the_same(whole_stack):
    files = replace(whole_stack, breaks=tuple(range(1, 30)))
    assert files.trials == ((0, 30),)
    assert files.split_at((0, 10, 20)).trials == ((0, 10), (10, 20), (20, 30))
    assert files.split_at(range(30)).trials == tuple((t, t + 1) for t in range(30))


def test_info_tells_of_both(call, movie, tmp_path):
    (tmp_path / "s.txt").write_text("4:6, 9")
    call("info", movie, "--breaks", "0,5", "--exclude-frames", tmp_path / "s.txt")
    assert "breaks    1, the first at frame 5" in call.out
    assert "excluded  3 frames, the first is frame 4" in call.out
