"""Bad frames of every format: only they are replaced, wherever the damage is."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import tifffile
import zarr
from bad_frame_tools import POLICIES, Pages, damage_page, flip_bit_in_chunk, whole, write_sharded
from tiff_tools import movie as noise
from tiff_tools import write

from fm2s_stack import open_stack
from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable
from fm2s_stack.stack import reading
from fm2s_stack.stack.bad_frames import bad_frame_line, read_box
from fm2s_stack.stack.pages import dask_from_pages
from fm2s_stack.stack.plane_reader import PagePlanes
from fm2s_stack.stack.reading import Box


def test_what_reads_single_planes_pickles_with_the_stack(tmp_path):
    write(tmp_path / "movie.tif", noise((5, 16, 16)), compression="zlib")
    stack = pickle.loads(pickle.dumps(open_stack(tmp_path / "movie.tif")))
    got = stack.planes.read(3, 0, 0, slice(2, 5), slice(0, 7))
    np.testing.assert_array_equal(got, noise((5, 16, 16))[3, 2:5, :7])


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw"])
def test_a_damaged_page_of_a_compressed_tiff_is_the_only_one_replaced(tmp_path, compression):
    pixels = noise((7, 32, 32))
    path = write(tmp_path / "movie.tif", pixels, compression=compression)
    damage_page(path, 0)
    damage_page(path, 4)
    stack = open_stack(path)
    with pytest.raises(StackUnreadable, match=r"^frame 0: .*movie\.tif.*page 0"):
        read_box(stack, whole(stack), "t", "fail")
    got, told = read_box(stack, whole(stack), "t", "previous")
    np.testing.assert_array_equal(got[:, 0, 0], pixels[[1, 1, 2, 3, 3, 5, 6]])
    assert [(b.t, b.made_of) for b in told] == [(0, (1,)), (4, (3,))]
    assert not any("movie.tif" in b.reason or "/" in b.reason for b in told)


def test_slices_of_a_z_stack_are_interpolated_along_z(tmp_path):
    pixels = noise((2, 4, 16, 16), "float32")  # frames, slices
    path = tmp_path / "volumes.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TZYX"})
    stack = open_stack(path)
    planes = PagePlanes(Pages(pixels.reshape(8, 16, 16), frozenset({5})), stack.planes.numbers)
    array = dask_from_pages(planes.source, stack.planes.numbers)
    stack = replace(stack, planes=planes, array=array)
    got, (bad,) = read_box(stack, whole(stack), "z", "interpolate")
    np.testing.assert_allclose(got[1, 0, 1], (pixels[1, 0] + pixels[1, 2]) / 2, rtol=1e-6)
    assert (bad.t, bad.z, bad.along, bad.made_of) == (1, 1, "z", (0, 2))
    assert "interpolated between slices 0 and 2" in bad_frame_line(stack, bad)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_flipped_bit_in_one_chunk_replaces_its_whole_plane_in_every_tile(
    tmp_path, policy, monkeypatch
):
    pixels = noise((8, 32, 32))
    path = tmp_path / "movie.zarr"
    write_sharded(path, pixels)
    flip_bit_in_chunk(path, "c/1/0/0", 4)  # frame 5, the chunk at row 0, column 0
    # Blocks of a chunk each, as planes too large to be read at once have.
    monkeypatch.setattr("fm2s_stack.stack.zarr_array.BLOCK_BYTES", 1)
    stack = open_stack(path)
    assert stack.array.chunks[3:] == ((16, 16), (16, 16))
    (want,) = {"previous": (pixels[4],), "interpolate": ((pixels[4] + pixels[6]) / 2,)}[policy]
    got = np.zeros((32, 32), pixels.dtype)
    for y, x in product(((0, 16), (16, 32)), repeat=2):
        part, (bad,) = read_box(stack, Box((4, 8), 0, (0, 1), y, x), "t", policy)
        got[slice(*y), slice(*x)] = part[1, 0, 0]
        good = pixels[[4, 6, 7], slice(*y), slice(*x)]
        np.testing.assert_array_equal(part[[0, 2, 3], 0, 0], good)
        assert (bad.t, bad.made_of) == (5, (4,) if policy == "previous" else (4, 6))
        assert "checksum" in bad.reason.lower()
    np.testing.assert_array_equal(got, np.round(want))
    with pytest.raises(StackUnreadable, match=r"^frame 5: .*checksum"):
        read_box(stack, whole(stack), "t", "fail")


def test_a_torn_shard_is_replaced_from_the_shard_before_it(tmp_path):
    pixels = noise((12, 32, 32))
    path = tmp_path / "movie.zarr"
    write_sharded(path, pixels)
    torn = path / "c/1/0/0"
    torn.write_bytes(torn.read_bytes()[:200])
    stack = open_stack(path)
    got, told = read_box(stack, whole(stack), "t", "previous")
    np.testing.assert_array_equal(got[:, 0, 0], pixels[[0, 1, 2, 3, 3, 3, 3, 3, 8, 9, 10, 11]])
    assert [b.t for b in told] == [4, 5, 6, 7]


def test_tiles_of_large_planes_look_at_the_rest_of_a_good_plane_once(tmp_path, monkeypatch):
    path = tmp_path / "movie.zarr"
    write_sharded(path, noise((8, 32, 32)))
    monkeypatch.setattr("fm2s_stack.stack.zarr_array.BLOCK_BYTES", 1)
    read, boxes = reading.read_blocks, []
    monkeypatch.setattr(
        "fm2s_stack.stack.bad_frames.read_blocks",
        lambda stack, box: (boxes.append(box), read(stack, box))[1],
    )
    stack = open_stack(path)
    tiles = [Box((0, 8), 0, (0, 1), y, x) for y, x in product(((0, 16), (16, 32)), repeat=2)]
    for tile in tiles:
        assert read_box(stack, tile, "t", "previous")[1] == ()
    assert [boxes.count(tile) for tile in tiles] == [2, 2, 2, 2]
    boxes.clear()
    for tile in tiles:
        read_box(open_stack(path), tile, "t", "fail")
    assert boxes == tiles


def test_stored_axes_in_any_order_are_read_plane_by_plane_too(tmp_path):
    pixels = noise((3, 6, 5, 2))  # x, z, y, c
    zarr.create_array(str(tmp_path / "odd.zarr"), data=pixels, chunks=(3, 2, 5, 1))
    stack = open_stack(tmp_path / "odd.zarr", axes="XZYC")
    plane = stack.planes.read(0, 1, 4, slice(1, 4), slice(0, 2))
    np.testing.assert_array_equal(plane, pixels[0:2, 4, 1:4, 1].T)


@pytest.mark.parametrize("axes", [None, "ZYX", "CYX"])
def test_a_damaged_file_of_a_sequence_is_replaced_and_a_removed_one_is_not(tmp_path, axes):
    pixels = noise((4, 16, 20))
    for i, plane in enumerate(pixels):
        write(tmp_path / f"f_{i}.tif", plane, compression="zlib")
    damage_page(tmp_path / "f_2.tif", 0)
    stack = open_stack(tmp_path, axes=axes)
    along = stack.image.default_along()
    if axes == "CYX":
        with pytest.raises(StackError, match="frame 0, channel 2 cannot be read"):
            read_box(stack, whole(stack, 2), along, "previous")
        return
    got, _ = read_box(stack, whole(stack), along, "previous")
    np.testing.assert_array_equal(got.reshape(pixels.shape), pixels[[0, 1, 1, 3]])
    (tmp_path / "f_1.tif").unlink()
    with pytest.raises(StackTruncated, match=r"f_1\.tif"):
        read_box(stack, whole(stack), along, "previous")


def test_a_chunk_file_removed_after_opening_is_a_bad_frame_and_not_zeros(tmp_path):
    pixels = noise((12, 32, 32))
    write_sharded(tmp_path / "movie.zarr", pixels)
    stack = open_stack(tmp_path / "movie.zarr")
    (tmp_path / "movie.zarr/c/1/0/0").unlink()
    got, told = read_box(stack, whole(stack), "t", "previous")
    np.testing.assert_array_equal(got[:, 0, 0], pixels[[0, 1, 2, 3, 3, 3, 3, 3, 8, 9, 10, 11]])
    assert [b.t for b in told] == [4, 5, 6, 7]
    assert "c/1/0/0" in told[0].reason
