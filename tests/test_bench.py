"""`scripts/bench.py` measures what it says; no figure of it is held to a speed here."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fm2s_stack.memory import peak_memory

SCRIPTS = Path(__file__).parents[1] / "scripts"
PARTS = ("main", "limits", "others", "growth", "frame", "start")


@pytest.fixture
def terms(script):
    return script("bench_process").Terms("srdtrans", "cpu", 1, None, 3)


@pytest.fixture
def movie(script, tmp_path) -> Path:
    movies = script("bench_movies")
    block = movies.simulate(40, 4, 2)
    return movies.write_movie(tmp_path / "movie.tif", block, 10)


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "bench.py", *words]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=600, check=False
    )


def figures(found: object, name: str = "") -> list[tuple[str, float]]:
    """Every number of a document, with its place."""
    if isinstance(found, dict):
        return [f for key, value in found.items() for f in figures(value, f"{name}.{key}")]
    if isinstance(found, list):
        return [f for i, value in enumerate(found) for f in figures(value, f"{name}.{i}")]
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return [(name, found)] if is_number else []


def runs(document: dict) -> list[dict]:
    return [*document["main"]["rounds"], *document["growth"]["rows"]]


@pytest.mark.slow
def test_a_quick_run_measures_every_part(tmp_path, data):
    done = bench("--quick", "--markdown", "--data", data, "--json", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert set(PARTS) < set(document)
    for title in ("Disk to disk", "Limits", "Other methods", "Growth", "One network", "Start"):
        assert f"\n{title}" in done.stdout
    assert len(document["verdicts"]) >= 10
    assert all(verdict["value"] is not None for verdict in document["verdicts"])
    for name, figure in figures({part: document[part] for part in PARTS}):
        assert math.isfinite(figure), name
        # What was lost or changed may be nothing, or a gain.
        assert figure > 0 or name.endswith((".below", ".peak_change", "total_seconds")), name
    assert set(document["frame"]["images"]) == {"SRDTrans 1", "TwoPhoton_MICE_1"}
    assert document["others"]["skipped"] == ["authors' program: no --reference was given"]
    assert {row["name"] for row in document["others"]["rows"]} == {
        "noisy", "fm2s-stack", "median 3x3x3", "non-local means",
    }  # fmt: skip
    _agree(document)
    assert not list(tmp_path.glob("fm2s_bench_*"))


def _agree(document: dict) -> None:
    """Rates are frames over seconds, steps add up, memory is held."""
    for run in runs(document):
        assert run["frames"] / run["apply_seconds"] == pytest.approx(run["frames_per_second"])
        parts = ("start", "open", "fit", "apply", "seal")
        whole = sum(run[f"{part}_seconds"] for part in parts)
        assert whole == pytest.approx(run["total_seconds"])
        assert run["summary"]["apply_seconds"] == pytest.approx(run["apply_seconds"], abs=0.5)
        assert run["training_seconds"] <= run["fit_seconds"]
        assert run["peak_bytes"] <= run["projected_bytes"]
        assert run["output_bytes"] > run["frames"]
    for one in document["limits"]["rounds"]:
        for limit in (one["network"], one["copy"]):
            assert limit["frames"] / limit["seconds"] == pytest.approx(limit["frames_per_second"])
        slower = min(one[name]["frames_per_second"] for name in ("network", "copy"))
        assert one["ratio"] == pytest.approx(one["disk_frames_per_second"] / slower)
    lengths = [row["frames"] for row in document["growth"]["rows"]]
    assert lengths == sorted(document["amounts"]["frames"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--only", "main,speed"), "no part 'speed'"),
        (("--device", "cuda:99"), "--device cuda:99"),
        (("--device", "abacus"), "expected auto, cpu, cuda, cuda:N or cuda:N,M"),
        (("--preset", "brightfield"), "brightfield"),
        (("--frames", "many"), "'many' is not N,N,N"),
        (("--memory", "much"), "'much' is not a size"),
        (("--threads", "0"), "--threads 0"),
        (("--repeat", "0"), "--repeat"),
        (("--reference", "."), "no main.py and no configs.py"),
        (("--folder", "nowhere"), "there is no such folder"),
        (("--json", "nowhere/b.json"), "there is no such folder"),
    ],
)
def test_what_cannot_be_meant_is_one_line(script, capsys, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        script("bench").main(list(words))
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_too_small_a_disk_is_one_line(script, capsys, tmp_path):
    words = ["--quick", "--frames", f"{10**9}", "--folder", str(tmp_path)]
    assert script("bench").main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"GB are needed .* GB are free; give fewer --frames", line)
    assert list(tmp_path.iterdir()) == []


def test_a_movie_repeats_its_block(movie):
    with tifffile.TiffFile(movie) as tiff:
        pixels, axes = tiff.asarray(), tiff.series[0].axes
        assert tiff.is_bigtiff
    assert (pixels.shape, pixels.dtype, axes) == ((10, 40, 40), np.uint16, "TYX")
    assert np.array_equal(pixels[4:8], pixels[:4])
    assert np.array_equal(pixels[8:], pixels[:2])
    assert not np.array_equal(pixels[0], pixels[1])


def test_the_copy_is_the_movie(script, terms, movie, tmp_path):
    found = script("bench_limits").copy_limit(terms, str(movie), str(tmp_path / "copy.zarr"))
    assert found["frames"] == 10
    copied = zarr.open_array(tmp_path / "copy.zarr" / "s0", mode="r")[:]
    assert np.array_equal(copied, tifffile.imread(movie))


def test_the_network_is_run_over_every_frame_that_is_counted(script, terms, movie, monkeypatch):
    limits, calls = script("bench_limits"), []
    real = limits.apply_network

    def counted(weights, plane, core):
        calls.append(plane)
        return real(weights, plane, core)

    monkeypatch.setattr(limits, "apply_network", counted)
    found = limits.network_limit(terms, str(movie), 0.0, 7)
    assert found["frames"] == 7
    assert len(calls) == 8  # one before the clock starts
    assert all(plane.shape == (40, 40) for plane in calls)


def test_the_published_protocol_counts_its_timed_draws(script, terms, movie):
    found = script("bench_frame").published_protocol(terms, str(movie), 4)
    assert found["timed_draws"] == 3
    assert 0 < 3 * found["seconds_per_draw"] < found["seconds_timed"]
    assert found["seconds"] == pytest.approx(3 * found["seconds_per_draw"])  # three are wanted


def test_steps_of_a_run_are_told_apart(script, terms, movie, tmp_path):
    found = script("bench_run").disk_to_disk(terms, str(movie), str(tmp_path / "out.zarr"))
    assert found["frames"] == 10
    assert found["device_bytes"] is None
    assert found["peak_bytes"] <= peak_memory()
    assert 0 < found["training_seconds"] <= found["fit_seconds"]
    stored = sum(f.stat().st_size for f in (tmp_path / "out.zarr").rglob("*") if f.is_file())
    assert found["output_bytes"] == stored


def test_tasks_run_in_processes_of_their_own(script, terms):
    process, machine = script("bench_process"), script("bench_start").machine
    found = process.run_apart(machine, terms)
    assert (found["device"], found["threads"], found["gpu"]) == ("cpu", 1, None)
    with pytest.raises(process.TaskFailed, match=r"machine: .*missing"):
        process.run_apart(machine, terms, missing=1)


def test_the_authors_program_is_called_as_its_readme_says(script, terms, movie, tmp_path):
    program = tmp_path / "program"
    program.mkdir()
    (program / "configs.py").touch()
    (program / "main.py").write_text(
        "import shutil, sys\n"
        "assert sys.argv[1::2] == ['-i', '-o'], sys.argv\n"
        "shutil.copy(sys.argv[2], sys.argv[4])\n"
    )
    np.save(tmp_path / "truth.npy", tifffile.imread(movie)[:1].astype(np.float32))
    others = script("bench_others")
    assert others.require_reference(program) == program
    given = (str(program), str(movie), str(tmp_path / "truth.npy"))
    row = others.reference(terms, *given)
    assert row["si_psnr"] > 40  # the input came back, as 8 bits
    (program / "main.py").write_text("raise SystemExit('no module named cv2')\n")
    with pytest.raises(script("bench_process").TaskFailed, match="no module named cv2"):
        others.reference(terms, *given)


def test_the_protocol_is_timed_even_if_it_tells_of_its_draws_only_once(script):
    per_draw = script("bench_frame").seconds_per_draw
    assert per_draw([(1.0, 1), (2.0, 2), (4.0, 4)], 0.0, 9.0) == (6, 0.5)
    assert per_draw([(8.0, 4)], 1.0, 9.0) == (4, 2.0)
