"""TIFF files that must be refused, each with one line that names what is wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from tiff_tools import opened, stack, write

from fm2s_stack.cli.info import command as info
from fm2s_stack.errors import (
    Fm2sError,
    StackError,
    StackTruncated,
    StackUnreadable,
    UnsupportedPixels,
)


def page_by_page(path: Path, array: np.ndarray, **how) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for frame in array:
            writer.write(frame, contiguous=False, metadata=None, photometric="minisblack", **how)
    return path


def cut(path: Path, size: int) -> Path:
    with path.open("r+b") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", ["imagej", "contiguous", "pages", "compressed", "ome"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, kind: str, keep: float) -> None:
    array, path = stack(10, 64, 64), tmp_path / f"{kind}.tif"
    if kind == "imagej":
        write(path, array, imagej=True, metadata={"axes": "TYX"})
    elif kind == "ome":
        write(path, array, ome=True, metadata={"axes": "TYX"})
    elif kind == "contiguous":
        write(path, array)
    else:
        page_by_page(path, array, compression="zlib" if kind == "compressed" else None)
    assert opened(path).array.shape[0] == 10
    cut(path, int(path.stat().st_size * keep))
    with pytest.raises(StackTruncated, match=rf"{kind}\.tif"):
        opened(path)


def test_an_imagej_header_that_promises_more_pages_is_refused(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif", stack(4, 8, 8), description="ImageJ=1.5\nframes=6\n")
    with pytest.raises(StackTruncated, match=r"a\.tif.*promises 6 pages, 4"):
        opened(path)


def test_a_file_cut_after_it_was_opened_is_an_error_that_names_the_page(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stack(10, 32, 32))
    found = opened(path)
    cut(path, path.stat().st_size - 3 * 2048)
    with pytest.raises(StackTruncated, match=r"a\.tif.*page 7 "):
        found.array.compute(scheduler="synchronous")


def test_a_compressed_page_damaged_after_opening_is_an_error(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif", stack(3, 32, 32), compression="zlib")
    found = opened(path)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[1].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 40)
    with pytest.raises(StackUnreadable, match=r"a\.tif.*page 1 "):
        found.array.compute(scheduler="synchronous")


def test_a_strip_of_no_bytes_is_not_read_as_zeros(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif", stack(3, 32, 32), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        where = tiff.pages[1].tags[279].valueoffset
    with path.open("r+b") as file:
        file.seek(where)
        file.write(bytes(4))
    assert not tifffile.imread(path, key=1).any()
    with pytest.raises(StackTruncated, match=r"a\.tif.*page 1 was not stored"):
        opened(path)


def test_a_loop_of_directories_is_refused(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif", stack(3, 8, 8))
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[2].offset
    with path.open("r+b") as file:
        file.seek(last)
        (tags,) = struct.unpack("<H", file.read(2))
        file.seek(last + 2 + 12 * tags)
        file.write(struct.pack("<I", first))
    with pytest.raises(StackUnreadable, match="earlier page"):
        opened(path)


@pytest.mark.parametrize(
    "data", [b"IX", b"\x89PNG\r\n\x1a\n" + bytes(64), b"II\0*" + bytes(9), bytes(99)]
)
def test_what_is_no_tiff_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(StackUnreadable, match=r"a\.tif"):
        opened(path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_cut_within_its_header_is_one_line(tmp_path: Path, big: bool, order: str) -> None:
    how = {"bigtiff": big, "byteorder": order}
    whole = write(tmp_path / "whole.tif", stack(3, 8, 8), **how).read_bytes()
    path = tmp_path / "a.tif"
    for size in range(16 if big else 8):
        path.write_bytes(whole[:size])
        with pytest.raises(StackTruncated, match=r"a\.tif") as caught:
            opened(path)
        assert ("is empty" in str(caught.value)) == (size == 0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.png"])
def test_a_file_of_a_few_bytes_is_one_line_for_the_info_command(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / "whole.tif", stack(3, 8, 8), bigtiff=True).read_bytes()
    path = tmp_path / name
    for size in range(16):
        path.write_bytes(whole[:size])
        done = CliRunner().invoke(info, [str(path)])
        assert isinstance(done.exception, StackError), (size, done.exception)
        assert name in str(done.exception)
        assert ("is empty" in str(done.exception)) == (size == 0)


def test_a_recording_that_never_got_a_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(StackTruncated, match="no page"):
        opened(path)


@pytest.mark.parametrize(
    ("dtype", "word"),
    [("complex64", "complex 64"), ("uint64", "uint 64"), ("int64", "int 64"), ("bool", "uint 1")],
)
def test_pixels_we_cannot_denoise_are_refused(tmp_path: Path, dtype: str, word: str) -> None:
    path = write(tmp_path / "a.tif", stack(4, 8, 8, dtype=dtype))
    with pytest.raises(UnsupportedPixels, match=rf"a\.tif.*{word}"):
        opened(path)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_is_refused(tmp_path: Path, planar: str) -> None:
    shape = (2, 8, 8, 3) if planar == "contig" else (2, 3, 8, 8)
    path = tmp_path / "a.tif"
    how = {"photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(path, stack(*shape, dtype="uint8"), **how)
    with pytest.raises(UnsupportedPixels, match=r"a\.tif.*colour"):
        opened(path)


def test_a_colour_table_is_refused_but_for_imagej_whose_values_are_grey_levels(
    tmp_path: Path,
) -> None:
    array = stack(8, 8, dtype="uint8")
    table = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    plain, imagej = tmp_path / "plain.tif", tmp_path / "imagej.tif"
    how = {"photometric": "palette", "colormap": table, "metadata": None}
    tifffile.imwrite(plain, array, **how)
    tifffile.imwrite(imagej, array, description="ImageJ=1.54f\n", **how)
    with pytest.raises(UnsupportedPixels, match="PhotometricInterpretation 3"):
        opened(plain)
    found = opened(imagej)
    assert any("colour table" in note for note in found.notes)
    np.testing.assert_array_equal(found.array[0, 0, 0].compute(), array)


def test_pages_of_mixed_shapes_are_refused_and_runs_of_them_are_series(tmp_path: Path) -> None:
    def pages(*sides: int) -> Path:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as writer:
            for side in sides:
                frame = np.full((8, side), side, np.uint16)
                writer.write(frame, contiguous=False, metadata=None, photometric="minisblack")
        return path

    with pytest.raises(StackUnreadable, match=r"a\.tif: page 2 .*8x9 uint16.*8x8"):
        opened(pages(8, 8, 9, 8))
    found = opened(pages(8, 8, 9), series=1)
    assert found.array.shape == (1, 1, 1, 8, 9)


def test_thumbnails_are_left_out_aloud(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for i in range(3):
            how = {"contiguous": False, "metadata": None, "photometric": "minisblack"}
            writer.write(np.full((16, 16), i, np.uint16), **how)
            writer.write(np.full((4, 4), 9, np.uint16), subfiletype=1, **how)
    found = opened(tmp_path / "a.tif")
    assert found.array[:, 0, 0, 0, 0].compute().tolist() == [0, 1, 2]
    assert any("3 thumbnail" in note for note in found.notes)


def test_a_huge_claim_in_a_small_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif", stack(1, 8, 8), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages[0].tags[code].valueoffset for code in (256, 257, 278)]
        assert [tiff.pages[0].tags[code].dtype for code in (256, 257)] == [4, 4]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(struct.pack("<I", 1_000_000))
    with pytest.raises(StackUnreadable, match="1000000x1000000"):
        opened(path)


def test_any_flipped_byte_of_the_directories_ends_in_pixels_or_in_one_clear_line(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    good = page_by_page(tmp_path / "good.tif", stack(3, 16, 16), compression="zlib").read_bytes()
    plain = write(tmp_path / "plain.tif", stack(3, 16, 16)).read_bytes()
    path = tmp_path / "a.tif"
    refused = 0
    for i in range(300):
        data = bytearray((good, plain)[i % 2])
        data[rng.integers(0, min(len(data), 400))] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            opened(path).array.compute(scheduler="synchronous")
        except Fm2sError as error:
            refused += 1
            assert str(error) and "\n" not in str(error)
            assert isinstance(error, StackError)
    assert 0 < refused < 300
