"""Pixels that nobody stored are errors, where tifffile or zarr give zeros, grey, or anything.

Each was found by fuzzing (`test_fuzz`); what the library reads is shown first where it is certain.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from fuzz_seeds import PIXELS
from tiff_tools import opened, write
from zarr.codecs import BloscCodec, BytesCodec, ShardingCodec
from zarr_images import pixels_of, stored
from zarr_images import write as write_zarr

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable, UnsupportedPixels
from fm2s_stack.stack.open import open_stack

GREY = (PIXELS // 16).astype(np.uint8)


def pages(path: Path, array: np.ndarray = PIXELS, **how: object) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for page in array:
            writer.write(page, contiguous=False, metadata=None, photometric="minisblack", **how)
    return path


def set_tag(path: Path, code: int, value: int, *, page: int = 1, count: bool = False) -> None:
    """Put a number where the value, or the count, of a tag of a page is stored."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
        form = "<I" if count or tag.dtype == 4 else "<H"
        place = tag.offset + (4 if count else 8)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack(form, value))


def read(path: Path) -> np.ndarray:
    return pixels_of(open_stack(path))


@pytest.mark.parametrize("how", [{"compression": "zlib"}, {"compression": "lzw"}, {}])
def test_strips_that_are_not_there(tmp_path: Path, how: dict) -> None:
    path = pages(tmp_path / "a.tif", rowsperstrip=6, **how)
    for code in (273, 279):
        set_tag(path, code, 3, count=True)
    with pytest.raises(StackTruncated, match=r"page 1 .*(3 strips or tiles, 4 are|stores 720)"):
        opened(path)


def test_tiles_that_are_not_there(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", compression="zlib", tile=(16, 16))
    set_tag(path, 256, 36)
    set_tag(path, 256, 36, page=0)
    for code in (324, 325):
        for page in range(6):
            set_tag(path, code, 4, page=page, count=True)
    with pytest.raises(StackTruncated, match="4 strips or tiles, 6 are needed"):
        opened(path)


def test_a_jpeg_that_was_cut_off_is_not_filled_with_grey(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", GREY, compression="jpeg")
    whole = tifffile.imread(path, key=1)
    np.testing.assert_array_equal(read(path)[1, 0, 0], whole)
    with tifffile.TiffFile(path) as tiff:
        count = tiff.pages[1].databytecounts[0]
    set_tag(path, 279, count * 3 // 4)
    cut = tifffile.imread(path, key=1)
    assert (cut[:6] == whole[:6]).all() and (cut != whole).any()
    with pytest.raises(StackUnreadable, match=r"page 1 .*was cut off"):
        read(path)


@pytest.mark.parametrize("code", [2, 3, 4])
def test_fax_compression_of_grey_levels(tmp_path: Path, code: int) -> None:
    path = pages(tmp_path / "a.tif")
    set_tag(path, 259, code)
    with pytest.raises(UnsupportedPixels, match=f"fax compression .{code}"):
        opened(path)


def test_tiles_larger_than_memory_are_refused_before_it_is_taken(tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif", compression="lzw", tile=(16, 32))
    for page in range(6):
        set_tag(path, 322, 2**31, page=page)
    with pytest.raises(StackUnreadable, match=r"tiles of 16x2147483648, .* it is damaged"):
        opened(path)


def test_ome_xml_that_lost_its_end_is_no_reason_to_read_one_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", PIXELS, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags[270]
    set_tag(path, 270, tag.count - 20, page=0, count=True)
    with pytest.raises(StackUnreadable, match="OME-XML is damaged"):
        opened(path)
    assert opened(path, axes="TYX").array.shape[0] == 6


def test_a_file_that_is_only_named_as_ome_tiff_is_read_aloud(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", PIXELS, ome=False)
    assert any("no OME-XML" in note for note in opened(path).notes)


def test_a_png_without_rows_is_refused(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 8, 0, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    (tmp_path / "a.png").write_bytes(data + struct.pack(">I", zlib.crc32(header)))
    with pytest.raises(StackUnreadable, match="no pixels"):
        open_stack(tmp_path / "a.png")


def sharded_from_the_start(folder: Path, *codecs: object) -> np.ndarray:
    """Two shards of three frames, whose index comes first and has no checksum."""
    inner = ShardingCodec(
        chunk_shape=(1, 24, 20),
        codecs=[BytesCodec(), *codecs],
        index_codecs=[BytesCodec()],
        index_location="start",
    )
    array = zarr.create_array(
        str(folder), shape=PIXELS.shape, chunks=(3, 24, 20), dtype="u2", serializer=inner,
        compressors=None, filters=None, dimension_names=("t", "y", "x"),
    )  # fmt: skip
    array[...] = PIXELS
    return PIXELS


@pytest.mark.parametrize("codecs", [(), (BloscCodec(),)], ids=["raw", "blosc"])
def test_a_shard_that_was_cut_off_after_its_index(tmp_path: Path, codecs: tuple) -> None:
    folder = tmp_path / "a.zarr"
    np.testing.assert_array_equal(sharded_from_the_start(folder, *codecs), read(folder)[:, 0, 0])
    shard = folder / "c" / "1" / "0" / "0"
    index = np.frombuffer(shard.read_bytes()[:48], "<u8").reshape(3, 2)
    last = int(index[:, 0].max())
    shard.write_bytes(shard.read_bytes()[:last])
    lost = 3 + int(np.argmax(index[:, 0]))
    assert not zarr.open_array(str(folder), mode="r")[lost].any()
    with pytest.raises(StackError, match=r"a\.zarr in \[.*zarr cannot read"):
        read(folder)
    for size in (last + 1, last + int(index[:, 1].min()) - 1):
        shard.write_bytes(shard.read_bytes().ljust(size, b"\1")[:size])
        with pytest.raises(StackError, match=r"a\.zarr in \[.*zarr cannot read"):
            read(folder)
    with pytest.raises(StackError, match="zarr cannot read"):
        open_stack(folder).plane(lost, 0, 0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("keep", [1, 15, 17, -20, -1])
def test_a_blosc_chunk_that_was_cut_off(tmp_path: Path, version: str, keep: int) -> None:
    form = 2 if version == "0.4" else 3
    codec = {"id": "blosc", "cname": "lz4"} if form == 2 else BloscCodec(cname="lz4")
    folder = tmp_path / "a.zarr"
    how = {"compressors": codec, "zarr_format": form, "chunks": (1, 24, 20)}
    array = zarr.create_array(str(folder), data=PIXELS, **how)
    assert array.metadata.zarr_format == form
    chunk = folder / ("2.0.0" if form == 2 else "c/2/0/0")
    chunk.write_bytes(chunk.read_bytes()[:keep])
    with pytest.raises(StackUnreadable, match=r"a Blosc chunk (ends early|of \d+ bytes)"):
        pixels_of(open_stack(folder, axes="TYX"))


def test_an_empty_chunk_file(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", "tyx")
    (tmp_path / "a.zarr/s0/c/1/0/1").write_bytes(b"")
    with pytest.raises(StackTruncated, match="c/1/0/1 is empty"):
        open_stack(tmp_path / "a.zarr")


def test_a_chunk_that_goes_after_the_array_was_opened(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", "tyx")
    stack = open_stack(tmp_path / "a.zarr")
    (tmp_path / "a.zarr/s0/c/1/0/1").unlink()
    assert (zarr.open_array(str(tmp_path / "a.zarr/s0"), mode="r")[1, :8, 12:] == 0).all()
    with pytest.raises(StackUnreadable, match="c/1/0/1 is not there any more"):
        pixels_of(stack)


def test_an_array_without_a_chunk_and_one_with_hardly_any(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", "tyx")
    chunks = sorted(p for p in (tmp_path / "a.zarr/s0/c").rglob("*") if p.is_file())
    (tmp_path / "a.zarr/s0/zarr.json").write_text(
        (tmp_path / "a.zarr/s0/zarr.json").read_text().replace("3,", "300000,", 1)
    )
    assert zarr.open_array(str(tmp_path / "a.zarr/s0"), mode="r").shape[0] == 300_000
    with pytest.raises(StackTruncated, match="12 of its 1200000 chunk files"):
        open_stack(tmp_path / "a.zarr")
    for chunk in chunks:
        chunk.unlink()
    with pytest.raises(StackTruncated, match="none of its 1200000 chunk files"):
        open_stack(tmp_path / "a.zarr")


def test_chunk_files_beyond_the_shape_are_told(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", "tyx")
    text = (tmp_path / "a.zarr/s0/zarr.json").read_text()
    (tmp_path / "a.zarr/s0/zarr.json").write_text(text.replace("3,", "2,", 1))
    stack = open_stack(tmp_path / "a.zarr")
    assert any("4 chunk files lie beyond its shape (2, 16, 24)" in note for note in stack.notes)
    np.testing.assert_array_equal(pixels_of(stack)[:, 0, 0], stored("tyx")[:2])


def test_chunks_larger_than_memory_are_refused_before_it_is_taken(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", "tyx", "0.4")
    metadata = json.loads((tmp_path / "a.zarr/s0/.zarray").read_text())
    metadata["chunks"] = [1, 10**6, 10**6]
    (tmp_path / "a.zarr/s0/.zarray").write_text(json.dumps(metadata))
    assert zarr.open_array(str(tmp_path / "a.zarr/s0"), mode="r").chunks == (1, 10**6, 10**6)
    with pytest.raises(StackUnreadable, match=r"chunks of 2000000000000 bytes"):
        open_stack(tmp_path / "a.zarr")
