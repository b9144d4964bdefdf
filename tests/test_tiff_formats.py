"""TIFF files of every kind that tifffile writes, against what was written."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiff_tools import movie, opened, pixels, write, write_imagej_with_one_directory

from fm2s_stack.errors import (
    StackError,
    StackNotFound,
    StackTruncated,
    UsageError,
)
from fm2s_stack.stack.reader import OpenOptions
from fm2s_stack.stack.tiff import open_tiff


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(
    "dtype",
    ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"],
)
def test_every_pixel_type_in_both_byte_orders(
    tmp_path: Path, order: str, bigtiff: bool, dtype: str
) -> None:
    stack = movie((5, 9, 7), dtype)
    path = tmp_path / "a.tif"
    write(path, stack, byteorder=order, bigtiff=bigtiff, metadata={"axes": "TYX"})
    found = opened(path)
    assert found.image.axes == "tyx"
    assert found.notes == ()
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], stack)


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib"},
        {"rowsperstrip": 5},
        {"rowsperstrip": 5, "compression": "zlib"},
    ],
)
def test_compressed_tiled_and_stripped_pages(tmp_path: Path, how: dict) -> None:
    stack = movie((4, 33, 21))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in stack:
            writer.write(frame, contiguous=False, metadata=None, **how)
    found = opened(path)
    assert any("frames" in note and "--axes" in note for note in found.notes)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], stack)
    assert pickle.loads(pickle.dumps(found.array)).shape == found.array.shape


def test_twelve_bit_packed_pages(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    stack = movie((2, 8, 10)) & 0xFFF
    path = tmp_path / "a.tif"
    packed = [imagecodecs.packints_encode(frame.ravel(), 12) for frame in stack]
    with tifffile.TiffWriter(path) as writer:
        for data in packed:
            writer.write(
                iter([data]), shape=(8, 10), dtype="uint16", bitspersample=12, rowsperstrip=8,
                compression="none", metadata=None, contiguous=False, photometric="minisblack",
            )  # fmt: skip
    found = opened(path)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], stack)


@pytest.mark.parametrize("axes", ["TZCYX", "TZYX", "TCYX", "ZCYX", "TYX", "ZYX", "CYX"])
def test_imagej_hyperstacks_keep_their_axes(tmp_path: Path, axes: str) -> None:
    sizes = {"T": 3, "Z": 4, "C": 2, "Y": 6, "X": 5}
    stack = movie(tuple(sizes[a] for a in axes))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": axes})
    found = opened(path)
    lower = axes.lower()
    canonical = "".join(a for a in "tczyx" if a in lower)
    assert found.image.axes == canonical
    expected = stack.transpose([lower.index(a) for a in canonical])
    np.testing.assert_array_equal(pixels(found).reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("unit", "tag", "density", "size"),
    [
        ("um", 1, 2.0, 0.5),
        ("micron", 1, 4.0, 0.25),
        ("\\u00B5m", 1, 2.0, 0.5),
        ("nm", 1, 0.01, 0.1),
        ("cm", 3, 10000.0, 1.0),
        ("inch", 2, 25400.0, 1.0),
        ("um", 3, 10000.0, 1.0),
        ("pixel", 1, 1.0, None),
        (None, 2, 72.0, None),
    ],
)
def test_imagej_calibration_is_in_micrometres(
    tmp_path: Path, unit: str | None, tag: int, density: float, size: float | None
) -> None:
    meta = {"axes": "TZYX", "spacing": 2.5, "finterval": 0.125}
    meta |= {"unit": unit} if unit else {}
    path = tmp_path / "a.tif"
    how = {"resolution": (density, density), "resolutionunit": tag}
    tifffile.imwrite(path, movie((2, 3, 4, 5)), imagej=True, metadata=meta, **how)
    scale = opened(path).image.scale
    assert scale.t == 0.125
    assert scale.x == scale.y == (None if size is None else pytest.approx(size))
    assert (scale.z is None) == (size is None)


def test_an_imagej_file_over_4_gb_has_all_its_frames(tmp_path: Path) -> None:
    path, frames, side = tmp_path / "big.tif", 2600, 1000  # 5.2 GB, sparse
    start = write_imagej_with_one_directory(path, frames, side)
    marked = (0, 2400, frames - 1)
    with path.open("r+b") as file:
        for frame in marked:
            file.seek(start + frame * side * side * 2)
            file.write(np.full(4, frame + 1, ">u2").tobytes())
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].shape == (frames, side, side)
    found = opened(path)
    assert found.image.shape == (frames, 1, 1, side, side)
    for frame in marked:
        row = found.array[frame, 0, 0].compute(scheduler="synchronous")[0]
        assert row[:5].tolist() == [frame + 1] * 4 + [0]
    with path.open("r+b") as file:
        file.truncate(start + (frames - 1) * side * side * 2)
    with pytest.raises(StackTruncated, match=r"big\.tif.*promises 2600 pages, 2599"):
        opened(path)


def test_files_that_continue_a_recording_keep_the_interleaving(tmp_path: Path) -> None:
    stack = movie((6, 2, 5, 4))
    parts = [tmp_path / f"{i}.tif" for i in range(3)]
    for part, frames in zip(parts, np.split(stack, [3, 5]), strict=True):
        meta = {"axes": "TCYX"}
        tifffile.imwrite(part, frames, imagej=True, metadata=meta)
    found = opened(*parts)
    assert found.image.axes == "tcyx"
    assert found.breaks == (3, 5)
    np.testing.assert_array_equal(pixels(found)[:, :, 0], stack)
    assert found.identity.size == sum(part.stat().st_size for part in parts)
    assert found.identity.digest != opened(parts[1], parts[0], parts[2]).identity.digest


def test_files_of_one_volume_each_are_frames(tmp_path: Path) -> None:
    stack = movie((3, 4, 2, 6, 5))  # TZCYX
    parts = [tmp_path / f"{i}.tif" for i in range(3)]
    for part, volume in zip(parts, stack, strict=True):
        tifffile.imwrite(part, volume, imagej=True, metadata={"axes": "ZCYX"})
    found = opened(*parts)
    assert found.image.axes == "tczyx"
    assert found.breaks == (1, 2)
    np.testing.assert_array_equal(pixels(found), stack.swapaxes(1, 2))


def test_plain_files_that_continue_a_recording_may_be_of_any_length(tmp_path: Path) -> None:
    stack = movie((7, 5, 4))
    for name, frames in (("a.tif", stack[:1]), ("b.tif", stack[1:5]), ("c.tif", stack[5:])):
        how = {"compression": "zlib"} if name == "b.tif" else {}
        write(tmp_path / name, frames, metadata=None, **how)
    found = opened(*(tmp_path / name for name in ("a.tif", "b.tif", "c.tif")))
    assert found.breaks == (1, 5)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], stack)


def test_a_file_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", movie((6, 5, 4)))
    write(tmp_path / "odd.tif", movie((6, 5, 5)))
    with pytest.raises(StackError, match=r"odd\.tif.*\(5, 5\).*\(5, 4\)"):
        opened(tmp_path / "a.tif", tmp_path / "odd.tif")


def test_asked_axes_name_the_stored_ones(tmp_path: Path) -> None:
    stack = movie((4, 3, 6, 5))
    write(tmp_path / "a.tif", stack)
    guessed = opened(tmp_path / "a.tif")
    assert guessed.image.axes == "tzyx"
    assert any("4 frames x 3 slices" in note for note in guessed.notes)
    found = opened(tmp_path / "a.tif", axes="CTyx")
    assert found.image.axes == "tcyx"
    np.testing.assert_array_equal(pixels(found)[:, :, 0], stack.swapaxes(0, 1))
    np.testing.assert_array_equal(
        pixels(opened(tmp_path / "a.tif", axes="ZYX"))[0, 0], stack.reshape(12, 6, 5)
    )


def test_asked_axes_keep_the_names_and_times_of_an_ome_tiff(tmp_path: Path) -> None:
    times = {"DeltaT": [0.0, 0.0, 0.5, 0.5, 1.5, 1.5], "DeltaTUnit": ["s"] * 6}
    said = {"axes": "TCYX", "Channel": {"Name": ["GFP", "RFP"]}, "Plane": times}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, movie((3, 2, 6, 5)), metadata=said, photometric="minisblack")
    assert opened(path, axes="TCYX").image == opened(path).image
    assert opened(path).image.timestamps == (0, 0.5, 1.5)
    swapped = opened(path, axes="CTYX").image
    assert (swapped.shape[:2], swapped.channels, swapped.timestamps) == ((2, 3), (), None)


@pytest.mark.parametrize("order", ["<", ">"])
def test_info_and_labels_of_imagej_are_kept(tmp_path: Path, order: str) -> None:
    labels = [f"slice µ{n}" for n in range(3)]
    said = {"axes": "TYX", "Info": "objective = 16x\nlaser = 3 %", "Labels": labels}
    tifffile.imwrite(
        tmp_path / "a.tif", movie((3, 6, 5)), imagej=True, metadata=said, byteorder=order
    )
    headers = opened(tmp_path / "a.tif").headers
    assert headers["ImageJ Info"] == said["Info"]
    assert headers["ImageJ Labels"].splitlines() == labels
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(content.replace(b"ofni", bytes(4)))
    assert opened(tmp_path / "b.tif").image == opened(tmp_path / "a.tif").image


@pytest.mark.parametrize("axes", ["YX", "TCZYX", "TTYX", "TXY", "QYX", "TYXZ", ""])
def test_axes_that_do_not_fit_are_refused_with_the_stored_shape(tmp_path: Path, axes: str) -> None:
    write(tmp_path / "a.tif", movie((4, 3, 6, 5)))
    if axes:
        with pytest.raises(UsageError, match=r"\(4, 3, 6, 5\) or \(12, 6, 5\)"):
            opened(tmp_path / "a.tif", axes=axes)
    else:
        assert opened(tmp_path / "a.tif", axes=axes).image.axes == "tzyx"


def test_series_of_different_sizes_are_told_and_chosen(tmp_path: Path) -> None:
    one, two = movie((5, 6, 5)), movie((2, 4, 4))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(one, photometric="minisblack")
        writer.write(two, photometric="minisblack", metadata={"axes": "ZYX"})
    found = opened(path)
    assert any("2 series" in note for note in found.notes)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], one)
    other = opened(path, series=1)
    assert other.image.axes == "zyx"
    np.testing.assert_array_equal(pixels(other)[0, 0], two)


def test_the_identity_is_of_the_content_alone(tmp_path: Path) -> None:
    stack = movie((5, 6, 5))
    write(tmp_path / "a.tif", stack)
    (tmp_path / "sub").mkdir()
    copy = tmp_path / "sub" / "b.tif"
    copy.write_bytes((tmp_path / "a.tif").read_bytes())
    first, second = opened(tmp_path / "a.tif").identity, opened(copy).identity
    assert first.digest == second.digest
    assert first.name == "a.tif" and second.name == "b.tif"
    stack[2, 3, 3] += 1
    write(copy, stack)
    assert opened(copy).identity.digest != first.digest


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(StackNotFound, match=r"nothing\.tif"):
        opened(tmp_path / "nothing.tif")


def test_a_movie_written_a_frame_at_a_time_is_one_stack_unless_a_series_is_named(tmp_path):
    file = tmp_path / "movie.tif"
    frames = np.arange(30, dtype=np.uint16)[:, None, None] * np.ones((1, 16, 24), np.uint16)
    with tifffile.TiffWriter(file) as writer:
        for frame in frames:
            writer.write(frame, compression="zlib")
    whole = open_tiff([file], OpenOptions())
    np.testing.assert_array_equal(whole.array[:, 0, 0].compute(), frames)
    assert "one stack" in whole.notes[0]
    one = open_tiff([file], OpenOptions(series=3))
    np.testing.assert_array_equal(one.array[0, 0, 0].compute(), frames[3])
