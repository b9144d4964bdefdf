"""``fm2s-stack slurm``: what is typed reaches every job as it was meant."""

import os
import shlex
import shutil
import subprocess

import click
import pytest
from cli_tools import QUICK, only_line, recording

from fm2s_stack.cli.denoise import command as denoise
from fm2s_stack.cli.relay import relayed_options
from fm2s_stack.cli.slurm import NOT_FOR_JOBS
from fm2s_stack.engine.devices import usable_threads
from fm2s_stack.memory import BASE

ASKED = ("--time", "4:00:00", "--tasks", 4)
#: a value of each option that is not the default, as it is typed
TYPED = {
    "preset": "srdtrans", "k_g": "80.5", "k_p": "1e-3", "lambda_p": "9", "amplification": "2",
    "stride": "50", "filter": "5", "mode": "stack", "fit_every": "7", "fit_crop": "full",
    "steps": "3", "seed": "-5", "nan": "keep", "on_bad_frame": "previous", "axes": "TYX",
    "series": "0", "channels": "0", "frames": "-10:", "slices": ":1", "dtype": "float32",
    "pyramid": "none", "ome_zarr": "0.4", "chunks": "4,16,16", "along": "t", "device": "cpu",
    "threads": "3", "precision": "bf16", "neighbours": "3",
    "breaks": "0,2", "exclude_frames": "shutter.txt",
}  # fmt: skip
#: options that the scripts decide, or that exclude what is above
ELSEWHERE = {"fit_from", "memory", "cache_dir"}
FLAGS = {"causal"}


@pytest.fixture
def scripts(call, tmp_path):
    """Write scripts, run one with a program that tells its words, and give these."""

    def words_of(job, *words, task="1"):
        folder = tmp_path / "scripts"
        program = ["--program", shlex.join(["printf", "%s\\0"])]
        call("slurm", *words, "--scripts", folder, *program)
        done = subprocess.run(
            ["bash", folder / f"{job}.sh"], cwd="/", capture_output=True, check=True,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": task},
        )  # fmt: skip
        return [os.fsdecode(part) for part in done.stdout.split(b"\0")[:-1]]

    return words_of


def meaning(words):
    """What ``denoise`` understands by its words."""
    context = denoise.make_context("denoise", list(words), resilient_parsing=False)
    return context.params


def typed(option):
    name = max(option.opts, key=len)
    return [name] if option.is_flag else [name, TYPED[option.name]]


def test_every_option_of_denoise_is_tried_here():
    names = {option.name for option in denoise.params if isinstance(option, click.Option)}
    assert names - NOT_FOR_JOBS - ELSEWHERE <= TYPED.keys() | FLAGS


@pytest.mark.parametrize(
    "option",
    [o for o in relayed_options(NOT_FOR_JOBS) if o.name not in ELSEWHERE],
    ids=lambda o: o.name,
)
def test_an_option_of_denoise_means_the_same_in_the_array(scripts, tmp_path, movie, option):
    shutter = tmp_path / "shutter.txt"
    shutter.write_text("1\n")
    words = [str(shutter) if word == shutter.name else word for word in typed(option)]
    measured = option.name in ("neighbours", "causal", "breaks")
    preset = [] if option.name == "preset" else ["-c", "auto" if measured else "srdtrans"]
    output = tmp_path / "out.zarr"
    relayed = scripts("array", movie, output, *preset, *words, *ASKED)
    assert relayed[0] == "denoise"
    meant, got = meaning([*preset, *words, str(movie), str(output)]), meaning(relayed[1:])
    decided = {"units", "memory", "cache_dir", "stop_after"}
    assert {k: v for k, v in got.items() if k not in decided} == {
        k: v for k, v in meant.items() if k not in decided
    }
    assert got[option.name] != next(p for p in denoise.params if p is option).default


def test_paths_mean_the_same_from_any_folder(scripts, tmp_path, monkeypatch):
    here = tmp_path / "with [brackets] and spaces"
    here.mkdir()
    for number in (1, 2):
        recording(here / f"trial_{number}.tif", (3, 32, 32))
    (here / "my.toml").write_text(
        "amplification = 2\nstride = 50\nfilter = 5\nk_g = 80\nk_p = 30\nlambda_p = 30\n"
    )
    monkeypatch.chdir(here)
    words = scripts("array", "trial_*.tif", "out.zarr", "-c", "my.toml", *ASKED)
    assert f"--preset={here}/my.toml" in words
    assert words[-1] == str(here / "out.zarr")
    from fm2s_stack.stack.inputs import find_inputs

    assert find_inputs(words[-2]).files == (here / "trial_1.tif", here / "trial_2.tif")


def test_page_tables_and_memory_are_decided_for_all_jobs(call, scripts, tmp_path):
    movie = recording(tmp_path / "movie.tif", (120, 32, 32), bigtiff=True, compression="zlib")
    output = tmp_path / "out.zarr"
    words = scripts("prepare", movie, output, "-c", "srdtrans", *QUICK, *ASKED)
    got = meaning(words[1:])
    assert got["prepare"]
    assert got["memory"] > BASE
    assert got["stop_after"] == 14100
    assert list(got["cache_dir"].glob("pages-*.npz"))  # the jobs need not walk the file again
    call(*words)  # the plan fits in the memory that was asked for


def test_nothing_is_written_by_printing(call, tmp_path, movie):
    before = sorted(tmp_path.rglob("*"))
    call("slurm", movie, tmp_path / "out.zarr", "-c", "srdtrans", *ASKED)
    assert call.out.startswith("#!/bin/bash\n")
    assert "1 unit(s) in all" in call.err
    assert sorted(tmp_path.rglob("*")) == before
    assert subprocess.run(["bash", "-n"], input=call.out, text=True, check=True).returncode == 0


def test_memory_given_bounds_the_plan(call, tmp_path, movie):
    words = ("slurm", movie, tmp_path / "out.zarr", "-c", "srdtrans", *ASKED)
    call(*words, "--mem", "3GiB")
    assert "#SBATCH --mem=3G" in call.out
    call(*words, "--mem", "0.5GB", code=1)
    assert "needs" in only_line(call.err)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--overwrite",), "--overwrite: what is run again"),
        (("--gpus", "4"), "--gpus 4: expected 1"),
        (("--sbatch", "mail-type=END"), "--sbatch 'mail-type=END': expected one option"),
        (("--sbatch", "--array=1-3"), "the scripts decide --array"),
        (("--sbatch", "--a\n#SBATCH --wrap=x"), "expected one option"),
        (("--signal", "20000"), "that is all of --time"),
        (("--scheduler", "tcp://a:1"), "No such option"),
        (("--one-fit",), "--one-fit goes with --batch"),
        (("--program", ""), "--program is empty"),
        (("--time", "soon"), "--time soon: expected"),
        (("--fit-every", "3", "--fit", "frame"), "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(call, tmp_path, movie, words, told):
    call("slurm", movie, tmp_path / "out.zarr", "-c", "srdtrans", *ASKED, *words, code=2)
    assert told in only_line(call.err)


def test_an_unknown_preset_and_a_missing_file_are_told_before_anything_is_submitted(
    call, tmp_path, movie
):
    call("slurm", movie, tmp_path / "out.zarr", "-c", "sdrtrans", *ASKED, code=2)
    assert "no preset 'sdrtrans'" in call.err
    call("slurm", tmp_path / "no.tif", tmp_path / "out.zarr", "-c", "srdtrans", *ASKED, code=1)
    assert "no.tif" in call.err


def test_what_the_first_job_would_refuse_is_refused_here(call, tmp_path, movie):
    (tmp_path / "file.zarr").touch()
    for output, code, told in (
        (tmp_path / "no" / "out.zarr", 2, "is not there; make it"),
        (tmp_path / "out.mp4", 2, "expected a name ending in"),
        (tmp_path / "file.zarr", 1, "not an output"),
    ):
        call("slurm", movie, output, "-c", "srdtrans", *ASKED, code=code)
        assert told in only_line(call.err)


def test_threads_follow_what_slurm_gave(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    bound = usable_threads()
    for given, threads in (("1", 1), ("100000", bound), ("", bound), ("two", bound)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
        assert usable_threads() == threads
    assert usable_threads(7) == 7


def test_submitting_where_there_is_no_slurm_fails_in_a_line(call, tmp_path, movie, monkeypatch):
    empty = tmp_path / "bin"
    empty.mkdir()
    for name in ("bash", "mkdir"):
        (empty / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(empty))
    words = ("slurm", movie, tmp_path / "out.zarr", "-c", "srdtrans", *ASKED)
    call(*words, "--submit", code=1)
    assert call.err.splitlines()[-1].endswith("change the option it names")


def test_a_batch_gives_each_task_its_part(scripts, tmp_path):
    for number in range(3):
        recording(tmp_path / f"m{number}.tif", (3, 32, 32))
    pattern, folder = tmp_path / "m*.tif", tmp_path / "denoised"
    batch = ("--batch", pattern, folder, "-c", "srdtrans", "--time", 60, "--tasks", 9)
    words = scripts("array", *batch, task="3")
    assert words[0] == "batch"
    assert {"--preset=srdtrans", "--suffix=.zarr", "--part=3/3"} <= set(words)
    assert words[-2:] == [str(pattern), str(folder)]
    assert scripts("report", *batch) == ["status", "--", str(folder)]
    assert {"--first", "--one-fit"} <= set(scripts("first", *batch, "--one-fit"))
