"""Single images, and sequences of files with one plane each."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable, UnsupportedPixels
from fm2s_stack.stack.open import open_stack

RNG = np.random.default_rng(5)
MOVIE = RNG.integers(0, 60000, (12, 20, 30), dtype=np.uint16)


@pytest.fixture
def pngs(tmp_path) -> Path:
    for i, frame in enumerate(MOVIE):
        Pil.fromarray(frame).save(tmp_path / f"frame{i}.png")
    return tmp_path


@pytest.fixture
def tiffs(tmp_path) -> Path:
    for i, frame in enumerate(MOVIE):
        tifffile.imwrite(tmp_path / f"frame{i}.tif", frame)
    return tmp_path


def test_every_png_of_the_data_opens_as_pillow_reads_it(data):
    files = sorted([*data.glob("fmd/*/*.png"), *data.glob("srdtrans/**/*.png")])
    assert len(files) == 26
    for file in files:
        stack = open_stack(file)
        expected = np.asarray(Pil.open(file))
        assert stack.image.axes == "yx"
        assert stack.array.dtype == expected.dtype == np.uint8
        np.testing.assert_array_equal(stack.array[0, 0, 0].compute(), expected)


def test_the_folder_of_noisy_frames_is_a_movie(data):
    stack = open_stack(data / "srdtrans" / "noisy")
    expected = [np.asarray(Pil.open(data / f"srdtrans/noisy/{i}.png")) for i in range(5)]
    assert stack.image.axes == "tyx"
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), expected)
    assert any("--axes ZYX" in note for note in stack.notes)


def test_a_sequence_of_16_bit_pngs_is_a_movie(pngs):
    stack = open_stack(pngs)
    assert stack.format == "PNG sequence"
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), MOVIE)


def test_a_sequence_of_tiffs_is_a_movie(tiffs):
    stack = open_stack(tiffs)
    assert stack.image.axes == "tyx"
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), MOVIE)


def test_axes_make_the_files_slices_or_channels(pngs):
    for axes, place in [("ZYX", 2), ("CYX", 1)]:
        stack = open_stack(pngs, axes=axes)
        assert stack.array.shape[place] == 12
        np.testing.assert_array_equal(stack.array.compute().squeeze(), MOVIE)
        assert stack.notes == ()


def test_big_endian_tiffs_come_in_native_order(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", MOVIE[i], byteorder=">")
    array = open_stack(tmp_path).array
    assert array.dtype.isnative
    np.testing.assert_array_equal(array[:, 0, 0].compute(), MOVIE[:3])


def test_only_the_first_and_last_file_are_opened(tiffs):
    for i in range(1, 11):
        (tiffs / f"frame{i}.tif").write_bytes(b"damaged")
    stack = open_stack(tiffs)
    assert stack.array.shape == (12, 1, 1, 20, 30)
    with pytest.raises(StackUnreadable, match=r"frame1\.tif"):
        stack.array.compute()


def test_twenty_thousand_files_open_without_reading_each(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = tmp_path / "f000000.tif"
    tifffile.imwrite(first, MOVIE[0])
    for i in range(1, 20_000):
        os.link(first, tmp_path / f"f{i:06d}.tif")
    start = time.monotonic()
    stack = open_stack(tmp_path)
    assert time.monotonic() - start < 60
    assert stack.array.shape[0] == 20_000
    np.testing.assert_array_equal(stack.plane(12_345, 0, 0), MOVIE[0])


@pytest.mark.parametrize(
    "frame", [MOVIE[0][:-1], MOVIE[0].astype(np.float32)], ids=["shape", "dtype"]
)
def test_a_file_unlike_the_first_is_refused_by_name_when_read(tiffs, frame):
    tifffile.imwrite(tiffs / "frame4.tif", frame)
    stack = open_stack(tiffs)
    with pytest.raises(StackUnreadable, match=r"frame4\.tif.*20x30 uint16"):
        stack.array.compute()
    tifffile.imwrite(tiffs / "frame11.tif", frame)
    with pytest.raises(StackUnreadable, match=r"frame11\.tif"):
        open_stack(tiffs)


def test_a_file_with_more_pages_in_a_sequence_is_refused_by_name(tiffs):
    tifffile.imwrite(tiffs / "frame4.tif", MOVIE[:3], photometric="minisblack", metadata=None)
    with pytest.raises(StackUnreadable, match=r"frame4\.tif: has several pages"):
        open_stack(tiffs).array.compute()
    tifffile.imwrite(tiffs / "frame4.tif", MOVIE[:3], imagej=True)
    with pytest.raises(StackUnreadable, match=r"frame4\.tif: has several pages"):
        open_stack(tiffs).array.compute()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_tiff_of_a_sequence_is_refused_by_name(tiffs, compression, kept):
    tifffile.imwrite(tiffs / "frame4.tif", MOVIE[4], compression=compression)
    whole = (tiffs / "frame4.tif").read_bytes()
    (tiffs / "frame4.tif").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(StackError, match=r"frame4\.tif"):
        open_stack(tiffs).array.compute()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.97])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_refused_by_name(tmp_path, suffix, kept):
    file = tmp_path / f"image.{suffix}"
    Pil.fromarray((MOVIE[0] >> 8).astype(np.uint8)).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(StackError, match="image") as caught:
        open_stack(file).array.compute()
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_png_is_refused_by_name(tmp_path):
    file = tmp_path / "image.png"
    Pil.fromarray(MOVIE[0]).save(file)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(bytes(whole))
    with pytest.raises(StackUnreadable, match=r"image\.png"):
        open_stack(file).array.compute()


def test_a_png_header_beyond_its_bytes_is_refused_before_decoding(tmp_path):
    file = tmp_path / "bomb.png"
    Pil.fromarray(MOVIE[0]).save(file)
    whole = bytearray(file.read_bytes())
    whole[16:24] = (60_000).to_bytes(4, "big") * 2
    file.write_bytes(bytes(whole))
    with pytest.raises(StackTruncated, match="cannot hold"):
        open_stack(file)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_pngs_that_are_not_grey_are_refused(tmp_path, mode):
    file = tmp_path / "colour.png"
    Pil.fromarray((MOVIE[0] >> 8).astype(np.uint8)).convert(mode).save(file)
    with pytest.raises(UnsupportedPixels, match=r"colour\.png"):
        open_stack(file)


def test_colour_jpegs_and_tiffs_are_refused(tmp_path):
    rgb = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Pil.fromarray(rgb).save(tmp_path / "colour.jpg")
    with pytest.raises(UnsupportedPixels, match="RGB"):
        open_stack(tmp_path / "colour.jpg")
    for i in range(2):
        tifffile.imwrite(tmp_path / f"c{i}.tif", rgb, photometric="rgb")
    with pytest.raises(UnsupportedPixels, match=r"c0\.tif"):
        open_stack(str(tmp_path / "c*.tif"))


def test_a_grey_jpeg_opens_and_is_said_to_be_lossy(tmp_path):
    file = tmp_path / "image.jpg"
    Pil.fromarray((MOVIE[0] >> 8).astype(np.uint8)).save(file)
    stack = open_stack(file)
    np.testing.assert_array_equal(stack.plane(0, 0, 0), np.asarray(Pil.open(file)))
    assert any("lossy" in note for note in stack.notes)


def test_a_file_that_vanished_is_named(tiffs):
    stack = open_stack(tiffs)
    (tiffs / "frame7.tif").unlink()
    with pytest.raises(StackTruncated, match=r"frame7\.tif"):
        stack.array.compute()


def test_the_graph_pickles_and_computes_from_another_folder(pngs, monkeypatch):
    monkeypatch.chdir(pngs)
    stored = pickle.dumps(open_stack("."))
    monkeypatch.chdir("/")
    stack = pickle.loads(stored)
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), MOVIE)


def test_identity_is_of_the_content_not_of_names_or_times(pngs, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("copy")
    for i in range(12):
        (elsewhere / f"copy_{i:03d}.png").write_bytes((pngs / f"frame{i}.png").read_bytes())
    here = open_stack(pngs).identity
    assert open_stack(elsewhere).identity.digest == here.digest
    assert here.size == sum(f.stat().st_size for f in pngs.iterdir())
    Pil.fromarray(MOVIE[3] ^ 1).save(elsewhere / "copy_003.png")
    assert open_stack(elsewhere).identity.digest != here.digest
