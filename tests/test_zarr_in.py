"""zarr arrays as inputs: axes, chunks, shards, blocks, identity."""

from __future__ import annotations

import pickle
import shutil

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr_images import PIXELS, pixels_of, stored, write

from fm2s_stack.errors import StackUnreadable, UnsupportedPixels, UsageError
from fm2s_stack.stack.open import open_stack
from fm2s_stack.stack.pages import BLOCK_BYTES
from fm2s_stack.stack.zarr_array import ZarrArray, block_shape


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
    with pytest.raises(UsageError, match="--series 3"):
        open_stack(tmp_path / "p.zarr", axes="ZYX", series=3)
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
        "p", 3, shape, np.dtype("u2"), tuple(chunks), shards if sharded else None, (), (), 0, (), 0
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
