"""TIFF recordings, against tifffile reading the same file."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fm2s_stack.errors import (
    StackError,
    StackNotFound,
    StackTruncated,
    UnsupportedPixels,
    UsageError,
)
from fm2s_stack.stack.reader import OpenOptions, Recording
from fm2s_stack.stack.tiff import open_tiff


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def opened(*paths: Path, **options) -> Recording:
    return open_tiff(list(paths), OpenOptions(**options))


def pixels(recording: Recording) -> np.ndarray:
    array = recording.array.compute(scheduler="synchronous")
    assert array.shape == recording.image.shape
    assert array.dtype == recording.image.dtype
    assert array.dtype.isnative
    return array


def movie(shape: tuple[int, ...], dtype="uint16", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -3000), min(info.max, 4000), shape).astype(dtype)


def write(path: Path, stack: np.ndarray, **how) -> Path:
    tifffile.imwrite(path, stack, photometric="minisblack", **how)
    return path


def write_imagej_with_one_directory(path: Path, frames: int, side: int) -> int:
    """As ImageJ stores more than 4 GB: a directory, then all planes; returns where they begin."""
    text = f"ImageJ=1.54f\nimages={frames}\nframes={frames}\n".encode() + b"\0"
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16)]
    start = 8 + 2 + 9 * 12 + 4 + len(text)
    tags += [(262, 3, 1, 1 << 16), (270, 2, len(text), start - len(text)), (273, 4, 1, start)]
    tags += [(277, 3, 1, 1 << 16), (279, 4, 1, side * side * 2)]
    with path.open("wb") as file:
        file.write(b"MM\0*" + struct.pack(">IH", 8, len(tags)))
        file.write(b"".join(struct.pack(">HHII", *tag) for tag in tags) + bytes(4) + text)
        assert file.tell() == start
        file.truncate(start + frames * side * side * 2)
    return start


GREY = {
    "tiff/two_photon_movie.tif": "tyx",
    "tiff/scanimage3_movie.tif": "tyx",
    "tiff/scanimage_int16_negative.tif": "zyx",
    "tiff/imagej_z5_bigendian.tif": "tyx",
    "tiff/ome/4D-series.ome.tif": "tzyx",
    "tiff/ome/multi-channel-time-series.ome.tif": "tcyx",
    "tiff/ome/multi-channel-z-series.ome.tif": "czyx",
    "tiff/ome/multi-channel.ome.tif": "cyx",
    "tiff/ome/single-channel.ome.tif": "yx",
    "tiff/ome/time-series.ome.tif": "tyx",
    "tiff/ome/z-series.ome.tif": "zyx",
    "tiff/ome/master/multifile-Z1.ome.tiff": "zyx",
    "tiff/codecs/gradient-1c-64b-float.tiff": "yx",
    "tiff/codecs/int16.tif": "yx",
    "tiff/codecs/int16_zstd.tif": "yx",
    "tiff/codecs/minisblack-1c-16b.tiff": "yx",
    "tiff/codecs/predictor-3-gray-f32.tif": "yx",
    "tiff/codecs/random-fp16.tiff": "yx",
}
COLOUR = [
    *(f"tiff/codecs/bigtiff/BigTIFF{name}.tif" for name in ("", "Long", "Motorola")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("deflate", "lzw", "lzw_12bps", "lzw_14bps")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("lzw_tiled", "multi_size", "uncompressed")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("uncompressed_half", "zstd")),
]
ELSEWHERE = {
    "tiff/ome/181003_multi_pos_time_course_1_MMStack.ome.tif",
    *(f"tiff/ome/master/multifile-Z{n}.ome.tiff" for n in range(2, 6)),
    *(f"tiff/ome/companion/multifile-Z{n}.ome.tiff" for n in range(1, 6)),
}


def test_every_tiff_of_the_data_folder_is_tested(data: Path) -> None:
    there = {str(p.relative_to(data)) for p in (data / "tiff").rglob("*.tif*")}
    assert there == set(GREY) | set(COLOUR) | ELSEWHERE


@pytest.mark.parametrize("name", GREY)
def test_a_real_file_reads_as_tifffile_reads_it(data: Path, name: str) -> None:
    found = opened(data / name)
    with tifffile.TiffFile(data / name) as tiff:
        expected = tiff.series[0].asarray()
    assert found.image.axes == GREY[name]
    assert found.image.dtype == expected.dtype
    assert found.image.real_shape == (expected.shape if expected.ndim > 2 else expected.shape[-2:])
    np.testing.assert_array_equal(pixels(found).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", COLOUR)
def test_a_real_colour_file_is_refused(data: Path, name: str) -> None:
    with pytest.raises(UnsupportedPixels, match=f"{Path(name).name}.*colour"):
        opened(data / name)


def test_a_micromanager_file_gives_one_position_a_series(data: Path) -> None:
    path = data / "tiff/ome/181003_multi_pos_time_course_1_MMStack.ome.tif"
    expected = tifffile.imread(path)  # axes TRYX
    for position in (0, 1):
        found = opened(path, series=position)
        assert found.image.axes == "tyx"
        np.testing.assert_array_equal(pixels(found)[:, 0, 0], expected[:, position])
        assert not any("positions" in note for note in found.notes)
    found = opened(path)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], expected[:, 0])
    assert any("2 series or positions" in note for note in found.notes)
    assert found.image.scale.x == pytest.approx(5.2304)
    assert found.image.scale.t == pytest.approx(5.0)
    assert found.image.channels == ("Default",)
    assert found.image.timestamps is not None
    assert found.image.timestamps[:2] == pytest.approx((1.348, 5.264))
    assert "PropVal" in found.headers["MicroManagerMetadata"]
    with pytest.raises(UsageError, match=r"--series 2.*2 series"):
        opened(path, series=2)


@pytest.mark.parametrize(
    "member",
    ["companion/multifile.companion.ome"]
    + [f"{kind}/multifile-Z{n}.ome.tiff" for kind in ("companion", "master") for n in (1, 2, 5)],
)
def test_any_member_of_a_multi_file_ome_opens_the_whole(data: Path, member: str) -> None:
    folder = (data / "tiff/ome" / member).parent
    expected = [
        tifffile.TiffFile(folder / f"multifile-Z{n}.ome.tiff").pages[0] for n in range(1, 6)
    ]
    found = opened(data / "tiff/ome" / member)
    assert found.image.axes == "zyx"
    for z, page in enumerate(expected):
        np.testing.assert_array_equal(pixels(found)[0, 0, z], page.asarray())
    assert found.identity.digest == opened(folder / "multifile-Z3.ome.tiff").identity.digest


def test_all_members_given_in_any_number_are_one_recording(data: Path) -> None:
    folder = data / "tiff/ome/companion"
    files = sorted(folder.glob("*.tiff"))
    np.testing.assert_array_equal(pixels(opened(*files)), pixels(opened(files[0])))


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
