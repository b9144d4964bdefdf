"""Many recordings: which there are, which outputs they get, and that one failing keeps none."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import HERE, QUICK, attributes, level, only_line, recording
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.batch.recordings import Recording, find_recordings, run_batch, share_of
from fm2s_stack.errors import StackNotFound, StoppedEarly, UsageError

TRAIN = ("-c", "srdtrans", *QUICK, *HERE)


@pytest.fixture
def movies(tmp_path):
    """Three small recordings; the names are not in alphabetical order."""
    folder = tmp_path / "movies"
    folder.mkdir()
    for number, frames in ((2, 4), (10, 5), (1, 3)):
        recording(folder / f"m{number}.tif", (frames, 32, 32))
    return folder


def damage(file):
    file.write_bytes(file.read_bytes()[:-500])


def names(found):
    return [(Path(r.source).name, r.output.name) for r in found]


def test_a_glob_a_folder_and_a_list_name_the_same_recordings(movies, tmp_path):
    (movies / "notes.txt").write_text("of the day")
    (movies / ".hidden.tif").write_text("")
    listed = tmp_path / "list.txt"
    listed.write_text("# a comment\nmovies/m1.tif\n\nmovies/m2.tif\nmovies/m10.tif\n")
    expected = [("m1.tif", "m1.zarr"), ("m2.tif", "m2.zarr"), ("m10.tif", "m10.zarr")]
    for given_ in (movies / "*.tif", movies, listed):
        assert names(find_recordings(str(given_), tmp_path / "out")) == expected


def test_a_list_keeps_its_order(movies, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("movies/m10.tif\nmovies/m1.tif\n")
    assert [name for name, _ in names(find_recordings(str(listed), "out"))] == ["m10.tif", "m1.tif"]


@pytest.mark.parametrize(
    ("name", "output"),
    [("a.ome.tif", "a.png"), ("a.b.TIFF", "a.b.png"), ("v1.2.btf", "v1.2.png"), ("x.PNG", "x.png")],
)
def test_outputs_are_named_without_what_tells_the_format(tmp_path, name, output):
    (tmp_path / name).touch()
    found = find_recordings(str(tmp_path), tmp_path / "out", ".png")
    assert names(found) == [(name, output)]


def test_zarr_folders_are_recordings_and_other_folders_are_not(tmp_path):
    for name in ("a.ome.zarr", "b.zarr"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "zarr.json").write_text("{}")
    (tmp_path / "in" / "plain").mkdir()
    found = find_recordings(str(tmp_path / "in"), tmp_path / "out")
    assert names(found) == [("a.ome.zarr", "a.zarr"), ("b.zarr", "b.zarr")]


@pytest.mark.parametrize("other", ["m1.ome.tif", "M1.tif", "m1.png"])
def test_two_inputs_with_one_output_are_refused(movies, tmp_path, other):
    (movies / other).touch()
    with pytest.raises(UsageError, match="would both become") as caught:
        find_recordings(str(movies), tmp_path / "out")
    assert other in str(caught.value)
    assert "m1.tif" in str(caught.value)


def test_outputs_that_would_be_inputs_the_next_time_are_refused(movies):
    for given_ in (movies, movies / "*"):
        with pytest.raises(UsageError, match="the next time"):
            find_recordings(str(given_), movies)
    assert len(find_recordings(str(movies / "*.tif"), movies)) == 3


def test_nothing_to_do_is_an_error(movies, tmp_path):
    (tmp_path / "empty").mkdir()
    listed = tmp_path / "list.txt"
    listed.write_text("movies/m1.tif\nmovies/m9.tif\n")
    for given_ in (tmp_path / "empty", tmp_path / "no*.tif", tmp_path / "no.tif", listed):
        with pytest.raises(StackNotFound):
            find_recordings(str(given_), tmp_path / "out")


@given(st.integers(0, 40), st.integers(1, 12))
def test_the_parts_are_all_recordings_once(count, parts):
    found = tuple(Recording(str(i), Path(str(i))) for i in range(count))
    dealt = [share_of(found, (i, parts)) for i in range(1, parts + 1)]
    assert sorted(sum(dealt, ()), key=lambda r: int(r.source)) == list(found)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_whatever_a_recording_fails_with_the_others_are_run():
    found = [Recording(str(i), Path(str(i))) for i in range(4)]
    ran, told = [], []

    def run(recording):
        ran.append(recording.source)
        if recording.source == "1":
            raise ZeroDivisionError("no\nphotons")
        if recording.source == "2":
            raise MemoryError

    failures = run_batch(found, run, told.append)
    assert ran == ["0", "1", "2", "3"]
    assert [f.reason for f in failures] == ["ZeroDivisionError: no photons", "MemoryError"]
    assert list(failures) == told


def test_a_stop_ends_the_batch():
    def run(recording):
        raise StoppedEarly("stopped early: SIGTERM")

    with pytest.raises(StoppedEarly):
        run_batch([Recording("a", Path("b"))] * 2, run, print)


def test_a_batch_is_what_single_runs_are(call, movies, tmp_path):
    call("batch", movies / "*.tif", tmp_path / "out", *TRAIN)
    assert call.err.splitlines()[-1] == "3 of 3 recordings are done"
    for number in (1, 2, 10):
        call("denoise", movies / f"m{number}.tif", tmp_path / "one.zarr", *TRAIN, "--overwrite")
        batch, one = (tmp_path / name for name in (f"out/m{number}.zarr", "one.zarr"))
        assert (level(batch) == level(one)).all()
        assert attributes(batch)["token"] == attributes(one)["token"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "m1.zarr", "m10.zarr", "m2.zarr",
    ]  # fmt: skip


def test_a_damaged_recording_is_reported_at_the_end_and_done_once_it_is_restored(
    call, movies, tmp_path
):
    good = (movies / "m2.tif").read_bytes()
    damage(movies / "m2.tif")
    words = ("batch", movies, tmp_path / "out", *TRAIN)
    call(*words, "--quiet", code=1)
    head, row = call.err.splitlines()[-2:]
    assert head == "1 of 3 recordings failed:"
    assert row.startswith("m2.zarr  ")
    assert "truncated" in row
    call("status", tmp_path / "out", code=1)
    assert [line.split()[:2] for line in call.out.splitlines()] == [
        ["m1.zarr", "done"], ["m2.zarr", "failed"], ["m10.zarr", "done"],
    ]  # fmt: skip
    assert row.split(maxsplit=1)[1] in call.out

    before = (tmp_path / "out/m1.zarr/zarr.json").stat().st_mtime_ns
    (movies / "m2.tif").write_bytes(good)
    call(*words)
    assert (tmp_path / "out/m1.zarr/zarr.json").stat().st_mtime_ns == before
    call("status", tmp_path / "out")
    assert not (tmp_path / "out" / "fm2s-batch").exists()


def test_one_fit_is_that_of_the_first_recording(call, movies, tmp_path):
    out = tmp_path / "out"
    words = ("batch", movies, out, *TRAIN, "--k-g", "90", "--one-fit")
    call(*words, "--part", "2/3", code=1)
    assert "--first in place of --part" in only_line(call.err)
    call(*words, "--first")
    assert [path.name for path in out.glob("*.zarr")] == ["m1.zarr"]
    for part in ("1/3", "2/3", "3/3"):
        call(*words, "--part", part)
    networks = {attributes(path)["weights_sha256"] for path in out.glob("*.zarr")}
    assert len(networks) == 1
    assert attributes(out / "m10.zarr")["settings"]["fit_from"] == "m1.zarr"
    assert attributes(out / "m10.zarr")["preset"]["k_g"] == 90


def test_without_the_first_fit_the_others_are_not_tried(call, movies, tmp_path):
    damage(movies / "m1.tif")
    call("batch", movies, tmp_path / "out", *TRAIN, "--one-fit", "--quiet", code=1)
    assert call.err.splitlines()[-2] == "1 of 3 recordings failed:"
    call("status", tmp_path / "out", "--json", code=1)
    states = [row["state"] for row in json.loads(call.out)]
    assert states == ["failed", "waiting", "waiting"]


def test_what_another_run_made_with_other_settings_is_reported_not_replaced(call, movies, tmp_path):
    words = ("batch", movies, tmp_path / "out", *TRAIN)
    call(*words)
    before = level(tmp_path / "out/m2.zarr")
    call(*words, "--k-g", "90", "--quiet", code=1)
    assert "3 of 3 recordings failed" in call.err
    assert "--k-g" in call.err
    assert (level(tmp_path / "out/m2.zarr") == before).all()


def test_the_time_of_a_batch_is_that_of_all_its_recordings(call, movies, tmp_path):
    call("batch", movies, tmp_path / "out", *TRAIN, "--stop-after", "0.001s", code=75)
    assert "--stop-after" in call.err
    call("status", tmp_path / "out", code=75)
    assert call.out.count("waiting") == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--overwrite",), "--overwrite: what is run again"),
        (("--one-fit", "--suffix", ".tif"), "leave out --suffix .tif"),
        (("--one-fit", "--fit-from", "a.zarr"), "leave out --fit-from"),
        (("--part", "4/3"), "'4/3' is not a share"),
        (("--fit-every", "3", "--fit", "frame"), "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_recording(call, movies, tmp_path, words, told):
    call("batch", movies, tmp_path / "out", "-c", "srdtrans", *words, code=2)
    assert told in only_line(call.err)
    assert not (tmp_path / "out").exists()


def test_a_signal_ends_a_batch_with_75_and_the_same_command_goes_on(call, movies, tmp_path):
    words = ["batch", str(movies), str(tmp_path / "out"), *TRAIN]
    slow = [word if word != QUICK[1] else "20000" for word in words]
    process = subprocess.Popen(
        [sys.executable, "-m", "fm2s_stack", *slow], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("TIFF"):  # it is at work on the first
            break
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 75
    call("status", tmp_path / "out", code=75)
    call(*words)
    call("status", tmp_path / "out")
    assert call.out.count("done") == 3


def test_a_recording_that_arrives_between_the_parts_moves_no_other_to_another_part(call, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in ("b", "c", "d"):
        recording(inputs / f"{name}.tif", (2, 32, 32))
    words = ("batch", inputs / "*.tif", tmp_path / "out", "-c", "srdtrans", *QUICK)
    call(*words, "--part", "1/2")
    recording(inputs / "a.tif", (2, 32, 32))
    call(*words, "--part", "2/2")
    assert sorted(p.name for p in (tmp_path / "out").glob("*.zarr")) == [
        f"{name}.zarr" for name in "abcd"
    ]
