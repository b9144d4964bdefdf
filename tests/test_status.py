"""``fm2s-stack status``: each state of an output, as other commands leave it."""

import json
import shutil
import subprocess
import sys

import pytest
from cli_tools import only_line, recording

from fm2s_stack.store.failures import read_failures
from fm2s_stack.store.journal import journal_folder
from fm2s_stack.store.lock import locked

HEAVY = ("torch", "zarr", "dask", "tifffile", "ome_zarr", "scipy")


@pytest.fixture
def long_movie(tmp_path):
    """A recording of two units."""
    return recording(tmp_path / "movie.tif", (128, 24, 24))


def one(call, path, code):
    call("status", path, "--json", code=code)
    (row,) = json.loads(call.out)
    return row


def test_an_output_goes_from_unfinished_to_done(call, long_movie, tmp_path):
    output = tmp_path / "out.zarr"
    call.denoise(long_movie, output, "--prepare")
    row = one(call, output, 75)
    assert (row["state"], row["done"], row["units"]) == ("unfinished", 0, 2)
    call.denoise(long_movie, output, "--units", "2/2")
    assert one(call, output, 75)["done"] == 1
    call.denoise(long_movie, output)
    row = one(call, output, 0)
    assert (row["name"], row["state"], row["units"]) == ("out.zarr", "done", 2)


def test_a_tiff_is_one_line_while_it_is_made_and_after(call, long_movie, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    call.denoise(long_movie, folder / "movie.tif", "--prepare")
    assert one(call, folder, 75) == one(call, folder / "movie.tif", 75)
    assert one(call, folder, 75)["name"] == "movie.tif"
    call.denoise(long_movie, folder / "movie.tif")
    assert one(call, folder, 0)["state"] == "done"


def test_a_held_output_is_running_and_says_by_whom(call, long_movie, tmp_path):
    output = tmp_path / "out.zarr"
    call.denoise(long_movie, output, "--prepare")
    with locked(journal_folder(output), (2, 2)):
        row = one(call, output, 75)
        assert row["state"] == "running"
        (holder,) = row["holders"]
        assert holder.startswith("process ")
        assert holder.endswith(", units 2/2")
    assert one(call, output, 75)["holders"] == []


def test_the_lock_of_a_killed_process_is_not_running(call, long_movie, tmp_path):
    output = tmp_path / "out.zarr"
    call.denoise(long_movie, output, "--prepare")
    code = (
        "import os, sys\nfrom fm2s_stack.store.lock import locked\n"
        "with locked(sys.argv[1]):\n    os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, journal_folder(output)], check=False)
    assert done.returncode == 9
    assert list(journal_folder(output).glob("lock-*"))
    assert one(call, output, 75)["state"] == "unfinished"


def test_an_output_without_networks_that_is_held_is_fitting(call, tmp_path):
    journal = journal_folder(tmp_path / "out.zarr")
    journal.mkdir()
    with locked(journal):
        assert one(call, tmp_path / "out.zarr", 75)["state"] == "fitting"


def test_a_share_that_failed_says_why_until_it_is_run_again(call, long_movie, tmp_path):
    output, away = tmp_path / "out.zarr", tmp_path / "away"
    call.denoise(long_movie, output, "--prepare")
    # The networks and their copy are gone: neither share can be computed.
    shutil.move(output / "fm2s_stack", away)
    (journal_folder(output) / "frozen.zip").unlink()
    told = call.refused(long_movie, output, "--units", "1/2").removeprefix("Error: ")
    call.refused(long_movie, output, "--units", "2/2")
    row = one(call, output, 1)
    assert (row["state"], row["reason"]) == ("failed", told)
    assert set(read_failures(journal_folder(output))) == {"1-of-2", "2-of-2"}
    shutil.move(away, output / "fm2s_stack")
    call.denoise(long_movie, output, "--units", "1/2")
    assert set(read_failures(journal_folder(output))) == {"2-of-2"}
    call.denoise(long_movie, output, "--units", "2/2")
    assert one(call, output, 75)["state"] == "unfinished"
    call("seal", output)
    assert one(call, output, 0)["state"] == "done"
    assert not journal_folder(output).exists()


def test_a_run_that_was_refused_leaves_no_note(call, long_movie, tmp_path):
    output = tmp_path / "out.zarr"
    call.denoise(long_movie, output, "--prepare")
    call.refused(long_movie, output, "--seed", "5")
    with locked(journal_folder(output)):
        call.refused(long_movie, output)
    assert one(call, output, 75)["state"] == "unfinished"


def test_a_folder_is_a_line_an_output_in_natural_order(call, tmp_path):
    for name in ("m10", "m2"):
        movie = recording(tmp_path / f"{name}.tif", (3, 24, 24))
        call.denoise(movie, tmp_path / f"{name}.zarr")
    call.denoise(movie, tmp_path / "m3.zarr", "--prepare")
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "zarr.json").write_text('{"zarr_format": 3}')
    call("status", tmp_path, code=75)
    assert [line.split()[:2] for line in call.out.splitlines()] == [
        ["m2.zarr", "done"], ["m3.zarr", "unfinished"], ["m10.zarr", "done"],
    ]  # fmt: skip
    assert "2 done, 1 unfinished" in call.err


def test_a_folder_without_outputs_and_nothing_at_all_are_errors(call, tmp_path, movie):
    for path in (tmp_path, tmp_path / "no.zarr", movie):
        call("status", path, code=1)
        assert str(path) in only_line(call.err)


def test_it_loads_nothing_heavy(call, long_movie, tmp_path):
    call.denoise(long_movie, tmp_path / "out.zarr", "--prepare")
    call.denoise(long_movie, tmp_path / "out.zarr", "--units", "1/2")
    code = (
        "import sys\nfrom fm2s_stack.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert stop.code == 75\n"
        f"print(*(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "status", str(tmp_path / "out.zarr")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown, loaded = done.stdout.splitlines()
    assert "1 of 2 units" in shown
    assert loaded == ""


def test_the_folder_where_we_are_and_the_root_are_folders_too(call, movie, monkeypatch):
    call.denoise(movie, movie.with_name("o.zarr"))
    monkeypatch.chdir(movie.parent)
    assert "o.zarr" in call("status", ".").out
    call("status", "/", code=1)
    assert "no output of fm2s-stack" in call.err
