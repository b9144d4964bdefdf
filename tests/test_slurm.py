"""A real SLURM of one node: prepare, array, seal; cancelled, out of time, submitted again."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from cli_tools import HERE, QUICK, Cli, recording
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
    """Bytes of every file of an output but its attributes, which tell times and paths."""
    files = (file for file in output.rglob("*") if file.is_file())
    return {
        str(file.relative_to(output)): file.read_bytes()
        for file in files
        if file.parent != output and "units" not in file.parts
    }


def submitted(slurm, script):
    """Ids of the jobs that a script submits, by name."""
    told = slurm.run("bash", script)
    return dict(re.findall(r"(prepare|array|seal|first|report) (\d+)", told))


def log(folder, name):
    (file,) = folder.glob(name)
    return file.read_text("utf-8")


def test_an_array_is_cancelled_and_runs_out_of_time_and_the_same_scripts_finish_it(
    slurm, tmp_path, capsys
):
    folder = tmp_path / 'it\'s 50% of "$a" #1'
    folder.mkdir()
    go, output = tmp_path / "go", folder / "out.zarr"
    movie = recording(folder / "movie.tif", (256, 32, 32))
    call = Cli(capsys)
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
