"""`fm2s-stack evaluate` on files: the table, the JSON, what it uses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr
from cli_tools import only_line
from evaluate_tools import COLUMNS, FRAMES, ROWS, numbers, save, words

from fm2s_stack.metrics import against_truth, discs, find_events, ssim
from fm2s_stack.report.evaluation import evaluate
from fm2s_stack.report.evaluation.recordings import Recordings, open_recordings
from fm2s_stack.report.evaluation.rows import _KINDS


def test_a_gaussian_in_time_shows_what_it_does_to_events_and_the_raw_movie_shows_none(
    call, evaluated
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


def test_the_numbers_are_those_of_the_movies_in_memory(evaluated) -> None:
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


def test_small_blocks_measure_what_large_ones_do(evaluated, monkeypatch) -> None:
    large = evaluate("blurred.tif", "movie_truth.tif", "movie.tif")
    monkeypatch.setattr(Recordings, "blocks", lambda self: ((i, i + 1) for i in range(FRAMES)))
    small = evaluate("blurred.tif", "movie_truth.tif", "movie.tif")
    one, other = small.columns["result"].measures, large.columns["result"].measures
    assert (one.si_psnr, one.cells, one.ends) == (other.si_psnr, other.cells, other.ends)


def test_blocks_cover_every_frame_once_and_hold_little(evaluated) -> None:
    opened = open_recordings({"truth": "movie_truth.tif", "result": "blurred.tif"})
    covered = [frame for block in opened.blocks() for frame in range(*block)]
    assert covered == list(range(FRAMES))
    steps = {stop - start for start, stop in opened.blocks()}
    assert max(steps) * ROWS * COLUMNS * 8 <= 2**26


def test_the_table_has_every_row_with_its_unit_and_which_way_is_better(call, evaluated) -> None:
    call(*words("--noisy", "movie.tif", "--against", "movie.tif", "--saturated", "700"))
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


def test_every_number_of_the_table_is_in_the_json(call, evaluated) -> None:
    found = numbers(call, "--noisy", "movie.tif", "--saturated", "700")
    for column in found["columns"].values():
        assert {kind.key for kind in _KINDS} <= set(column)
    assert found["dark"] == 200
    assert found["trust_line"].startswith("Trust: ")
    assert found["trust"]["noise"]["raw"] > found["trust"]["noise"]["result"]
    assert found["shape"] == [FRAMES, 1, ROWS, COLUMNS]


def test_without_the_noisy_movie_it_is_said_and_the_rest_is_measured(call, evaluated) -> None:
    found = numbers(call)
    assert list(found["columns"]) == ["result"]
    assert found["trust"] is None
    assert "--noisy" in " ".join(found["notes"])
    assert found["columns"]["result"]["event_peak_percent"] < 85


def test_regions_that_are_given_or_stand_beside_the_truth_are_used(call, evaluated) -> None:
    labels = np.zeros((ROWS, COLUMNS), dtype=np.uint16)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 2
    save(evaluated / "mine.tif", labels, "YX")
    assert numbers(call, "--regions", "mine.tif")["regions"] == 2
    (evaluated / "mine.tif").rename("movie_regions.tif")
    found = numbers(call)
    assert found["regions"] == 2
    assert "movie_regions.tif beside the truth" in " ".join(found["notes"])


def test_without_any_file_beside_regions_are_found_and_it_is_said(call, evaluated) -> None:
    (evaluated / "movie_cells.csv").unlink()
    (evaluated / "movie_traces.csv").unlink()
    found = numbers(call)
    assert found["regions"] > 2
    assert "found where the truth changes most" in " ".join(found["notes"])
    assert found["columns"]["result"]["event_peak_percent"] < 90


@pytest.mark.parametrize("shape", [(2, 1, 3), (3, 5, 5), (30, 6, 7), (30, 3, 40), (2, 8, 8)])
def test_the_smallest_movies_are_measured_as_far_as_they_go(call, tmp_path, shape) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 1000, shape).astype(np.uint16)
    save(tmp_path / "truth.tif", truth)
    save(tmp_path / "out.tif", truth // 2)
    told = ("--noisy", tmp_path / "truth.tif", "--quiet", "--json")
    call("evaluate", tmp_path / "out.tif", "--truth", tmp_path / "truth.tif", *told)
    result = json.loads(call.out)["columns"]["result"]
    assert result["si_psnr_db"] > 40
    assert result["bias_level_percent"] == pytest.approx(-50, abs=1)


def test_one_channel_of_several_is_chosen(call, evaluated) -> None:
    blurred, raw = tifffile.imread("blurred.tif"), tifffile.imread("movie.tif")
    save(evaluated / "both.tif", np.stack([raw, blurred], axis=1), "TCYX")
    alone = numbers(call)["columns"]["result"]
    both = ("evaluate", "both.tif", "--truth", "movie_truth.tif", "--quiet")
    call(*both, code=2)
    assert "choose one with --channel" in only_line(call.err)
    found = json.loads(call(*both, "--json", "--channel", "1").out)["columns"]["result"]
    assert found["si_psnr_db"] == pytest.approx(alone["si_psnr_db"])


def test_an_ome_zarr_measures_as_the_tiff_does(call, evaluated) -> None:
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
def test_images_and_stacks_are_measured_as_far_as_they_go(
    call, evaluated, axes, part, said
) -> None:
    for name in ("movie.tif", "movie_truth.tif", "blurred.tif"):
        save(evaluated / name, part(tifffile.imread(name)), axes)
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


def test_a_simulation_tells_darkness_and_other_movies_are_asked_for_it(call, evaluated) -> None:
    truth = tifffile.imread("movie_truth.tif")
    told = numbers(call)["columns"]["result"]["bias_light_percent"]
    save(evaluated / "movie_truth.tif", truth)
    found = numbers(call)
    assert found["dark"] is None
    assert "bias_light_percent" not in found["columns"]["result"]
    assert "--dark" in " ".join(found["notes"])
    given = numbers(call, "--dark", "200")["columns"]["result"]["bias_light_percent"]
    assert given == pytest.approx(told)


def test_where_the_detector_saturates_the_truth_counts_as_clipped(call, evaluated) -> None:
    raw, truth = tifffile.imread("movie.tif"), tifffile.imread("movie_truth.tif")
    level = int(np.quantile(truth, 0.999))
    save(evaluated / "movie.tif", np.minimum(raw, level))
    save(evaluated / "blurred.tif", np.minimum(truth, level).astype(np.float32))
    result = numbers(call, "--noisy", "movie.tif", "--saturated", level)["columns"]["result"]
    assert result["bias_level_largest_percent"] == pytest.approx(0, abs=1e-6)
    kept = result["measures"]["saturation"]
    assert kept["pixels"] == (raw >= level).sum()
    at = np.minimum(truth, level)[raw >= level] >= level - 0.5
    assert kept["kept"] == at.sum()
    light = result["measures"]["true_saturation"]
    assert light["pixels"] == light["kept"] == ((raw >= level) & (truth >= level)).sum() > 0
