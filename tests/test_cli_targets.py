"""Where the command line refuses to write, and what it leaves untouched."""

import os
from pathlib import Path

import numpy as np
import pytest
from cli_tools import attributes, level, recording


@pytest.mark.parametrize("name", ["out", "out.foo", "out.zar", ".zarr"])
def test_an_output_of_another_suffix_is_refused(call, movie, name):
    assert ".zarr, .tif" in call.refused(movie, movie.with_name(name), code=2)


def test_a_png_of_a_movie_is_refused_before_any_work(call, movie):
    assert "one plane" in call.refused(movie, movie.with_name("o.png"))
    assert [entry.name for entry in movie.parent.iterdir()] == ["movie.tif"]


def test_a_float_png_is_refused_and_says_what_to_give(call, tmp_path):
    image = recording(tmp_path / "image.tif", (48, 48))
    line = call.refused(image, tmp_path / "o.png", "--dtype", "float32")
    assert "--dtype uint16" in line


def test_an_output_folder_that_is_not_there_is_named(call, movie):
    assert "make it" in call.refused(movie, movie.parent / "no" / "o.zarr", code=2)


def test_a_file_as_the_output_folder_is_called_a_file(call, movie):
    assert "is a file, not a folder" in call.refused(movie, movie / "o.zarr", code=2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
@pytest.mark.parametrize("name", ["o.zarr", "o.tif"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(call, movie, name):
    locked = movie.parent / "locked"
    locked.mkdir(mode=0o555)
    assert "cannot be written" in call.refused(movie, locked / name)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_a_file_system_that_takes_no_files_ends_in_one_line(call, movie):
    assert "/proc/o.zarr" in call.refused(movie, "/proc/o.zarr")


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_the_input_is_never_the_output(call, movie, option, monkeypatch):
    before = movie.read_bytes()
    link = movie.with_name("link.tif")
    link.symlink_to(movie)
    monkeypatch.chdir(movie.parent)
    for name in (movie, "movie.tif", "./x/../movie.tif", link):
        call.refused(movie, name, *option, code=2)
    assert movie.read_bytes() == before


@pytest.mark.parametrize("source", ["", "*.tif", "list.txt"])
def test_a_part_of_the_input_is_never_the_output(call, tmp_path, source):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        recording(folder / f"frame{i}.tif", (32, 32))
    (folder / "list.txt").write_text("frame0.tif\nframe1.tif\nframe2.tif\n")
    before = (folder / "frame1.tif").read_bytes()
    line = call.refused(folder / source, folder / "frame1.tif", "--overwrite", code=2)
    assert "part of the input" in line
    assert (folder / "frame1.tif").read_bytes() == before


@pytest.mark.parametrize("source", ["", "frame*.tif"])
def test_a_file_that_would_be_read_as_input_the_next_time_is_refused(call, tmp_path, source):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        recording(folder / f"frame{i}.tif", (32, 32))
    line = call.refused(folder / source, folder / "frame_out.tif", code=2)
    assert "next time" in line
    call.denoise(folder / source, folder / "out.zarr")
    call.denoise(folder / source, tmp_path / "frame_out.tif")
    assert level(folder / "out.zarr").shape == (3, 32, 32)


def test_an_output_inside_a_zarr_input_is_refused(call, movie):
    call.denoise(movie, movie.with_name("in.zarr"))
    inner = movie.with_name("in.zarr") / "o.zarr"
    assert "inside" in call.refused(movie.with_name("in.zarr"), inner, code=2)


def test_a_complete_output_stays_unless_overwriting_is_asked_for(call, movie):
    out = movie.with_name("o.zarr")
    call.denoise(movie, out)
    before = level(out)
    assert "--frames (0:12 there, 0:5 now)" in call.refused(movie, out, "--frames", "0:5")
    assert "is complete: nothing is left to do" in call.denoise(movie, out).err
    assert np.array_equal(level(out), before)
    call.denoise(movie, f"{out}/", "--frames", "0:5", "--overwrite")
    assert level(out).shape == (5, 48, 48)
    assert attributes(out)["status"] == "complete"


@pytest.mark.parametrize("name", ["notes", "file", "link", "dangling"])
def test_what_is_not_ours_survives_overwrite_and_is_refused_before_training(call, movie, name):
    out = movie.with_name("o.zarr")
    if name == "notes":
        out.mkdir()
        (out / "notes.txt").write_text("hi")
    elif name == "file":
        out.write_text("hi")
    else:
        target = movie.with_name("target.zarr")
        if name == "link":
            call.denoise(movie, target)
        out.symlink_to(target)
    plain = call.refused(movie, out, "--seed", "1")
    assert str(out) in plain
    call.denoise(movie, out, "--overwrite", code=1)
    assert "fit:" not in call.err
    assert out.is_symlink() or out.is_file() or (out / "notes.txt").read_text() == "hi"
