"""`scripts/quality.py`: the filters that it compares with, its recordings."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import frame_si_psnr, movie_si_psnr, trace_correlation
from fm2s_stack.simulate import Simulation, write_simulation

QUALITY = Path(__file__).parents[1] / "scripts" / "quality.py"
TIMES, SPACES = (0, 0.5, 1, 2.5), (0, 0.6, 1, 3)


def quality(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, QUALITY, *words]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=600, check=False
    )


def refused(script, capsys, *words: object) -> str:
    """The one line that is said of words that cannot be meant."""
    with pytest.raises(SystemExit) as stopped:
        script("quality").main([str(word) for word in words])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A noisy movie that is neither square nor still, and its truth."""
    rng = np.random.default_rng(5)
    truth = gaussian_filter(rng.normal(size=(14, 20, 31)), (2, 1.5, 1.5)) * 400 + 1000
    return np.rint(truth + rng.normal(0, 40, truth.shape)).astype(np.uint16), truth


@pytest.fixture
def folder(tmp_path) -> Path:
    """A movie of 12 frames of 32 x 32 pixels with its truth, and nothing else of it."""
    made = tmp_path / "movies"
    files = write_simulation(
        made / "night.tif", Simulation(frames=12, height=32, width=32, cell_density=0.004, seed=71)
    )
    for aside in (files.traces, files.cells, files.regions, files.motion):
        aside.unlink()
    return made


def brute_force(noisy, truth, score) -> dict[tuple[float, float], float]:
    levels = noisy.astype(float)
    return {
        (t, s): score(gaussian_filter(levels, (t, s, s), mode="reflect"), truth)
        for t in TIMES
        for s in SPACES
    }


def test_the_best_gaussian_is_the_one_that_trying_all_finds(script, pair):
    tried = brute_force(*pair, movie_si_psnr)
    best = script("quality_gaussian").best_movie_gaussian(*pair, TIMES, SPACES)
    assert (best.time, best.space) == max(tried, key=tried.__getitem__)
    assert best.reached == pytest.approx(max(tried.values()), abs=1e-3)
    assert best.time > 0
    assert best.space > 0
    assert movie_si_psnr(best(pair[0]), pair[1]) == pytest.approx(best.reached, abs=1e-3)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("space", SPACES)
def test_every_gaussian_of_the_grid_is_judged_as_if_it_were_applied(script, pair, time, space):
    found = script("quality_gaussian").best_movie_gaussian(*pair, (time,), (space,))
    filtered = gaussian_filter(pair[0].astype(float), (time, space, space), mode="reflect")
    assert found.reached == pytest.approx(movie_si_psnr(filtered, pair[1]), abs=1e-3)


def test_the_best_gaussian_of_planes_is_the_one_that_trying_all_finds(script, pair):
    tried = brute_force(*pair, frame_si_psnr)
    in_planes = {s: reached for (t, s), reached in tried.items() if t == 0}
    best = script("quality_gaussian").best_plane_gaussian(*pair, SPACES)
    assert (best.time, best.space) == (0, max(in_planes, key=in_planes.__getitem__))
    assert best.reached == pytest.approx(max(in_planes.values()), abs=1e-3)


def test_the_best_gaussian_for_traces_is_the_one_that_trying_all_finds(script, pair):
    tried = brute_force(*pair, trace_correlation)
    best = script("quality_gaussian").best_trace_gaussian(*pair, TIMES, SPACES)
    assert (best.time, best.space) == max(tried, key=tried.__getitem__)
    assert best.reached == pytest.approx(max(tried.values()), abs=1e-5)


def test_movies_of_a_folder_are_found_with_their_truth(script, folder):
    (found,) = script("quality_recordings").in_folder(folder)
    assert (found.name, found.source) == ("movies/night", "folder")
    assert found.truth.name == "night_truth.tif"
    assert found.kind == "movie"
    assert np.array_equal(found.frames.noisy, tifffile.imread(folder / "night.tif"))
    assert found.frames.labels.any()  # found where the truth changes


def test_regions_beside_a_movie_are_used(script, folder):
    labels = np.zeros((32, 32), np.uint16)
    labels[4:9, 5:11], labels[20:25, 20:25] = 1, 2
    tifffile.imwrite(folder / "night_regions.tif", labels)
    (found,) = script("quality_recordings").in_folder(folder)
    assert np.array_equal(found.frames.labels, labels)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "night_truth.tif").unlink(), "no night_truth.tif beside it"),
        (
            lambda folder: tifffile.imwrite(
                folder / "night_truth.tif", np.ones((12, 30, 32), np.float32),
                metadata={"axes": "TYX"}, ome=True,
            ),
            "12 x 1 x 1 x 30 x 32",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no movies there"),
        (lambda folder: (folder / "night_truth.tif").write_text("no"), "night_truth.tif"),
    ],
    ids=["no truth", "other shape", "empty", "no image"],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_is_said_in_one_line(script, folder, capsys, spoil, said):
    spoil(folder)
    assert said in refused(script, capsys, "--folder", folder, "--only", "movies/")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "magic"), "no method 'magic'; there are raw,"),
        (("--only", "moon"), "--only moon: no recording; there are sim/photons-25-correlated,"),
        (("--folder", "nowhere"), "there is no such folder"),
        (("--program", "mine"), "expected KEY=OPTIONS"),
        (("--json", "nowhere/a.json"), "there is no such folder"),
    ],
)
def test_an_option_that_cannot_be_meant_is_said_in_one_line(script, capsys, words, said):
    assert said in refused(script, capsys, "--quick", *words)


@pytest.mark.slow
def test_a_preset_is_measured_from_file_to_file(script, folder, tmp_path):
    told, tables = tmp_path / "q.json", tmp_path / "q.md"
    words = ("--folder", folder, "--only", "movies/", "--steps", 3, "--cache", tmp_path / "kept")
    keys = ("raw", "gauss3d", "srdtrans", "odd")
    words += ("--methods", ",".join(keys), "--program", "odd=-c srdtrans --no-such-option")
    done = quality(*words, "--json", told, "--markdown", tables)
    assert done.returncode == 0, done.stderr
    assert "n/a: odd: No such option" in done.stdout
    document = json.loads(told.read_text("utf-8"))
    (one,) = document["recordings"]
    assert tuple(one["figures"]) == keys
    truth, noisy = (tifffile.imread(folder / name) for name in ("night_truth.tif", "night.tif"))
    assert one["figures"]["raw"]["si_psnr"] == pytest.approx(movie_si_psnr(noisy, truth))
    assert one["figures"]["srdtrans"]["si_psnr"] != one["figures"]["raw"]["si_psnr"]
    assert one["figures"]["srdtrans"]["fit_seconds"] > 0
    assert one["figures"]["gauss3d"]["si_psnr"] > one["figures"]["raw"]["si_psnr"]
    head, rule, *rows = [line for line in tables.read_text("utf-8").split("\n") if "|" in line]
    assert len({line.count("|") for line in (head, rule, *rows[:3])}) == 1
    again = quality(*words)
    assert "srdtrans (kept)" in again.stdout


def test_recordings_have_seeds_of_their_own(script):
    recordings = script("quality_recordings").SIMULATED
    seeds = [settings.seed for settings in recordings.values()]
    assert len(set(seeds)) == len(seeds) >= 8
    assert min(seeds) > 10_000
    assert {settings.photons for settings in recordings.values()} >= {3, 200}
    assert sum(settings.slices > 1 for settings in recordings.values()) == 1


def test_figures_are_kept_until_what_they_follow_from_changes(script, tmp_path):
    figures, kept = script("quality_measures").Figures, script("quality_cache").Kept(tmp_path)
    made = figures(si_psnr=30.5, note="t 2")
    assert kept.figures("movie", "filter", make=lambda: made) == (made, False)
    assert kept.figures("movie", "filter", make=lambda: figures()) == (made, True)
    other = figures(si_psnr=1.0)
    assert kept.figures("movie", "another", make=lambda: other) == (other, False)
    assert replace(kept, fresh=True).figures("movie", "filter", make=lambda: other)[0] == other


def test_a_program_takes_the_place_of_a_method_of_its_key(script):
    known = script("quality_methods").methods(["neighbours=-c my.toml --seed 4"], steps=9)
    words = known["neighbours"].run.keywords["words"]
    assert words == ("-c", "my.toml", "--seed", "4", "--steps", "9")
    assert known["neighbours"].title == "auto, neighbours"
    with pytest.raises(UsageError, match="KEY=OPTIONS"):
        script("quality_methods").methods(["=x"])
