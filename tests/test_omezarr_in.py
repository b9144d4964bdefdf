"""OME-Zarr images as inputs: axes, scale, channels, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr_images import PIXELS, change, pixels_of, stored, write

from fm2s_stack.errors import StackTruncated, StackUnreadable, UsageError
from fm2s_stack.stack.open import open_stack
from fm2s_stack.store.headers import write_headers


@pytest.mark.parametrize("version", ["04", "05"])
def test_the_images_of_the_data_open_as_zarr_reads_them(data, version):
    folder = data / "omezarr" / f"blobs_image_v{version}.ome.zarr"
    stack = open_stack(folder)
    assert stack.image.axes == "cyx"
    assert stack.image.channels == ("0", "1", "2")
    assert stack.format == f"OME-Zarr 0.{version[1]}-dev-spatialdata"
    expected = zarr.open_array(str(folder / "0"), mode="r")[...]
    assert stack.array.dtype == expected.dtype == np.float64
    np.testing.assert_array_equal(pixels_of(stack)[0, :, 0], expected)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "tyx", "zyx", "cyx", "tzyx", "czyx", "tczyx", "xyzct"])
def test_any_axes_come_as_tczyx_with_their_scale(tmp_path, axes, version):
    write(tmp_path / "a.zarr", axes, version)
    stack = open_stack(tmp_path / "a.zarr")
    canonical = "".join(a for a in "tczyx" if a in axes)
    assert stack.image.axes == canonical
    shape = tuple(n if a in axes else 1 for a, n in zip("tczyx", PIXELS.shape, strict=True))
    np.testing.assert_array_equal(pixels_of(stack), stored(canonical).reshape(shape))
    scale = stack.image.scale
    assert scale.x == pytest.approx(0.5)
    assert scale.y == pytest.approx(1)
    assert scale.z == (pytest.approx(4) if "z" in axes else None)
    assert scale.t == (pytest.approx(0.1) if "t" in axes else None)
    assert stack.notes == ()


def test_axes_with_other_names_are_told_by_type(tmp_path):
    write(tmp_path / "a.zarr", "tzyx")

    def rename(attributes):
        for axis, name in zip(
            attributes["ome"]["multiscales"][0]["axes"],
            ["frame", "Depth", "row", "col"],
            strict=True,
        ):
            axis["name"] = name

    change(tmp_path / "a.zarr", rename)
    assert open_stack(tmp_path / "a.zarr").image.axes == "tzyx"


def test_a_scale_without_a_unit_is_ignored_aloud(tmp_path):
    write(tmp_path / "a.zarr", "yx")
    change(tmp_path / "a.zarr", lambda a: a["ome"]["multiscales"][0]["axes"][1].pop("unit"))
    stack = open_stack(tmp_path / "a.zarr")
    assert stack.image.scale.x is None
    assert any("of x" in note for note in stack.notes)


@pytest.mark.parametrize("of_level", [True, False])
@pytest.mark.parametrize("shift", [[0.0, 3.5, 7.25], [0, 0, 0], "s0/shift"])
def test_a_translation_is_told_to_be_lost(tmp_path, shift, of_level):
    key = "translation" if isinstance(shift, list) else "path"

    def move(attributes):
        image = attributes["ome"]["multiscales"][0]
        holder = image["datasets"][0] if of_level else image
        holder["coordinateTransformations"].append({"type": "translation", key: shift})

    write(tmp_path / "a.zarr", "tyx")
    change(tmp_path / "a.zarr", move)
    stack = open_stack(tmp_path / "a.zarr")
    assert stack.image.scale.x == pytest.approx(0.5)
    said = (f"{tmp_path / 'a.zarr'}: its translation {shift} is not carried over",)
    assert stack.notes == (() if shift == [0, 0, 0] else said)


def test_channel_labels_that_do_not_fit_are_ignored_aloud(tmp_path):
    write(tmp_path / "a.zarr", "cyx", omero={"channels": [{"label": "GFP"}, {"label": 561}]})
    assert open_stack(tmp_path / "a.zarr").image.channels == ("GFP", "561")
    np.testing.assert_array_equal(
        pixels_of(open_stack(tmp_path / "a.zarr", channel=["561"]))[0, 0, 0], stored("cyx")[1]
    )
    write(tmp_path / "b.zarr", "cyx", omero={"channels": [{"label": "GFP"}]})
    stack = open_stack(tmp_path / "b.zarr")
    assert stack.image.channels == ()
    assert any("1 names for 2 channels" in note for note in stack.notes)


def test_of_several_multiscales_the_first_is_taken_aloud(tmp_path):
    write(tmp_path / "a.zarr", "tyx")

    def double(attributes):
        one = attributes["ome"]["multiscales"][0]
        attributes["ome"]["multiscales"] = [one, {**one, "datasets": [{"path": "s1"}]}]

    change(tmp_path / "a.zarr", double)
    shutil.copytree(tmp_path / "a.zarr/s0", tmp_path / "a.zarr/s1")
    zarr.open_array(str(tmp_path / "a.zarr/s1"), mode="r+")[...] += 1
    assert any("holds 2 series" in n for n in open_stack(tmp_path / "a.zarr").notes)
    second = open_stack(tmp_path / "a.zarr", series=1)
    np.testing.assert_array_equal(pixels_of(second)[:, 0, 0], stored("tyx") + 1)
    assert second.notes == ()
    for series in (2, -1):
        with pytest.raises(UsageError, match="2 series"):
            open_stack(tmp_path / "a.zarr", series=series)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"plate": {"wells": [{"path": "B/3"}]}}, "plate.*B/3/0"),
        ({"well": {"images": [{"path": "1"}]}}, "well.*a.zarr/1"),
        ({"bioformats2raw.layout": 3}, "collection.*a.zarr/s0"),
        ({"labels": ["cells"]}, "label"),
        ({"image-label": {}, "multiscales": [{}]}, "label image"),
        ({}, "no image.*a.zarr/s0"),
    ],
)
def test_groups_that_hold_images_name_one_inside(tmp_path, attributes, says):
    write(tmp_path / "a.zarr")
    change(tmp_path / "a.zarr", lambda a: (a.clear(), a.update(ome=attributes)))
    with pytest.raises(StackUnreadable, match=says):
        open_stack(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "path", ["../b.zarr/s0", "/etc", "s0/../../b.zarr/s0", "..\\b", "file://x"]
)
def test_paths_that_lead_out_of_the_group_are_refused(tmp_path, path):
    write(tmp_path / "a.zarr")
    write(tmp_path / "b.zarr")

    def lead_out(attributes):
        attributes["ome"]["multiscales"][0]["datasets"][0]["path"] = path

    change(tmp_path / "a.zarr", lead_out)
    with pytest.raises(StackUnreadable, match="out of the folder"):
        open_stack(tmp_path / "a.zarr")


@pytest.mark.parametrize("key", ["axes", "datasets"])
@pytest.mark.parametrize("value", [None, [], {}, 3, [{}], [3]])
def test_damaged_metadata_is_one_clear_line(tmp_path, key, value):
    write(tmp_path / "a.zarr")
    change(tmp_path / "a.zarr", lambda a: a["ome"]["multiscales"][0].update({key: value}))
    with pytest.raises(StackUnreadable, match=re.escape(str(tmp_path))) as caught:
        open_stack(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


def test_other_versions_are_refused(tmp_path):
    write(tmp_path / "a.zarr")
    change(tmp_path / "a.zarr", lambda a: a["ome"].update(version="0.6"))
    with pytest.raises(StackUnreadable, match=r"'0\.6', expected 0\.4 or 0\.5"):
        open_stack(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3}', '{"zarr_format": 9}'])
@pytest.mark.parametrize("file", ["zarr.json", "s0/zarr.json"])
def test_damaged_json_is_one_clear_line(tmp_path, file, text):
    write(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / file).write_text(text)
    with pytest.raises(StackUnreadable) as caught:
        open_stack(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


def test_missing_chunks_of_our_own_output_are_refused_by_name(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    change(tmp_path / "a.zarr", lambda a: a.update(fm2s_stack={"status": "complete"}))
    assert open_stack(tmp_path / "a.zarr").notes == ()
    (tmp_path / "a.zarr/s0/c/1/0/1").unlink()
    with pytest.raises(StackTruncated, match="s0/c/1/0/1"):
        open_stack(tmp_path / "a.zarr")


def test_an_unfinished_output_of_ours_is_refused(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    change(tmp_path / "a.zarr", lambda a: a.update(fm2s_stack={"status": "incomplete"}))
    with pytest.raises(StackTruncated, match="unfinished"):
        open_stack(tmp_path / "a.zarr")


def test_timestamps_of_our_own_output_come_back(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    change(tmp_path / "a.zarr", lambda a: a.update(fm2s_stack={"status": "complete"}))
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r+")
    group.create_array("fm2s_stack/timestamps", data=np.array([0.0, 0.5, 1.25]))
    assert open_stack(tmp_path / "a.zarr").image.timestamps == (0.0, 0.5, 1.25)


def output_with_headers(folder: Path, headers: dict[str, str]) -> Path:
    """A finished output of ours with raw headers, written as the package writes them."""
    write(folder, "tyx")
    change(folder, lambda a: a.update(fm2s_stack={"status": "complete"}))
    write_headers(folder, headers)
    return folder / "fm2s_stack/headers"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_raw_headers_survive_a_second_and_third_run(tmp_path, version):
    first = {"ImageDescription": "SI.x = 1\n\xb5", "a/b.xml": "<x>\udcb5</x>", "empty": ""}
    headers = first
    for run in range(3):
        folder = tmp_path / f"{run}.zarr"
        write(folder, "tyx", version)
        change(folder, lambda a: a.update(fm2s_stack={"status": "complete"}))
        write_headers(folder, headers)
        stack = open_stack(folder)
        assert stack.notes == ()
        headers = dict(stack.headers)
        assert {name: headers[name] for name in first} == first
    names = ["attributes.json", "earlier attributes.json", "earlier earlier attributes.json"]
    assert list(headers) == names + list(first)


@pytest.mark.parametrize("damage", ["missing", "torn", "metadata"])
def test_a_damaged_raw_header_is_left_out_aloud_and_the_others_kept(tmp_path, damage):
    stored = output_with_headers(tmp_path / "a.zarr", {"one": "1" * 99, "two": "2" * 99})
    chunk = next(file for file in (stored / "0").rglob("*") if file.name == "0" and file.is_file())
    if damage == "missing":
        chunk.unlink()
    elif damage == "torn":
        chunk.write_bytes(chunk.read_bytes()[:-3])
    else:
        (stored / "0/zarr.json").write_text("{")
    stack = open_stack(tmp_path / "a.zarr")
    assert list(stack.headers) == ["attributes.json", "two"]
    assert stack.headers["two"] == "2" * 99
    (note,) = stack.notes
    assert "raw header one is left out" in note


@pytest.mark.parametrize("text", ["{", '{"zarr_format": 3, "node_type": "group"}'])
def test_raw_headers_without_their_names_are_left_out_aloud(tmp_path, text):
    stored = output_with_headers(tmp_path / "a.zarr", {"one": "1"})
    (stored / "zarr.json").write_text(text)
    stack = open_stack(tmp_path / "a.zarr")
    assert list(stack.headers) == ["attributes.json"]
    assert any("raw headers are left out" in note for note in stack.notes)


def test_times_of_our_own_output_that_are_not_there_are_not_read_as_zeros(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    change(tmp_path / "a.zarr", lambda a: a.update(fm2s_stack={"status": "complete"}))
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r+")
    group.create_array("fm2s_stack/timestamps", data=np.array([0.0, 0.5, 1.25]))
    (tmp_path / "a.zarr/fm2s_stack/timestamps/c/0").unlink()
    with pytest.raises(StackTruncated, match="timestamps: none of its 1 chunk files"):
        open_stack(tmp_path / "a.zarr")


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_selections_are_what_numpy_slices(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "selected.zarr"
    if not folder.exists():
        write(folder)
    bound = st.none() | st.integers(-5, 5)
    frames, slices = data.draw(st.tuples(bound, bound)), data.draw(st.tuples(bound, bound))
    channel = data.draw(st.lists(st.sampled_from(["0", "1"]), unique=True))
    expected = PIXELS[slice(*frames)][:, :, slice(*slices)]
    expected = expected[:, [int(c) for c in channel]] if channel else expected
    options = {"frames": frames, "slices": slices, "channel": channel}
    if expected.size == 0:
        with pytest.raises(UsageError, match="selects none"):
            open_stack(folder, **options)
        return
    stack = open_stack(folder, **options)
    np.testing.assert_array_equal(pixels_of(stack), expected)
    first = PIXELS[stack.t_start, stack.channel_indices[0], stack.z_start]
    np.testing.assert_array_equal(stack.plane(0, 0, 0), first)
