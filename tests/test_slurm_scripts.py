"""Scripts for SLURM as text: bash reads every word back, and jobs wait for each other."""

import os
import stat
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fm2s_stack.errors import UsageError
from fm2s_stack.slurm.jobs import (
    GPU_MEMORY,
    Cluster,
    batch_jobs,
    memory_of_job,
    memory_of_program,
    stack_jobs,
)
from fm2s_stack.slurm.scripts import document_text, script_text, write_scripts
from fm2s_stack.slurm.words import bash_word, directive, gibibytes, log_pattern, seconds_of

NASTY = "a 'b' \"c\" $HOME `id` \\ #d\n*?;&|<>(){}[]!~\té\udcff"
CLUSTER = Cluster(time="4:00:00", tasks=3, cpus=2, memory=5 * 2**30)
STATUS = ["fm2s-stack", "status", "/a b/out.zarr"]


def reading_back(words):
    """The words as bash hands them to a program."""
    line = "printf '%s\\0' " + " ".join(map(bash_word, words))
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    return [os.fsdecode(part) for part in done.stdout.split(b"\0")[:-1]]


@pytest.fixture
def recorder(tmp_path):
    """A program that writes its arguments and process number into a file."""
    program = tmp_path / "bin dir" / "fm2s-stack"
    program.parent.mkdir()
    said = tmp_path / "said"
    program.write_text(
        f"#!/bin/bash\nprintf '%s\\0' \"$@\" > '{said}'\necho $$ > '{said}.process'\n", "utf-8"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program, said


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A fake sbatch first on the PATH, which keeps its arguments and scripts."""
    folder = tmp_path / "queue"
    folder.mkdir()
    sbatch = folder / "sbatch"
    sbatch.write_text(
        f"#!/bin/bash\ncd '{folder}'\nn=$(ls *.args 2>/dev/null | wc -l)\n"
        'printf "%s\\n" "$@" > $n.args\n'
        'case "${!#}" in -*) cat > $n.script ;; *) cat "${!#}" > $n.script ;; esac\n'
        'echo "$((100 + n));cluster"\n',
        "utf-8",
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def jobs_of(program, folder, source="/data/movie.tif", output="/data/out.zarr", cluster=CLUSTER):
    return stack_jobs(cluster, [str(program)], ["--preset=srdtrans"], (source, output), folder)


def arguments(said):
    return [os.fsdecode(part) for part in said.read_bytes().split(b"\0")[:-1]]


def run(job, tmp_path, **variables):
    script = tmp_path / "job.sh"
    script.write_text(script_text(job), "utf-8")
    return subprocess.Popen(["bash", str(script)], env={**os.environ, **variables})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1)
)
def test_bash_reads_every_word_back(words):
    assert reading_back(words) == words


def test_names_that_are_no_utf8_and_line_breaks_are_read_back():
    words = [NASTY, "", "-x", "\n", "'\n'", "\\x41\x01b"]
    assert reading_back(words) == words
    assert "\n" not in "".join(map(bash_word, words))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("2:30", 150),
        ("4:00:00", 14400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-00:00:05", 172805),
    ],
)
def test_times_are_read_as_slurm_reads_them(time, seconds):  # the forms of sbatch(1)
    assert seconds_of(time) == seconds


@pytest.mark.parametrize("time", ["", "4h", "1:2:3:4", "-5", "0", "0:30", "UNLIMITED", "1-"])
def test_other_times_are_refused(time):
    with pytest.raises(UsageError, match=r"--time .*: expected"):
        seconds_of(time)


@given(st.integers(10**6, 10**13), st.sampled_from(["", "1", "a100:1"]))
def test_the_program_may_plan_with_less_than_its_job_asks_for(projected, gpus):
    asked = memory_of_job(projected, gpus)
    assert asked >= projected + (GPU_MEMORY if gpus else 0)
    assert abs(memory_of_program(asked, gpus) - projected) <= 1
    count = int(gibibytes(asked).removesuffix("G"))
    assert (count - 1) * 2**30 < max(asked, 1) <= count * 2**30


def test_too_little_memory_is_refused():
    with pytest.raises(UsageError, match=r"--mem 2.0 GB: expected 1 GB or more, with a GPU 5"):
        memory_of_program(2 * 10**9, "1")


def test_what_slurm_cannot_be_told_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--chdir"):
        directive("chdir", "/data/two\nlines")
    with pytest.raises(UsageError, match="backslash"):
        log_pattern(tmp_path / "a\\b", "x.log")


def test_the_notice_follows_the_walltime():
    notices = {
        "1": 30, "10": 60, "4:00:00": 300, "2-0": 300,
    }  # fmt: skip
    for time, notice in notices.items():
        cluster = replace(CLUSTER, time=time)
        assert cluster.seconds_of_notice == notice
        assert cluster.stop_after == f"{seconds_of(time) - notice}s"
    assert replace(CLUSTER, notice=77).stop_after == "14323s"


@pytest.mark.parametrize("name", ["plain", NASTY.replace("/", "")])
def test_each_script_calls_the_program_with_the_words_meant(tmp_path, recorder, name):
    program, said = recorder
    ends = (f"/data/{name}.tif", "/data/out.zarr")
    prepare, array, seal = jobs_of(program, tmp_path, *ends)
    stop = "--stop-after=14100s"
    for job, words in (
        (prepare, ["denoise", "--preset=srdtrans", stop, "--prepare", "--", *ends]),
        (array, ["denoise", "--preset=srdtrans", stop, "--units=2/3", "--", *ends]),
        (seal, ["seal", f"--source={ends[0]}", "--", ends[1]]),
    ):
        process = run(job, tmp_path, SLURM_ARRAY_TASK_ID="2")
        assert process.wait(30) == 0
        assert arguments(said) == words
        # What SLURM signals is the script's own process.
        assert int((tmp_path / "said.process").read_text()) == process.pid


def test_the_lines_of_setup_run_first_and_must_succeed(tmp_path, recorder):
    program, said = recorder
    good = replace(CLUSTER, setup=("export PRESET=set", "cd /"))
    assert run(jobs_of(program, tmp_path, cluster=good)[0], tmp_path).wait(30) == 0
    said.unlink()
    bad = replace(CLUSTER, setup=("false",))
    assert run(jobs_of(program, tmp_path, cluster=bad)[0], tmp_path).wait(30) == 1
    assert not said.exists()


@pytest.mark.parametrize("as_files", [False, True])
def test_jobs_are_submitted_to_wait_for_each_other(tmp_path, queue, recorder, as_files):
    folder = tmp_path / "it's $a folder"
    jobs = jobs_of(recorder[0], folder)
    if as_files:
        script = write_scripts(jobs, folder, STATUS)
    else:
        script = tmp_path / "document.sh"
        script.write_text(document_text(jobs, folder, STATUS), "utf-8")
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True)
    waits = [
        [word for word in (queue / f"{n}.args").read_text().splitlines() if "dep" in word]
        for n in range(3)
    ]
    strict = "--kill-on-invalid-dep=yes"
    assert waits == [
        [],
        ["--dependency=afterok:100", strict],
        ["--dependency=afterany:101", strict],
    ]
    assert [(queue / f"{n}.script").read_text() for n in range(3)] == list(map(script_text, jobs))
    assert "prepare 100 array 101 seal 102" in done.stdout
    assert "squeue --jobs=100,101,102" in done.stdout
    assert str(folder) in done.stdout
    assert "fm2s-stack status '/a b/out.zarr'" in done.stdout
    assert folder.is_dir()


def directives(job):
    lines = [line for line in job.directives if line.startswith("#SBATCH --")]
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines)


def test_only_the_jobs_that_compute_ask_for_a_gpu_memory_and_notice(tmp_path):
    cluster = replace(
        CLUSTER, gpus="a100:1", account="lab", partition="gpu", seal_partition="cpu", qos="long",
        constraint="ib", array_limit=2, more=("--mail-type=END",),
    )  # fmt: skip
    prepare, array, seal = map(directives, jobs_of("fm2s-stack", tmp_path, cluster=cluster))
    assert array["array"] == "1-3%2"
    for told in (prepare, array):
        assert told["gres"] == "gpu:a100:1"
        assert told["mem"] == "5G"
        assert told["cpus-per-task"] == "2"
        assert told["signal"] == "B:USR1@300"
        assert (told["partition"], told["constraint"]) == ("gpu", "ib")
    assert (seal["partition"], seal["mem"], seal["cpus-per-task"]) == ("cpu", "4G", "1")
    assert not {"gres", "signal", "constraint", "array"} & seal.keys()
    for told in (prepare, array, seal):
        assert (told["account"], told["qos"], told["mail-type"]) == ("lab", "long", "END")
        assert told["time"] == "4:00:00"


def test_a_batch_has_an_array_of_recordings_and_a_report(tmp_path):
    ends = ("/data/*.tif", "/data/denoised")
    own = batch_jobs(CLUSTER, ["fm2s-stack"], ["-c"], ends, tmp_path, one_fit=False)
    assert [(job.name, job.after, job.share) for job in own] == [
        ("array", None, "--part"),
        ("report", ("array", "afterany"), ""),
    ]
    shared = batch_jobs(CLUSTER, ["fm2s-stack"], ["--one-fit"], ends, tmp_path, one_fit=True)
    assert [(job.name, job.after) for job in shared] == [
        ("first", None),
        ("array", ("first", "afterok")),
        ("report", ("array", "afterany")),
    ]
    assert shared[0].words[-1] == "--first"


@pytest.mark.parametrize("name", ["50%.zarr", "a b.zarr", "quo'te\".zarr"])
def test_names_of_logs_survive_the_directive(tmp_path, name):
    (line,) = [line for line in jobs_of("x", tmp_path / name)[0].directives if "--output" in line]
    pattern = line.removeprefix("#SBATCH --output=")
    read = subprocess.run(["bash", "-c", f"printf %s {pattern.replace('$', chr(92) + '$')}"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert read == f"{tmp_path}/{name.replace('%', '%%')}/prepare-%j.log"
