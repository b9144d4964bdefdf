"""OME-Zarr and zarr arrays as inputs."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.errors import StackTruncated, StackUnreadable, UnsupportedPixels, UsageError
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.open import open_stack
from fm2s_stack.stack.pages import BLOCK_BYTES
from fm2s_stack.stack.zarr_array import ZarrArray, block_shape

PIXELS = np.random.default_rng(2).integers(1, 4000, (3, 2, 4, 16, 24), dtype=np.uint16)
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UNITS = {"t": "millisecond", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
STEPS = {"t": 50.0, "c": 1.0, "z": 2000.0, "y": 0.5, "x": 0.25}


def stored(axes: str) -> np.ndarray:
    """PIXELS with only `axes`, in their order."""
    kept = PIXELS[tuple(slice(None) if a in axes else 0 for a in "tczyx")]
    return np.einsum(f"{''.join(a for a in 'tczyx' if a in axes)}->{axes}", kept)


def write(folder: Path, axes: str = "tczyx", version: str = "0.5", **more: object) -> np.ndarray:
    """An OME-Zarr image written with zarr alone."""
    pixels = stored(axes)
    form = 2 if version.startswith("0.4") else 3
    group = zarr.open_group(str(folder), mode="w", zarr_format=form)
    chunks = tuple({"y": 8, "x": 12}.get(a, 1) for a in axes)
    group.create_array("s0", shape=pixels.shape, chunks=chunks, dtype="u2")[...] = pixels
    described = [
        {"name": a, "type": TYPES[a], **({"unit": UNITS[a]} if a in UNITS else {})} for a in axes
    ]
    scale = [{"type": "scale", "scale": [STEPS[a] for a in axes]}]
    multiscale = {
        "axes": described,
        "datasets": [{"path": "s0", "coordinateTransformations": scale}],
        "coordinateTransformations": [{"type": "scale", "scale": [2.0] * len(axes)}],
    }
    ome = {"multiscales": [multiscale], "version": version, **more}
    group.attrs.update(ome if form == 2 else {"ome": ome})
    return pixels


def change(folder: Path, edit: object) -> None:
    """Edit the attributes of a group in place."""
    group = zarr.open_group(str(folder), mode="r+")
    attributes = json.loads(json.dumps(dict(group.attrs)))
    edit(attributes)
    group.attrs.put(attributes)


def pixels_of(stack: Stack) -> np.ndarray:
    return np.asarray(stack.array.compute(scheduler="synchronous"))


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
    with pytest.raises(StackUnreadable, match=r"0\.6, expected 0\.4 or 0\.5"):
        open_stack(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3}', '{"zarr_format": 9}'])
@pytest.mark.parametrize("file", ["zarr.json", "s0/zarr.json"])
def test_damaged_json_is_one_clear_line(tmp_path, file, text):
    write(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / file).write_text(text)
    with pytest.raises(StackUnreadable) as caught:
        open_stack(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array_needs_axes(tmp_path, zarr_format):
    array = zarr.create_array(
        str(tmp_path / "p.zarr"), data=stored("zyx"), chunks=(1, 16, 24), zarr_format=zarr_format
    )
    assert array.shape == (4, 16, 24)
    with pytest.raises(UsageError, match="--axes"):
        open_stack(tmp_path / "p.zarr")
    stack = open_stack(tmp_path / "p.zarr", axes="ZYX")
    assert stack.format == f"zarr {zarr_format} array"
    np.testing.assert_array_equal(pixels_of(stack)[0, 0], stored("zyx"))
    with pytest.raises(UsageError, match="2 letters"):
        open_stack(tmp_path / "p.zarr", axes="YX")


def test_dimension_names_are_axes(tmp_path):
    zarr.create_array(
        str(tmp_path / "v3.zarr"), data=stored("tyx"), dimension_names=("time", "y", "x")
    )
    assert open_stack(tmp_path / "v3.zarr").image.axes == "tyx"
    old = zarr.create_array(str(tmp_path / "v2.zarr"), data=stored("cyx"), zarr_format=2)
    old.attrs["_ARRAY_DIMENSIONS"] = ["channel", "row", "col"]
    assert open_stack(tmp_path / "v2.zarr").image.axes == "cyx"
    zarr.create_array(
        str(tmp_path / "odd.zarr"), data=stored("tyx"), dimension_names=("angle", "y", "x")
    )
    with pytest.raises(UsageError, match="--axes"):
        open_stack(tmp_path / "odd.zarr")


def test_big_endian_comes_in_native_order(tmp_path):
    pixels = stored("tyx").astype(">u2")
    zarr.create_array(str(tmp_path / "b.zarr"), data=pixels, zarr_format=2)
    stack = open_stack(tmp_path / "b.zarr", axes="TYX")
    assert stack.array.dtype.isnative
    np.testing.assert_array_equal(pixels_of(stack)[:, 0, 0], pixels)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "bool", "complex64"])
def test_pixels_we_cannot_denoise_are_refused(tmp_path, dtype):
    zarr.create_array(str(tmp_path / "p.zarr"), data=stored("yx").astype(dtype))
    with pytest.raises(UnsupportedPixels, match=dtype):
        open_stack(tmp_path / "p.zarr", axes="YX")


def test_an_empty_array_is_refused(tmp_path):
    zarr.create_array(str(tmp_path / "p.zarr"), shape=(0, 4, 4), chunks=(1, 4, 4), dtype="u2")
    with pytest.raises(StackUnreadable, match="no pixels"):
        open_stack(tmp_path / "p.zarr", axes="TYX")


def test_missing_chunks_of_a_foreign_array_are_counted_aloud(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    (tmp_path / "a.zarr/s0/c/1/0/1").unlink()
    stack = open_stack(tmp_path / "a.zarr")
    assert any("1 of 12 chunk files" in n and "c/1/0/1" in n for n in stack.notes)
    expected = stored("tyx").copy()
    expected[1, :8, 12:] = 0
    np.testing.assert_array_equal(pixels_of(stack)[:, 0, 0], expected)


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


def test_a_damaged_chunk_is_refused_when_read(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    (tmp_path / "a.zarr/s0/c/1/0/1").write_bytes(b"not compressed")
    stack = open_stack(tmp_path / "a.zarr")
    with pytest.raises(StackUnreadable, match=r"s0 in \[") as caught:
        pixels_of(stack)
    assert "\n" not in str(caught.value)


def test_opening_reads_no_chunk(tmp_path, monkeypatch):
    write(tmp_path / "a.zarr")
    reads: list[str] = []
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *args, **kwargs):
        reads.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    stack = open_stack(tmp_path / "a.zarr")
    assert reads
    assert not [key for key in reads if "/c/" in key or key.startswith("c/")]
    stack.plane(0, 0, 0)
    assert [key for key in reads if key.startswith("c/")]


def test_a_shard_is_read_in_blocks_that_divide_it(tmp_path):
    pixels = np.arange(40 * 256 * 256, dtype=np.float32).reshape(40, 256, 256)
    zarr.create_array(
        str(tmp_path / "s.zarr"), data=pixels, chunks=(1, 256, 256), shards=(20, 256, 256)
    )
    stack = open_stack(tmp_path / "s.zarr", axes="TYX")
    blocks = set(stack.array.chunks[0])
    assert all(20 % b == 0 and b * 256 * 256 * 4 <= BLOCK_BYTES for b in blocks)
    assert len(stack.identity.digest) == 40
    np.testing.assert_array_equal(stack.array[13:27, 0, 0].compute(), pixels[13:27])


@given(st.data())
def test_blocks_are_whole_chunks_within_a_shard_and_bounded(data):
    ndim = data.draw(st.integers(2, 5))
    sizes = st.lists(st.integers(1, 300), min_size=ndim, max_size=ndim)
    chunks, counts = data.draw(sizes), data.draw(sizes)
    shards = tuple(c * n for c, n in zip(chunks, counts, strict=True))
    shape = tuple(data.draw(sizes))
    sharded = data.draw(st.booleans())
    array = ZarrArray(
        "p", 3, shape, np.dtype("u2"), tuple(chunks), shards if sharded else None, (), (), ()
    )
    axes = "".join(data.draw(st.permutations("tczyx"))[:ndim])
    block = block_shape(array, axes)
    assert "c" not in axes or block[axes.index("c")] <= chunks[axes.index("c")]
    for b, chunk, shard, n in zip(block, chunks, shards, shape, strict=True):
        assert 1 <= b <= n
        assert b == n or b % chunk == 0
        assert not sharded or b == n or shard % b == 0
    clipped = np.prod([min(c, n) for c, n in zip(chunks, shape, strict=True)])
    assert np.prod(block) * 2 <= max(BLOCK_BYTES, clipped * 2)


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


def test_identity_survives_a_copy_and_not_a_change(tmp_path):
    write(tmp_path / "a.zarr", "tyx")
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    here = open_stack(tmp_path / "a.zarr").identity.digest
    assert open_stack(tmp_path / "b.zarr").identity.digest == here
    zarr.open_array(str(tmp_path / "b.zarr/s0"), mode="r+")[0, 0, 0] += 1
    assert open_stack(tmp_path / "b.zarr").identity.digest != here


def test_an_array_replaced_at_the_same_path_is_read_anew(tmp_path):
    for pixels in (stored("tyx"), stored("tyx")[:, :8] + 1):
        zarr.create_array(str(tmp_path / "p.zarr"), data=pixels, overwrite=True)
        stack = open_stack(tmp_path / "p.zarr", axes="TYX")
        np.testing.assert_array_equal(pixels_of(stack)[:, 0, 0], pixels)


def test_the_stack_pickles_small_and_holds_no_store(tmp_path):
    write(tmp_path / "a.zarr")
    stack = open_stack(tmp_path / "a.zarr")
    assert isinstance(stack.array, da.Array)
    stored_stack = pickle.dumps(stack)
    assert b"LocalStore" not in stored_stack
    assert len(stored_stack) < 20_000
    np.testing.assert_array_equal(pixels_of(pickle.loads(stored_stack)), PIXELS)
