"""What `fm2s-stack evaluate` refuses: one line that names it, and the exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_tools import only_line
from evaluate_tools import COLUMNS, FRAMES, ROWS, numbers, save, words


def test_traces_that_do_not_fit_are_left_out_beside_and_refused_when_given(call, evaluated) -> None:
    lines = Path("movie_traces.csv").read_text().splitlines()
    Path("movie_traces.csv").write_text("\n".join(lines[:50]))
    assert "is left out" in " ".join(numbers(call)["notes"])
    call(*words("--traces", "movie_traces.csv"), code=2)
    line = only_line(call.err)
    assert "movie_traces.csv" in line
    assert "of 49 frames" in line
    assert f"of {FRAMES}" in line


@pytest.mark.parametrize(
    ("option", "file", "content", "code", "met"),
    [
        ("--traces", "bad.csv", "frame,time_s,cell_0\n0,0,hello\n", 1, "bad.csv"),
        ("--traces", "gone.csv", None, 1, "gone.csv: No such file"),
        ("--traces", "bad.csv", "frame,cell_0\n0,0,1\n", 1, "2 names above 3 columns"),
        ("--regions", "gone.tif", None, 1, "gone.tif"),
        ("--regions", "movie.tif", None, 2, f"expected one label image of {ROWS}x{COLUMNS}"),
        ("--against", "gone.tif", None, 1, "gone.tif"),
        ("--noisy", "gone.tif", None, 1, "gone.tif"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(
    call, evaluated, option, file, content, code, met
) -> None:
    if content is not None:
        Path(file).write_text(content)
    call(*words(option, file), code=code)
    assert met in only_line(call.err)


def test_labels_that_are_not_whole_numbers_are_refused(call, evaluated) -> None:
    save(evaluated / "float.tif", np.ones((ROWS, COLUMNS), dtype=np.float32), "YX")
    call(*words("--regions", "float.tif"), code=2)
    assert "float.tif: pixels are float32" in only_line(call.err)
    save(evaluated / "empty.tif", np.zeros((ROWS, COLUMNS), dtype=np.uint8), "YX")
    call(*words("--regions", "empty.tif"), code=2)
    assert "empty.tif: no pixel is labelled" in only_line(call.err)


@pytest.mark.parametrize("option", ["--truth", "--noisy", "--against"])
def test_recordings_of_other_shapes_are_refused_with_both(call, evaluated, option) -> None:
    save(evaluated / "short.tif", np.zeros((7, ROWS, COLUMNS), dtype=np.uint16))
    more = {"--truth": ("--truth", "short.tif")}.get(option, (option, "short.tif"))
    call(*words(*more), code=2)
    line = only_line(call.err)
    assert f"{FRAMES} frames of 1 slices of {ROWS}x{COLUMNS} pixels" in line
    assert f"7 frames of 1 slices of {ROWS}x{COLUMNS} pixels" in line


def test_a_truth_without_structure_is_refused_by_name(call, evaluated) -> None:
    save(evaluated / "movie_truth.tif", np.full((FRAMES, ROWS, COLUMNS), 7, dtype=np.uint16))
    call(*words(), code=2)
    assert "movie_truth.tif: every pixel looked at is 7" in only_line(call.err)


def test_the_truth_is_required(call, evaluated) -> None:
    call("evaluate", "blurred.tif", code=2)
    assert "--truth" in only_line(call.err)


def test_a_frame_that_is_not_a_number_is_named(call, evaluated) -> None:
    result = tifffile.imread("blurred.tif").astype(np.float32)
    result[17, 3, 4] = np.nan
    save(evaluated / "blurred.tif", result)
    call(*words(), code=1)
    assert "frame 17" in only_line(call.err)


def test_an_output_that_was_left_incomplete_is_refused(call, evaluated) -> None:
    call.denoise("movie.tif", "out.zarr", "--frames", "0:8", "--prepare")
    call("evaluate", "out.zarr", "--truth", "movie_truth.tif", "--quiet", code=1)
    assert "out.zarr is an output that was left incomplete" in only_line(call.err)
