"""Which files a path, folder, glob or list means, and in which order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.errors import StackError, StackNotFound, StackTruncated, StackUnreadable, UsageError
from fm2s_stack.stack.axes import micrometres, parse_axes, seconds, to_canonical
from fm2s_stack.stack.inputs import find_inputs
from fm2s_stack.stack.numbering import natural_key, refuse_gaps


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return folder


def names(path: object) -> list[str]:
    return [file.name for file in find_inputs(path).files]


def test_frame_2_comes_before_frame_10(tmp_path):
    touch(tmp_path, *(f"frame{i}.png" for i in range(1, 13)))
    assert names(tmp_path) == [f"frame{i}.png" for i in range(1, 13)]
    assert names(str(tmp_path / "frame*.png")) == [f"frame{i}.png" for i in range(1, 13)]


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_natural_order_is_numeric_order(numbers):
    ordered = sorted((f"cell A_{n}_raw.tif" for n in numbers), key=natural_key)
    assert [int(re.findall(r"\d+", name)[0]) for name in ordered] == sorted(numbers)


@given(st.integers(0, 10**5), st.integers(3, 40), st.data())
def test_the_first_missing_number_is_named(start, count, data):
    missing = data.draw(st.sets(st.integers(start + 1, start + count - 2), min_size=1))
    files = [f"mouse12_run3_{n:05d}.tif" for n in range(start, start + count) if n not in missing]
    with pytest.raises(StackTruncated, match=rf"number {min(missing)} is missing"):
        refuse_gaps(files, "folder")


@given(st.integers(0, 10**5), st.integers(1, 40), st.integers(0, 6))
def test_numbering_without_a_gap_may_start_anywhere(start, count, width):
    refuse_gaps([f"a7_{n:0{width}d}.tif" for n in range(start, start + count)], "folder")


def test_a_gap_among_the_slices_of_one_frame_is_found():
    files = [f"t{t}_z{z}.tif" for t in (1, 5) for z in (1, 2, 3)]
    refuse_gaps(files, "folder")
    with pytest.raises(StackTruncated, match="number 2 is missing after t5_z1"):
        refuse_gaps([f for f in files if f != "t5_z2.tif"], "folder")


def test_a_clock_time_beside_the_index_is_not_the_numbering():
    files = [f"img_{i:03d}_{1699999000 + 33 * i}.tif" for i in range(10)]
    refuse_gaps(files, "folder")
    refuse_gaps([f"{1699999000 + 33 * i}_{i:03d}.tif" for i in range(10)], "folder")
    with pytest.raises(StackTruncated, match="number 4 is missing"):
        refuse_gaps([f for f in files if "_004_" not in f], "folder")


def test_every_second_number_is_a_gap():
    with pytest.raises(StackTruncated, match="number 1 is missing after f0"):
        refuse_gaps(["f0.tif", "f2.tif", "f4.tif"], "folder")


def test_files_without_numbers_are_taken_in_natural_order(tmp_path):
    touch(tmp_path, "b.tif", "a.tif", "c.tif")
    assert names(tmp_path) == ["a.tif", "b.tif", "c.tif"]


def test_sidecars_hidden_files_and_thumbnails_are_passed_over(tmp_path):
    touch(tmp_path, "f1.tif", "f2.tif", ".f3.tif", "Thumbs.db", "notes.txt", "meta.xml", "a.json")
    found = find_inputs(tmp_path)
    assert [f.name for f in found.files] == ["f1.tif", "f2.tif"]
    assert found.notes == ()


def test_other_files_and_folders_left_out_are_told(tmp_path):
    touch(tmp_path, "f1.tif", "f2.tif", "spikes.mat", "sub/f3.tif")
    notes = " ".join(find_inputs(tmp_path).notes)
    assert "spikes.mat" in notes
    assert "1 folder" in notes


@pytest.mark.parametrize("other", ["f2.png", "f2.tiff", "f2.ome.tif"])
def test_mixed_kinds_are_refused_naming_both(tmp_path, other):
    touch(tmp_path, "f1.tif", other)
    with pytest.raises(StackUnreadable) as caught:
        find_inputs(tmp_path)
    assert "f1.tif" in str(caught.value)
    assert other in str(caught.value)


def test_suffixes_may_be_in_capitals(tmp_path):
    touch(tmp_path, "f1.TIF", "f2.tif")
    assert names(tmp_path) == ["f1.TIF", "f2.tif"]


def test_a_list_file_is_taken_as_it_says(tmp_path):
    touch(tmp_path, "deep/f9.tif", "f3.tif", "f1.tif")
    listing = tmp_path / "list.txt"
    listing.write_text("# best ones\nf3.tif\n\n  deep/f9.tif\r\nf1.tif\n", encoding="utf-8")
    assert names(listing) == ["f3.tif", "f9.tif", "f1.tif"]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("f1.tif\n./f1.tif\n", UsageError, "twice"),
        ("f1.tif\nlost.tif\n", StackNotFound, "lost.tif"),
        ("# nothing\n", UsageError, "no file"),
        ("f1.tif\nnotes.docx\n", StackUnreadable, "notes.docx"),
        ("f1.tif\nsub\n", StackUnreadable, "folder"),
    ],
)
def test_a_list_file_that_cannot_be_meant_is_refused(tmp_path, text, error, says):
    touch(tmp_path, "f1.tif", "notes.docx", "sub/x.tif")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(error, match=says):
        find_inputs(tmp_path / "list.txt")


def test_a_sequence_of_paths_keeps_its_order(tmp_path):
    touch(tmp_path, "f1.tif", "f5.tif")
    assert names([tmp_path / "f5.tif", str(tmp_path / "f1.tif")]) == ["f5.tif", "f1.tif"]
    assert names([tmp_path / "f5.tif"]) == ["f5.tif"]
    with pytest.raises(UsageError):
        find_inputs([])


def test_what_is_not_there_is_said(tmp_path):
    touch(tmp_path, "empty/readme.md", "outer/a/f1.tif", "outer/b/f1.tif")
    for path, says in [
        (tmp_path / "no.tif", "no such file"),
        (tmp_path / "no*.tif", "no image matches"),
        (tmp_path / "empty", "no image in this folder"),
        (tmp_path / "outer", "outer/a"),
    ]:
        with pytest.raises(StackNotFound, match=re.escape(says)):
            find_inputs(str(path))


def test_a_file_with_brackets_in_its_name_is_no_glob(tmp_path):
    touch(tmp_path, "movie[1].tif")
    assert names(str(tmp_path / "movie[1].tif")) == ["movie[1].tif"]


def test_kinds_are_told_by_suffix_then_content(tmp_path):
    (tmp_path / "scan").write_bytes(b"II*\0rest")
    (tmp_path / "photo").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "x.nd2").write_bytes(b"something else")
    assert find_inputs(tmp_path / "scan").kind == "tiff"
    assert find_inputs(tmp_path / "photo").kind == "image"
    with pytest.raises(StackUnreadable, match="TIFF, PNG"):
        find_inputs(tmp_path / "x.nd2")


def test_two_prairie_recordings_in_a_folder_are_refused(tmp_path):
    for name in ("a.xml", "b.xml"):
        (tmp_path / name).write_text("<?xml version='1.0'?><PVScan/>")
    with pytest.raises(StackUnreadable, match=r"a\.xml, b\.xml"):
        find_inputs(tmp_path)
    assert find_inputs(tmp_path / "a.xml").kind == "bruker"


def test_every_refusal_is_one_line(tmp_path):
    touch(tmp_path, "f1.tif", "f3.tif")
    with pytest.raises(StackError) as caught:
        find_inputs(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@settings(deadline=None)
@given(st.permutations("tczyx"), st.integers(0, 3))
def test_any_order_of_any_axes_becomes_tczyx(order, dropped):
    import dask.array as da
    import numpy as np

    axes = "".join(a for a in order if a in "yx" or a not in "tcz"[:dropped])
    lengths = dict(zip("tczyx", (2, 3, 4, 5, 6), strict=True))
    stored = np.random.default_rng(1).random([lengths[a] for a in axes])
    five = to_canonical(da.from_array(stored), axes).compute()
    assert five.shape == tuple(n if a in axes else 1 for a, n in lengths.items())
    canonical = "".join(a for a in "tczyx" if a in axes)
    expected = np.einsum(f"{axes}->{canonical}", stored)
    np.testing.assert_array_equal(five.squeeze(), expected)


@pytest.mark.parametrize("bad", ["TY", "TTYX", "QYX", "TCZYX", ""])
def test_axes_that_cannot_be_meant_are_refused(bad):
    with pytest.raises(UsageError, match="--axes"):
        parse_axes(bad, 3, "movie.tif")


def test_units_are_converted_or_unknown():
    assert parse_axes(" TyX ", 3, "movie.tif") == "tyx"
    assert micrometres(500, "nm") == pytest.approx(0.5)
    assert micrometres("0.002", "millimeter") == pytest.approx(2)
    assert micrometres(3, "\\u00B5m") == micrometres(3, "µm") == micrometres(3, "μm") == 3
    assert seconds(33, "ms") == pytest.approx(0.033)
    for value, unit in [(1, None), (1, "pixel"), (0, "µm"), (-1, "µm"), ("nan", "m"), ("x", "m")]:
        assert micrometres(value, unit) is None
