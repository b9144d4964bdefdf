"""A real SLURM of one node: prepare, array, seal; cancelled, out of time, submitted again."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from cli_tools import HERE, QUICK, attributes, recording
from slurm_tools import missing, one_node

HANGING = Path(__file__).with_name("hanging_program.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    why = missing()
    if why is not None:
        pytest.skip(why)
    with one_node(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def files_of(output):
    """Bytes of every file of an output but those that tell of the run: times, the command."""
    files = (file for file in output.rglob("*") if file.is_file())
    return {
        str(file.relative_to(output)): file.read_bytes()
        for file in files
        if file.parent != output and not {"units", "spare"} & set(file.parts)
    }


def submitted(slurm, script):
    """Ids of the jobs that a script submits, by name."""
    told = slurm.run("bash", script)
    return dict(re.findall(r"(prepare|array|seal|first|report) (\d+)", told))


def log(folder, name):
    (file,) = folder.glob(name)
    return file.read_text("utf-8")


def test_an_array_is_cancelled_and_runs_out_of_time_and_the_same_scripts_finish_it(
    slurm, tmp_path, call
):
    folder = tmp_path / 'it\'s 50% of "$a" #1'
    folder.mkdir()
    go, output = tmp_path / "go", folder / "out.zarr"
    movie = recording(folder / "movie.tif", (256, 32, 32))

    call.denoise(movie, tmp_path / "plain.zarr")
    program = [sys.executable, HANGING, go, "3/4,4/4"]
    call(
        "slurm", movie, output, "-c", "srdtrans", *QUICK, *HERE, "--tasks", 4, "--time", 1,
        "--cpus-per-task", 1, "--mem", "4GB", "--scripts", folder / "scripts",
        "--program", shlex.join(map(str, program)),
    )  # fmt: skip
    submit, logs = folder / "scripts" / "submit.sh", folder / "scripts"

    before = os.umask(0o027)
    try:
        jobs = submitted(slurm, submit)
    finally:
        os.umask(before)
    slurm.until_said(logs / f"denoise-{jobs['array']}_3.log", "hanging")
    slurm.run("scancel", f"{jobs['array']}_3")
    slurm.until(jobs["seal"])
    assert slurm.states(jobs["prepare"]) == [("COMPLETED", "0:0")]
    assert slurm.task(jobs["array"], 1) == slurm.task(jobs["array"], 2) == ("COMPLETED", "0:0")
    assert slurm.task(jobs["array"], 3)[0] == "CANCELLED"
    assert slurm.task(jobs["array"], 4) == ("FAILED", "75:0")
    assert slurm.states(jobs["seal"]) == [("FAILED", "75:0")]
    assert "Stopped early: SIGUSR1" in log(logs, f"denoise-{jobs['array']}_4.log")
    call("status", output, code=75)
    assert "2 of 4 units" in call.out
    modes = {file.stat().st_mode & 0o777 for file in output.rglob("*") if file.is_file()}
    assert modes == {0o640}

    go.touch()
    jobs = submitted(slurm, submit)
    slurm.until(jobs["seal"])
    for job in jobs.values():
        assert set(slurm.states(job)) == {("COMPLETED", "0:0")}, slurm.told()
    call("status", output, code=0)
    assert files_of(output) == files_of(tmp_path / "plain.zarr")


def test_a_failed_prepare_strands_no_job(slurm, tmp_path, call):
    movie, output = recording(tmp_path / "movie.tif", (8, 32, 32)), tmp_path / "out.zarr"
    words = (movie, output, "-c", "srdtrans", *QUICK, *HERE, "--time", 5, "--cpus-per-task", 1)
    call("slurm", *words, "--scripts", tmp_path / "scripts")
    movie.write_bytes(movie.read_bytes()[:-500])
    jobs = submitted(slurm, tmp_path / "scripts" / "submit.sh")
    slurm.until(jobs["seal"])
    assert slurm.states(jobs["prepare"]) == [("FAILED", "1:0")]
    assert slurm.states(jobs["array"])[0][0] == "CANCELLED"
    assert slurm.states(jobs["seal"]) == [("FAILED", "1:0")]
    assert "truncated" in log(tmp_path / "scripts", f"prepare-{jobs['prepare']}.log")
    assert not output.exists()


def test_a_batch_with_one_fit_reports_a_damaged_recording_and_is_done_the_next_time(
    slurm, tmp_path, call, monkeypatch
):
    movies, folder = tmp_path / "movies", tmp_path / "denoised"
    movies.mkdir()
    for number in range(3):
        recording(movies / f"m{number}.tif", (4, 32, 32))
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
    words = ("--batch", movies, folder, "-c", "srdtrans", *QUICK, *HERE, "--one-fit",
             "--tasks", 2, "--time", 5, "--cpus-per-task", 1, "--submit")  # fmt: skip
    good = (movies / "m1.tif").read_bytes()

    def submit():
        call("slurm", *words)
        names = ("first", "denoise", "report")
        jobs = {name: slurm.latest(f"{name}-denoised") for name in names}
        slurm.until(jobs["report"])
        return [slurm.states(job) for job in jobs.values()]

    (movies / "m1.tif").write_bytes(good[:-500])
    done, failed = ("COMPLETED", "0:0"), ("FAILED", "1:0")
    assert submit() == [[done], [done, failed], [failed]]
    call("status", folder, code=1)
    assert [line.split()[1] for line in call.out.splitlines()] == ["done", "failed", "done"]
    (movies / "m1.tif").write_bytes(good)
    assert submit() == [[done], [done, done], [done]]
    call("status", folder)
    networks = {attributes(path)["weights_sha256"] for path in folder.glob("*.zarr")}
    assert len(networks) == 1
