"""Planes that cannot be read: named, or made up the same however units are cut."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, replace
from itertools import pairwise, product

import numpy as np
import pytest
from bad_frame_tools import POLICIES, Pages, stack_of, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from tiff_tools import movie as noise

from fm2s_stack.errors import StackTruncated, StackUnreadable
from fm2s_stack.stack import reading
from fm2s_stack.stack.bad_frames import BadFrame, bad_frame_line, bad_frame_lines, read_box
from fm2s_stack.stack.reading import Box


def expected(pixels, bad, along, policy, breaks=()):
    """By hand: planes of (t, c, z, y, x) whose (t, c, z) are bad, made up one by one."""
    axis = 0 if along == "t" else 2
    out = pixels.copy()
    for place in bad:
        edges = (0, *breaks, len(pixels)) if along == "t" else (0, pixels.shape[2])
        (run,) = (range(a, b) for a, b in pairwise(edges) if a <= place[axis] < b)
        good = [i for i in run if (*place[:axis], i, *place[axis + 1 :]) not in bad]
        if not good:
            return None
        line = pixels[:, place[1], place[2]] if along == "t" else pixels[place[0], place[1]]
        before = [i for i in good if i < place[axis]][-1:]
        after = [i for i in good if i > place[axis]][:1]
        if policy == "interpolate" and before and after:
            (a,), (b,) = before, after
            exact = np.array(
                [
                    np.interp(place[axis], [a, b], [float(p), float(q)])
                    for p, q in zip(line[a].ravel(), line[b].ravel(), strict=True)
                ]
            ).reshape(line[a].shape)
            out[place] = np.round(exact) if out.dtype.kind in "iu" else exact
        else:
            out[place] = line[(before or after)[0]]
    return out


@st.composite
def recordings(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 3)))
    places = list(product(*map(range, shape)))
    bad = draw(st.sets(st.sampled_from(places), max_size=6))
    breaks = draw(st.sets(st.integers(1, shape[0] - 1), max_size=2)) if shape[0] > 4 else set()
    return shape, frozenset(bad), tuple(sorted(breaks))


@settings(deadline=None, max_examples=60)
@given(recordings(), st.sampled_from("tz"), st.sampled_from(POLICIES), st.data())
def test_bad_planes_are_made_up_from_their_neighbours_however_units_are_cut(
    recording, along, policy, data
):
    shape, bad, breaks = recording
    pixels = np.random.default_rng(1).integers(-900, 900, (*shape, 2, 3)).astype(np.int16)
    flat = pixels.reshape(-1, 2, 3)
    numbers = frozenset(int(np.ravel_multi_index(p, shape)) for p in bad)
    stack = stack_of(Pages(flat, numbers, None), shape, breaks, along_z=data.draw(st.booleans()))
    want = expected(pixels, bad, along, policy, breaks)
    cuts = sorted({0, shape[0], *data.draw(st.sets(st.integers(0, shape[0]), max_size=3))})
    columns = sorted({0, 3, *data.draw(st.sets(st.integers(1, 2), max_size=1))})
    got, told = np.zeros_like(pixels), []
    try:
        for (t0, t1), (x0, x1), c in product(pairwise(cuts), pairwise(columns), range(shape[1])):
            box = Box((t0, t1), c, (0, shape[2]), (0, 2), (x0, x1))
            part, made_up = read_box(stack, box, along, policy)
            got[t0:t1, c : c + 1, :, :, x0:x1] = part
            told += made_up
    except StackUnreadable:
        assert want is None
        return
    assert want is not None
    np.testing.assert_array_equal(got, want)
    assert {(b.t, b.c, b.z) for b in told} == bad
    for one in told:
        assert not bad & {(i, one.c, one.z) if along == "t" else (one.t, one.c, i)
                          for i in one.made_of}  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_interpolated_planes_lie_between_their_neighbours_in_every_dtype(dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1.5
    pixels = np.array([[[0, top]], [[7, 7]], [[9, 9]], [[4, 0]]], dtype)
    stack = stack_of(Pages(pixels, frozenset({1, 2})), (4, 1, 1))
    got, told = read_box(stack, whole(stack), "t", "interpolate")
    first, second = (4 / 3, 8 / 3), (2 / 3 * float(top), float(top) / 3)
    want = np.array([first, second]).T
    if np.dtype(dtype).kind in "iu":
        want = np.round(want)
    np.testing.assert_allclose(got[1:3, 0, 0, 0].astype(float), want.astype(dtype), rtol=1e-7)
    assert [b.made_of for b in told] == [(0, 3), (0, 3)]


def test_a_good_block_is_read_once_and_nothing_else():
    pages = Pages(noise((8, 4, 5)))
    stack = stack_of(pages, (8, 1, 1))
    for policy in ("fail", *POLICIES):
        pages.reads.clear()
        got, told = read_box(stack, replace(whole(stack), y=(0, 2)), "t", policy)
        assert (sorted(pages.reads), told) == (list(range(8)), ())
        np.testing.assert_array_equal(got[:, 0, 0], pages.pixels[:, :2])


@pytest.mark.parametrize("policy", ["fail", *POLICIES])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_read_that_succeeds_the_second_time_is_no_bad_frame(policy, number, monkeypatch):
    waited = []
    monkeypatch.setattr(reading.time, "sleep", waited.append)
    stack = stack_of(Pages(noise((4, 4, 5)), frozenset({2}), number, failures=1), (4, 1, 1))
    got, told = read_box(stack, whole(stack), "t", policy)
    np.testing.assert_array_equal(got[:, 0, 0], noise((4, 4, 5)))
    assert (told, waited) == ((), [reading.RETRY_SECONDS])


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("policy", POLICIES)
def test_an_input_that_is_gone_is_an_error_and_no_bad_frame(number, policy, monkeypatch):
    monkeypatch.setattr(reading, "RETRY_SECONDS", 0)
    stack = stack_of(Pages(noise((4, 4, 5)), frozenset({2}), number), (4, 1, 1))
    with pytest.raises(StackUnreadable, match=r"movie\.tif: cannot be read: as the system says"):
        read_box(stack, whole(stack), "t", policy)


def test_a_lone_bad_frame_of_a_trial_is_refused_by_name_and_not_taken_from_another():
    stack = stack_of(Pages(noise((5, 4, 5)), frozenset({2}), None), (5, 1, 1), breaks=(2, 3))
    with pytest.raises(StackUnreadable, match=r"frame 2 cannot be read.*file or trial"):
        read_box(stack, whole(stack), "t", "previous")


def test_files_of_one_frame_each_are_no_trials():
    stack = stack_of(Pages(noise((4, 4, 5)), frozenset({2}), None), (4, 1, 1), breaks=(1, 2, 3))
    got, _ = read_box(stack, whole(stack), "t", "previous")
    np.testing.assert_array_equal(got[2], got[1])


def test_frames_are_named_by_their_source_indices_also_in_a_selection():
    stack = stack_of(Pages(noise((24, 4, 5)), frozenset({3 * 4 + 3}), None), (6, 2, 2))
    chosen = stack.select(frames=(2, 6), slices=(1, 2), channels=("1",))
    got, (bad,) = read_box(chosen, whole(chosen), "t", "previous")
    np.testing.assert_array_equal(got[1], got[0])
    assert (bad.t, bad.c, bad.z, bad.made_of) == (3, 1, 1, (2,))
    assert bad.reason == "page 15 is cut"  # and not the folder it is in
    line = "frame 3, channel 1, slice 1 cannot be read (page 15 is cut): frame 2 was taken"
    assert bad_frame_line(stack, bad) == line
    assert bad_frame_line(chosen, bad) == "frame 3" + line.partition("slice 1")[2]
    with pytest.raises(StackTruncated, match=r"^frame 3: .* page 15 is cut; --on-bad-frame"):
        read_box(chosen, whole(chosen), "t", "fail")


@pytest.mark.parametrize("count", [0, 1, 3, 30])
def test_what_is_said_at_the_end_names_twenty_and_counts_the_rest(count):
    stack = stack_of(Pages(noise((31, 2, 2)), frozenset(range(1, count + 1)), None), (31, 1, 1))
    _, bad = read_box(stack, whole(stack), "t", "previous")
    lines = bad_frame_lines(stack, bad)
    assert len(lines) == {0: 0, 1: 2, 3: 4, 30: 22}[count]
    if count:
        assert (
            lines[0]
            == ("1 plane was" if count == 1 else f"{count} planes were") + " bad and made up:"
        )
        assert "frame 0 was taken" in lines[1]
    assert (lines[-1:] == ["and 10 more"]) == (count == 30)


def test_a_bad_frame_comes_back_from_its_row_of_json():
    stack = stack_of(Pages(noise((4, 2, 2)), frozenset({2}), None), (4, 1, 1))
    _, (bad,) = read_box(stack, whole(stack), "t", "interpolate")
    assert BadFrame.from_row(json.loads(json.dumps(asdict(bad)))) == bad


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("/a/b c/movie.tif: page 3: bad /x/y/z.tif", "page 3: bad z.tif"),
        (r"C:\data\movie.tif: cannot be read (C:\data\other.tif)", "cannot be read (other.tif)"),
        (
            "/a/m.zarr/s0 in [0:1, 0:4]: the chunk file c/0/1 is gone",
            "the chunk file c/0/1 is gone",
        ),
        ("no file here", "no file here"),
    ],
)
def test_the_reason_keeps_names_and_no_folders(said, kept):
    class Refusing(Pages):
        def read(self, pages):
            if 1 in pages:
                raise StackUnreadable(said)
            return super().read(pages)

    stack = stack_of(Refusing(noise((3, 2, 2))), (3, 1, 1))
    _, (bad,) = read_box(stack, whole(stack), "t", "previous")
    assert bad.reason == kept
