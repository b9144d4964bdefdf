"""`open_stack` over every kind of input, and selections from what it opens."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from fm2s_stack.errors import StackError, StackNotFound, UsageError
from fm2s_stack.stack import Stack, open_stack

MOVIE = np.random.default_rng(8).integers(0, 9000, (11, 14, 17), dtype=np.uint16)


@pytest.fixture(scope="session")
def movie(tmp_path_factory) -> Path:
    """A TIFF of 11 frames."""
    file = tmp_path_factory.mktemp("movie") / "movie.tif"
    tifffile.imwrite(file, MOVIE, metadata={"axes": "TYX"}, imagej=False)
    return file


def kinds(folder: Path) -> dict[str, Path]:
    """The movie as each kind of input."""
    for kind in ("pngs", "tiffs", "parts"):
        (folder / kind).mkdir()
    for i, frame in enumerate(MOVIE):
        Pil.fromarray(frame).save(folder / f"pngs/f{i}.png")
        tifffile.imwrite(folder / f"tiffs/f{i}.tif", frame)
    for i, cut in enumerate((slice(0, 4), slice(4, 8), slice(8, None))):
        tifffile.imwrite(folder / f"parts/run_{i + 1:05d}.tif", MOVIE[cut], photometric=1)
    zarr.create_array(
        str(folder / "movie.zarr"), data=MOVIE, chunks=(2, 14, 17), dimension_names=("t", "y", "x")
    )
    (folder / "list.txt").write_text("".join(f"pngs/f{i}.png\n" for i in range(11)))
    paths = {kind: folder / kind for kind in ("pngs", "tiffs", "parts", "movie.zarr", "list.txt")}
    return {**paths, "glob": folder / "pngs" / "f*.png"}


def test_every_kind_of_input_gives_the_same_movie(tmp_path):
    for kind, path in kinds(tmp_path).items():
        stack = open_stack(str(path), frames=(2, 9), cache_dir=tmp_path / "cache")
        assert isinstance(stack, Stack), kind
        assert stack.image.axes == "tyx", kind
        assert stack.array.shape == (7, 1, 1, 14, 17), kind
        assert stack.t_start == 2
        copy = pickle.loads(pickle.dumps(stack))
        np.testing.assert_array_equal(copy.array[:, 0, 0].compute(), MOVIE[2:9], err_msg=kind)
        np.testing.assert_array_equal(stack.plane(3, 0, 0), MOVIE[5], err_msg=kind)


def test_parts_of_one_recording_have_breaks_where_files_start(tmp_path):
    stack = open_stack(kinds(tmp_path)["parts"], cache_dir=tmp_path / "cache")
    assert stack.breaks == (4, 8)


def test_a_sequence_of_tiffs_has_the_pixel_size_of_its_first(tmp_path):
    for i in range(3):
        tifffile.imwrite(
            tmp_path / f"f{i}.tif",
            MOVIE[i],
            imagej=True,
            resolution=(2, 1),
            metadata={"unit": "um"},
        )
    scale = open_stack(tmp_path, cache_dir=tmp_path / "cache").image.scale
    assert (scale.x, scale.y) == (pytest.approx(0.5), pytest.approx(1))


def test_a_folder_of_one_multi_file_ome_tiff_is_what_its_xml_says(data):
    stack = open_stack(data / "tiff/ome/master")
    expected = [
        tifffile.imread(data / f"tiff/ome/master/multifile-Z{z}.ome.tiff", key=0, is_ome=False)
        for z in range(1, 6)
    ]
    assert stack.image.axes == "zyx"
    np.testing.assert_array_equal(stack.array[0, 0].compute(), expected)


def test_renamed_files_of_a_multi_file_ome_tiff_are_a_sequence(tmp_path, data):
    for z in range(1, 6):
        source = data / f"tiff/ome/master/multifile-Z{z}.ome.tiff"
        (tmp_path / f"renamed{z}.tif").write_bytes(source.read_bytes())
    assert open_stack(tmp_path, axes="ZYX").array.shape[:3] == (1, 1, 5)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_frames_are_selected_as_python_slices(movie, data):
    bound = st.none() | st.integers(-15, 15)
    frames = data.draw(st.tuples(bound, bound))
    expected = MOVIE[slice(*frames)]
    if not len(expected):
        with pytest.raises(UsageError, match="--frames"):
            open_stack(movie, frames=frames)
        return
    stack = open_stack(movie, frames=frames)
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), expected)
    assert stack.image.shape == stack.array.shape
    np.testing.assert_array_equal(MOVIE[stack.t_start], expected[0])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_bound_beyond_the_ends_is_told(movie, data):
    bound = st.none() | st.integers(-15, 15)
    start, stop = data.draw(st.tuples(bound, bound))
    if not len(MOVIE[start:stop]):
        return
    there = range(-11, 12)
    beyond = (stop is not None and stop not in there) or (start is not None and start not in there)
    assert bool(open_stack(movie, frames=(start, stop)).notes) == beyond


def test_the_note_on_a_bound_says_what_was_taken(movie):
    stack = open_stack(movie, frames=(8, 30))
    assert stack.notes == ("--frames 8:30 of 11 frames: took 8 to 11",)
    assert stack.select(frames=(-9, None)).notes[1:] == ("--frames -9: of 3 frames: took 0 to 3",)
    slices = stack.select(slices=(0, 2)).notes[1:]
    assert slices == ("--slices 0:2 of 1 slices: took 0 to 1",)


def test_the_options_that_change_what_is_read_are_kept(movie):
    assert open_stack(movie).asked == {}
    stack = open_stack(movie, axes="ZYX", series=0, frames=(0, 1))
    assert stack.asked == {"axes": "ZYX", "series": "0"}
    assert pickle.loads(pickle.dumps(stack)).asked == stack.asked


def test_a_selection_of_a_selection_counts_from_the_source(movie):
    stack = open_stack(movie, frames=(3, 10)).select(frames=(2, -1))
    assert stack.t_start == 5
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), MOVIE[5:9])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel": ["1"]}, "--channel 1"),
        ({"channel": ["GFP"]}, "--channel GFP"),
        ({"channel": [-1]}, "--channel -1"),
        ({"channel": [0, "0"]}, "named twice"),
        ({"slices": (1, 2)}, "--slices 1:2 selects none"),
        ({"frames": (11, None)}, "--frames 11: selects none"),
        ({"series": 3}, "3"),
        ({"axes": "QQ"}, "--axes"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(movie, options, says):
    with pytest.raises(UsageError, match=says):
        open_stack(movie, **options)


def test_a_png_has_one_series(tmp_path):
    Pil.fromarray(MOVIE[0]).save(tmp_path / "a.png")
    assert open_stack(tmp_path / "a.png", series=0).image.axes == "yx"
    with pytest.raises(UsageError, match="--series 1"):
        open_stack(tmp_path / "a.png", series=1)


def test_the_identity_does_not_depend_on_what_is_selected(movie):
    assert open_stack(movie, frames=(1, 3)).identity == open_stack(movie).identity


def test_opening_a_sequence_reads_few_files(tmp_path, monkeypatch):
    folder = kinds(tmp_path)["pngs"]
    import fm2s_stack.stack.planes as planes

    decoded: list[Path] = []
    decode = planes._decode_image
    monkeypatch.setattr(planes, "_decode_image", lambda f, i: (decoded.append(f), decode(f, i))[1])
    stack = open_stack(folder)
    assert decoded == []
    stack.plane(4, 0, 0)
    assert folder / "f4.png" in decoded


@pytest.mark.parametrize("kind", ["pngs", "tiffs", "parts", "movie.zarr"])
def test_missing_inputs_are_named(tmp_path, kind):
    missing = tmp_path / kind
    with pytest.raises(StackNotFound, match=kind) as caught:
        open_stack(missing)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_folder_without_permission_is_one_clear_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StackError, match="Permission denied") as caught:
        open_stack(tmp_path)
    assert str(tmp_path) in str(caught.value)


def make_inputs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """By kind: what to open, and the file in it that may not be read."""
    paths = kinds(folder)
    tifffile.imwrite(folder / "movie.tif", MOVIE, photometric="minisblack")
    return {
        "movie.tif": (folder / "movie.tif",) * 2,
        "pngs": (paths["pngs"], folder / "pngs/f0.png"),
        "tiffs": (paths["tiffs"], folder / "tiffs/f10.tif"),
        "parts": (paths["parts"], folder / "parts/run_00002.tif"),
        "movie.zarr": (paths["movie.zarr"], folder / "movie.zarr/zarr.json"),
        "list.txt": (paths["list.txt"],) * 2,
    }


@pytest.mark.parametrize("kind", ["movie.tif", "pngs", "tiffs", "parts", "movie.zarr", "list.txt"])
def test_a_file_without_permission_is_named_with_the_reason(tmp_path, monkeypatch, kind):
    path, secret = make_inputs(tmp_path)[kind]
    really_open = io.open

    def refuse(file, *args, **kwargs):
        if os.fspath(file) == str(secret):  # root may read what its mode forbids
            raise PermissionError(13, "Permission denied", str(file))
        return really_open(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(StackError) as caught:
        open_stack(path, cache_dir=tmp_path / "cache")
    assert str(caught.value) == f"{secret}: cannot be read: Permission denied"
    assert isinstance(caught.value.__cause__, PermissionError)


def test_importing_the_folder_loads_no_heavy_library():
    code = (
        "import sys, fm2s_stack.stack; "
        "print([m for m in ('torch', 'zarr', 'tifffile', 'dask', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
