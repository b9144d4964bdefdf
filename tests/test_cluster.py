"""Dask clusters: their workers are looked at, and none of them can lose anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli_tools import attributes, only_line, recording
from cluster_tools import Command, Processes, shards, tasks_at_work, until

from fm2s_stack.cli.main import main
from fm2s_stack.engine.crew import Member
from fm2s_stack.engine.inspection import free_memory
from fm2s_stack.engine.worker import About
from fm2s_stack.memory import BASE, memory_of_worker
from fm2s_stack.store.processes import is_alive

QUICK = ("-c", "srdtrans", "--device", "cpu", "--steps", "3", "--fit-crop", "32")
SLOW = ("-c", "srdtrans", "--device", "cpu", "--fit", "frame", "--fit-crop", "32", "--steps", "4")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path / "elsewhere")
    yield made
    made.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie of four units, and what threads make of it one frame at a time."""
    made = tmp_path_factory.mktemp("movie")
    recording(made / "movie.tif", (64, 32, 32))
    main(["denoise", str(made / "movie.tif"), str(made / "threads.zarr"), *SLOW, "--quiet"])
    assert attributes(made / "threads.zarr")["plan"]["units"] == 4
    return made


def unit_lines(output: Path) -> int:
    """Units in the journal of an output."""
    files = output.with_name(output.name + ".journal").glob("*.jsonl")
    return sum(file.read_text().count('"kind":"unit"') for file in files)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--workers", "2", "--scheduler", "tcp://h:1"), "--scheduler and --workers exclude"),
        (("--workers", "2", "--threads", "2"), "--threads and --workers exclude"),
        (("--scheduler", "tcp://h:1", "--device", "cuda:1"), "--device cuda:1: with --scheduler"),
        (("--scheduler", "nonsense://h:1"), "nonsense"),
    ],
)
def test_options_that_contradict_each_other_are_refused(call, movie, words, expected):
    call("denoise", movie, movie.with_name("o.zarr"), "-c", "srdtrans", *words, code=2)
    assert expected in only_line(call.err)
    assert [entry.name for entry in movie.parent.iterdir()] == ["movie.tif"]


def test_a_scheduler_that_does_not_answer_is_named(call, movie, monkeypatch):
    monkeypatch.setattr("fm2s_stack.engine.connect.ANSWER", 0.5)
    words = ("-c", "srdtrans", "--scheduler", "tcp://127.0.0.1:9", "--quiet")
    call("denoise", movie, movie.with_name("o.zarr"), *words, code=1)
    assert "tcp://127.0.0.1:9: no Dask scheduler answers there" in only_line(call.err)
    call("denoise", movie, movie.with_name("o.zarr"), *words[:3], "no.json", "--quiet", code=1)
    assert "no.json: there is no such scheduler file" in only_line(call.err)
    assert [entry.name for entry in movie.parent.iterdir()] == ["movie.tif"]


def test_workers_of_one_machine_share_its_memory_and_stay_under_their_limits():
    def member(name: str, limit: int) -> Member:
        return Member(f"tcp://{name}", name, 1, 0, limit)

    def about(host: str, memory: int) -> About:
        return About({}, host, memory, None)

    found = {member("a", 0): about("one", 8000), member("b", 0): about("one", 8200)}
    assert free_memory(found) == 4000
    assert free_memory({**found, member("c", 4000): about("two", 9000)}) == 3000
    assert memory_of_worker(BASE + 1200, 3) == 400


def local_workers(command: Command) -> list[psutil.Process]:
    """The processes of its local cluster."""
    children = psutil.Process(command.process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def refused(folder: Path, address: str, *words: str) -> str:
    """The line with which a run on a scheduler's workers is refused; nothing is left of it."""
    before = sorted(folder.iterdir())
    run = ("denoise", "movie.tif", "refused.zarr", *(words or QUICK), "--quiet")
    command = Command(folder, *run, "--scheduler", address)
    assert command.ended() == 1, command.err
    assert [f for f in sorted(folder.iterdir()) if f.suffix != ".log"] == [
        f for f in before if f.suffix != ".log"
    ]
    return only_line(command.err)


HIDDEN = """
import sys
def hide(event, found, hidden={hidden!r}):
    if event == "open" and str(found[0]).startswith(hidden) and {how!r} in str(found[1]):
        raise PermissionError(13, "Permission denied", str(found[0]))
sys.addaudithook(hide)
"""
VERSION = "import fm2s_stack\nfm2s_stack.__version__ = '0.0.9'"
ABSENT = "import sys\nsys.modules['fm2s_stack'] = None"


@pytest.mark.slow
def test_workers_that_cannot_take_part_are_refused_by_name(processes, folder):
    movie, out = str(folder / "movie.tif"), str(folder / "refused.zarr")
    _, address = processes.scheduler()
    cases = {
        "old": (VERSION, "fm2s-stack is 0.0.9 there and 0.1.0 here"),
        "bare": (ABSENT, "fm2s-stack is not installed there"),
        "blind": (HIDDEN.format(hidden=movie, how="r"), "does not read the same pixels"),
        "mute": (HIDDEN.format(hidden=out, how="w"), "cannot write in"),
    }
    for name, (first, expected) in cases.items():
        worker = processes.worker(address, "--name", name, first=first)
        line = refused(folder, address)
        assert f"worker {name} at tcp://" in line and expected in line
        worker.terminate()
        worker.wait()


@pytest.mark.slow
def test_a_gpu_that_no_worker_declares_is_not_waited_for(processes, folder):
    _, address = processes.scheduler()
    processes.worker(address, "--name", "plain")
    words = ("-c", "srdtrans", "--steps", "1", "--device", "cuda")
    line = refused(folder, address, *words)
    assert "worker plain" in line and "declare no resource GPU" in line
    assert "--resources GPU=4" in line


@pytest.mark.slow
def test_two_local_workers_make_the_same_and_say_where_the_scheduler_is(call, folder, tmp_path):
    run = ("denoise", folder / "movie.tif", tmp_path / "out.zarr", *SLOW, "--workers", 2)
    call(*run)
    assert "started 2 local workers at tcp://127.0.0.1:" in call.err
    assert "4 units on 2 workers (cpu)" in call.err
    assert shards(tmp_path / "out.zarr") == shards(folder / "threads.zarr")
    assert {entry.name for entry in tmp_path.iterdir()} == {"out.zarr"}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_its_units(folder, tmp_path):
    run = ("denoise", folder / "movie.tif", "out.zarr", *SLOW, "--workers", 2)
    command = Command(tmp_path, *run)
    until(lambda: unit_lines(tmp_path / "out.zarr") >= 1)
    working = local_workers(command)
    assert len(working) == 2
    working[0].kill()
    assert command.ended() == 0, command.err
    assert shards(tmp_path / "out.zarr") == shards(folder / "threads.zarr")
    assert not (tmp_path / "out.zarr.journal").exists()


@pytest.mark.slow
def test_an_interrupt_at_a_terminal_ends_local_workers_in_order(folder, tmp_path):
    slow = [*SLOW[:-1], "4000"]
    command = Command(tmp_path, "denoise", folder / "movie.tif", "out.zarr", *slow, "--workers", 1)
    until(lambda: "4 units on 1 worker (cpu)" in command.err)
    workers = local_workers(command)
    os.killpg(command.process.pid, signal.SIGINT)
    assert command.ended(15) == 75
    assert "Stopped early: SIGINT" in command.err and "Traceback" not in command.err
    assert len(workers) == 1
    until(lambda: not any(is_alive(worker.pid) for worker in workers), 5)


def begun(folder: Path, tmp_path: Path, address: str) -> Command:
    """A run on a scheduler, with relative paths, that has done a unit and not all."""
    if not (tmp_path / "movie.tif").exists():
        (tmp_path / "movie.tif").write_bytes((folder / "movie.tif").read_bytes())
    command = Command(tmp_path, "denoise", "movie.tif", "out.zarr", *SLOW, "--scheduler", address)
    until(lambda: unit_lines(tmp_path / "out.zarr") >= 1)
    return command


def finished(folder: Path, tmp_path: Path, address: str, continued: str) -> None:
    """The same command again does the rest, to the same bytes."""
    command = Command(tmp_path, "denoise", "movie.tif", "out.zarr", *SLOW, "--scheduler", address)
    assert command.ended() == 0, command.err
    assert continued in command.err
    assert shards(tmp_path / "out.zarr") == shards(folder / "threads.zarr")


@pytest.mark.slow
def test_a_run_whose_scheduler_is_killed_says_so_and_is_continued(processes, folder, tmp_path):
    scheduler, address = processes.scheduler()
    processes.worker(address)
    command = begun(folder, tmp_path, address)
    scheduler.kill()
    assert command.ended(60) == 1, command.err
    *_, line = command.err.splitlines()
    assert line.startswith(f"Error: the connection to the scheduler {address} was lost")
    assert "Traceback" not in command.err
    _, address = processes.scheduler("second")
    processes.worker(address)
    finished(folder, tmp_path, address, "of 4 units are done")


@pytest.mark.slow
def test_workers_stop_when_their_client_is_killed_or_told_to_stop(processes, folder, tmp_path):
    from distributed import Client

    _, address = processes.scheduler()
    processes.worker(address)
    with Client(address, set_as_default=False) as watching:
        command = begun(folder, tmp_path, address)
        command.kill()
        until(lambda: not any(watching.run(remote(tasks_at_work)).values()), 20)
        assert unit_lines(tmp_path / "out.zarr") < 4
        again = Command(tmp_path, "denoise", "movie.tif", "out.zarr", *SLOW, "--scheduler", address)
        until(lambda: "continues: " in again.err)
        until(lambda: any(watching.run(remote(tasks_at_work)).values()), 20)
        again.process.send_signal(signal.SIGTERM)
        assert again.ended(10) == 75
        assert "Stopped early: SIGTERM" in again.err and "Traceback" not in again.err
        assert not any(watching.run(remote(tasks_at_work)).values())
    finished(folder, tmp_path, address, "of 4 units are done")


def remote(function: Callable[[], int]) -> Callable[[], int]:
    """The function as one that is sent whole: workers elsewhere have not these modules."""
    import cloudpickle
    import cluster_tools

    cloudpickle.register_pickle_by_value(cluster_tools)
    return function
