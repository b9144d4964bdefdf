"""`fm2s-stack evaluate` on files: the table, the JSON, what it uses and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from cli_tools import only_line
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fm2s_stack.metrics import against_truth, discs, find_events, ssim
from fm2s_stack.report.evaluation import evaluate
from fm2s_stack.report.evaluation.recordings import Recordings, open_recordings
from fm2s_stack.report.evaluation.rows import _KINDS
from fm2s_stack.simulate import Simulation, write_simulation

FRAMES, ROWS, COLUMNS = 240, 72, 80
SETTINGS = Simulation(frames=FRAMES, height=ROWS, width=COLUMNS, seed=3, cell_density=0.003)


def save(path: Path, pixels: NDArray, axes: str = "TYX") -> Path:
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes}, ome=True)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with movie.tif, what stands beside it, and blurred.tif: a Gaussian in time."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_simulation(folder / "movie.tif", SETTINGS)
    for file in folder.glob("*_regions.tif"):
        file.unlink()
    raw = tifffile.imread(folder / "movie.tif").astype(float)
    blurred = np.rint(gaussian_filter(raw, (4, 0, 0))).astype(np.uint16)
    save(folder / "blurred.tif", blurred)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which a test may change, as the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*more: object) -> tuple[object, ...]:
    return ("evaluate", "blurred.tif", "--truth", "movie_truth.tif", "--quiet", *more)


def numbers(call, *more: object) -> dict:
    return json.loads(call(*words("--json", *more)).out)


def test_a_gaussian_in_time_shows_what_it_does_to_events_and_the_raw_movie_shows_none(
    call, folder
) -> None:
    columns = numbers(call, "--noisy", "movie.tif")["columns"]
    raw, blurred = columns["noisy"], columns["result"]
    assert blurred["si_psnr_db"] > raw["si_psnr_db"] + 3
    assert blurred["event_peak_percent"] < 85
    assert blurred["leakage_percent"] > 8
    errors = {what: raw["measures"]["cells"][what]["error"] for what in ("peak", "slope")}
    assert raw["event_peak_percent"] == pytest.approx(100, abs=400 * errors["peak"])
    assert raw["event_slope_percent"] == pytest.approx(100, abs=400 * errors["slope"])
    leakage = raw["measures"]["cells"]["leakage"]["mean"]
    assert leakage["value"] == pytest.approx(0, abs=4 * leakage["error"])
    assert abs(raw["bias_light_percent"]) < 0.3
    assert blurred["flicker"] < raw["flicker"]
    assert blurred["first_frame_db"] < -1


def test_the_numbers_are_those_of_the_movies_in_memory(folder) -> None:
    found = evaluate("blurred.tif", "movie_truth.tif", "movie.tif").columns["result"]
    result, truth = (tifffile.imread(name) for name in ("blurred.tif", "movie_truth.tif"))
    cells = np.genfromtxt("movie_cells.csv", delimiter=",", names=True)
    labels = discs(cells["y_px"], cells["x_px"], cells["radius_px"], (ROWS, COLUMNS))
    traces = np.genfromtxt("movie_traces.csv", delimiter=",", skip_header=1)[:, 2:]
    ids = np.unique(labels[labels > 0])
    events = find_events(traces[:, ids - 1])
    expected = against_truth(result, truth, labels, events=events)
    assert found.measures.si_psnr == pytest.approx(expected.si_psnr)
    assert found.measures.pixel_correlation == pytest.approx(expected.pixel_correlation)
    assert found.measures.cells == expected.cells
    assert found.measures.bias.overall(200) == pytest.approx(expected.bias.overall(200))
    planes = np.linspace(0, FRAMES - 1, 64).astype(int)
    similar = [ssim(result[i], truth[i], np.ptp(truth)) for i in planes]
    assert found.ssim == pytest.approx(np.mean(similar))


def test_small_blocks_measure_what_large_ones_do(folder, monkeypatch) -> None:
    large = evaluate("blurred.tif", "movie_truth.tif", "movie.tif")
    monkeypatch.setattr(Recordings, "blocks", lambda self: ((i, i + 1) for i in range(FRAMES)))
    small = evaluate("blurred.tif", "movie_truth.tif", "movie.tif")
    one, other = small.columns["result"].measures, large.columns["result"].measures
    assert (one.si_psnr, one.cells, one.ends) == (other.si_psnr, other.cells, other.ends)


def test_blocks_cover_every_frame_once_and_hold_little(folder) -> None:
    opened = open_recordings({"truth": "movie_truth.tif", "result": "blurred.tif"})
    covered = [frame for block in opened.blocks() for frame in range(*block)]
    assert covered == list(range(FRAMES))
    steps = {stop - start for start, stop in opened.blocks()}
    assert max(steps) * ROWS * COLUMNS * 8 <= 2**26


def test_the_table_has_every_row_with_its_unit_and_which_way_is_better(call, folder) -> None:
    call(*words("--noisy", "movie.tif", "--against", "movie.tif", "--saturated", "900"))
    table = call.out
    for kind in _KINDS:
        assert f"{kind.text}, {kind.unit}" in table or f"{kind.text} " in table, kind.text
    head = next(line for line in table.splitlines() if line.endswith("better"))
    assert head.split() == ["noisy", "result", "movie.tif", "better"]
    (row,) = [line for line in table.splitlines() if line.startswith("SI-PSNR, one match")]
    first, _, third = (float(word) for word in row.split()[-4:-1])
    assert first == third
    assert row.endswith("higher")
    assert "where the truth is" in table
    assert table.splitlines()[-1].startswith("Trust: ")
    assert "discs at the cells of movie_cells.csv beside the truth" in table
    assert "movie_traces.csv beside the truth" in table
    assert call.err == ""


def test_every_number_of_the_table_is_in_the_json(call, folder) -> None:
    found = numbers(call, "--noisy", "movie.tif", "--saturated", "900")
    for column in found["columns"].values():
        assert {kind.key for kind in _KINDS} <= set(column)
    assert found["dark"] == 200
    assert found["trust_line"].startswith("Trust: ")
    assert found["trust"]["noise"]["raw"] > found["trust"]["noise"]["result"]
    assert found["shape"] == [FRAMES, 1, ROWS, COLUMNS]


def test_without_the_noisy_movie_it_is_said_and_the_rest_is_measured(call, folder) -> None:
    found = numbers(call)
    assert list(found["columns"]) == ["result"]
    assert found["trust"] is None
    assert "--noisy" in " ".join(found["notes"])
    assert found["columns"]["result"]["event_peak_percent"] < 85


def test_regions_that_are_given_or_stand_beside_the_truth_are_used(call, folder) -> None:
    labels = np.zeros((ROWS, COLUMNS), dtype=np.uint16)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 2
    save(folder / "mine.tif", labels, "YX")
    assert numbers(call, "--regions", "mine.tif")["regions"] == 2
    (folder / "mine.tif").rename("movie_regions.tif")
    found = numbers(call)
    assert found["regions"] == 2
    assert "movie_regions.tif beside the truth" in " ".join(found["notes"])


def test_without_any_file_beside_regions_are_found_and_it_is_said(call, folder) -> None:
    (folder / "movie_cells.csv").unlink()
    (folder / "movie_traces.csv").unlink()
    found = numbers(call)
    assert found["regions"] > 2
    assert "found where the truth changes most" in " ".join(found["notes"])
    assert found["columns"]["result"]["event_peak_percent"] < 90


def test_traces_that_do_not_fit_are_left_out_beside_and_refused_when_given(call, folder) -> None:
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
    call, folder, option, file, content, code, met
) -> None:
    if content is not None:
        Path(file).write_text(content)
    call(*words(option, file), code=code)
    assert met in only_line(call.err)


def test_labels_that_are_not_whole_numbers_are_refused(call, folder) -> None:
    save(folder / "float.tif", np.ones((ROWS, COLUMNS), dtype=np.float32), "YX")
    call(*words("--regions", "float.tif"), code=2)
    assert "float.tif: pixels are float32" in only_line(call.err)
    save(folder / "empty.tif", np.zeros((ROWS, COLUMNS), dtype=np.uint8), "YX")
    call(*words("--regions", "empty.tif"), code=2)
    assert "empty.tif: no pixel is labelled" in only_line(call.err)


@pytest.mark.parametrize("option", ["--truth", "--noisy", "--against"])
def test_recordings_of_other_shapes_are_refused_with_both(call, folder, option) -> None:
    save(folder / "short.tif", np.zeros((7, ROWS, COLUMNS), dtype=np.uint16))
    more = {"--truth": ("--truth", "short.tif")}.get(option, (option, "short.tif"))
    call(*words(*more), code=2)
    line = only_line(call.err)
    assert f"{FRAMES} frames of 1 slices of {ROWS}x{COLUMNS} pixels" in line
    assert f"7 frames of 1 slices of {ROWS}x{COLUMNS} pixels" in line


def test_the_truth_is_required(call, folder) -> None:
    call("evaluate", "blurred.tif", code=2)
    assert "--truth" in only_line(call.err)


def test_a_frame_that_is_not_a_number_is_named(call, folder) -> None:
    result = tifffile.imread("blurred.tif").astype(np.float32)
    result[17, 3, 4] = np.nan
    save(folder / "blurred.tif", result)
    call(*words(), code=1)
    assert "frame 17" in only_line(call.err)


def test_an_output_that_was_left_incomplete_is_refused(call, folder) -> None:
    call.denoise("movie.tif", "out.zarr", "--frames", "0:8", "--prepare")
    call("evaluate", "out.zarr", "--truth", "movie_truth.tif", "--quiet", code=1)
    assert "out.zarr is an output that was left incomplete" in only_line(call.err)


def test_one_channel_of_several_is_chosen(call, folder) -> None:
    blurred, raw = tifffile.imread("blurred.tif"), tifffile.imread("movie.tif")
    save(folder / "both.tif", np.stack([raw, blurred], axis=1), "TCYX")
    alone = numbers(call)["columns"]["result"]
    both = ("evaluate", "both.tif", "--truth", "movie_truth.tif", "--quiet")
    call(*both, code=2)
    assert "choose one with --channel" in only_line(call.err)
    found = json.loads(call(*both, "--json", "--channel", "1").out)["columns"]["result"]
    assert found["si_psnr_db"] == pytest.approx(alone["si_psnr_db"])


def test_an_ome_zarr_measures_as_the_tiff_does(call, folder) -> None:
    pixels = tifffile.imread("blurred.tif")
    shape = evaluate("blurred.tif", "movie_truth.tif").columns["result"]
    group = zarr.open_group("image.zarr", mode="w")
    group.create_array("s0", shape=pixels.shape, chunks=(8, 32, 32), dtype="u2")[...] = pixels
    axes = [{"name": "t", "type": "time"}] + [{"name": a, "type": "space"} for a in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    levels = [{"path": "s0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    found = evaluate("image.zarr", "movie_truth.tif").columns["result"]
    assert found.measures.si_psnr == shape.measures.si_psnr
    assert found.measures.cells == shape.measures.cells


@pytest.mark.parametrize(
    ("axes", "part", "said"),
    [
        ("YX", lambda movie: movie[0], "there are no frames"),
        ("ZYX", lambda movie: movie[:9], "there are no frames"),
        ("TZYX", lambda movie: movie[:40].reshape(20, 2, ROWS, COLUMNS), "single planes"),
    ],
)
def test_images_and_stacks_are_measured_as_far_as_they_go(call, folder, axes, part, said) -> None:
    for name in ("movie.tif", "movie_truth.tif", "blurred.tif"):
        save(folder / name, part(tifffile.imread(name)), axes)
    found = numbers(call, "--noisy", "movie.tif", "--dark", "200")
    result = found["columns"]["result"]
    assert result["si_psnr_db"] > 10
    assert 0 < result["ssim"] < 1
    assert abs(result["bias_light_percent"]) < 5
    assert said in " ".join(found["notes"])
    assert found["trust"] is None
    assert "event_peak_percent" not in result
    assert ("pixel_correlation" in result) == (axes == "TZYX")
    call(*words("--noisy", "movie.tif"))
    assert "left out" in call.out


def test_a_simulation_tells_darkness_and_other_movies_are_asked_for_it(call, folder) -> None:
    truth = tifffile.imread("movie_truth.tif")
    told = numbers(call)["columns"]["result"]["bias_light_percent"]
    save(folder / "movie_truth.tif", truth)
    found = numbers(call)
    assert found["dark"] is None
    assert "bias_light_percent" not in found["columns"]["result"]
    assert "--dark" in " ".join(found["notes"])
    given = numbers(call, "--dark", "200")["columns"]["result"]["bias_light_percent"]
    assert given == pytest.approx(told)


def test_where_the_detector_saturates_the_truth_counts_as_clipped(call, folder) -> None:
    raw, truth = tifffile.imread("movie.tif"), tifffile.imread("movie_truth.tif")
    level = int(np.quantile(truth, 0.999))
    save(folder / "movie.tif", np.minimum(raw, level))
    save(folder / "blurred.tif", np.minimum(truth, level).astype(np.float32))
    result = numbers(call, "--noisy", "movie.tif", "--saturated", level)["columns"]["result"]
    assert result["bias_level_largest_percent"] == pytest.approx(0, abs=1e-6)
    kept = result["measures"]["saturation"]
    assert kept["pixels"] == (raw >= level).sum()
    at = np.minimum(truth, level)[raw >= level] >= level - 0.5
    assert kept["kept"] == at.sum()
