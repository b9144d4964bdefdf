"""Runs that are asked to stop: in time, with exit code 75, to be continued to the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from crash_tools import PLACE, Server, content, done_once, untouched, words

from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.engine import pool
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.progress import Silent, Stoppable
from fm2s_stack.stopping import Stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a server, sends SIGUSR1")

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
IN_TIME = 10.0  # seconds


def long_words(*more: object) -> list[str]:
    """A run whose fit takes a minute."""
    named = ("denoise", "movie.tif", "out.zarr", "-c", "srdtrans", "--steps", "3000", *PLACE)
    return list(map(str, (*named, *more)))


def finishes(server: Server, folder: Path, way: str, expected: dict) -> None:
    before = done_once(folder)
    ended = server.run(folder, *words(way))
    assert ended.code == 0, ended.err
    assert untouched(folder, before)
    found = content(folder)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def stops(server: Server, undisturbed, tmp_path: Path, way: str, instants: list[int]) -> None:
    expected = undisturbed(way)
    for number, instant in enumerate(instants):
        folder = expected.copy(tmp_path / "stopped")
        began = time.monotonic()
        ended = server.run(folder, *words(way), at=instant, fault=SIGNALS[number % 3])
        assert time.monotonic() - began < expected.seconds + IN_TIME + 5
        # at the very end nothing is left to stop
        assert ended.code == 75 or (ended.code == 0 and instant > 0.9 * expected.changes)
        if ended.code == 75:
            last = ended.err.splitlines()[-1]
            assert last.startswith(f"Stopped early: {SIGNALS[number % 3]}")
            assert last.endswith("run the same command again to continue")
        finishes(server, folder, way, expected.content)


@pytest.mark.parametrize("way", ["every"])
def test_a_signal_stops_a_run_that_the_same_command_finishes(server, undisturbed, tmp_path, way):
    stops(server, undisturbed, tmp_path, way, undisturbed(way).instants(1))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["every", "frame", "tiff"])
def test_a_signal_at_any_change_stops_a_run(server, undisturbed, tmp_path, way):
    stops(server, undisturbed, tmp_path, way, undisturbed(way).instants(4))


def send_in_fit(process: int, folder: Path, *numbers: int) -> float:
    """Send signals to a run that is training; the moment of the last one."""
    wait_for(lambda: list(folder.glob("*.journal/lock-*")))
    time.sleep(1.0)
    for number in numbers:
        os.kill(process, number)
        asked = time.monotonic()
        time.sleep(0.5)  # two at the same moment are one wish
    return asked


def wait_for(happened, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "name", ["SIGUSR1", *(pytest.param(n, marks=pytest.mark.slow) for n in SIGNALS[:2])]
)
def test_a_long_fit_is_left_in_time(server, undisturbed, tmp_path, name):
    folder = undisturbed("every").copy(tmp_path / "stopped")
    process = server.start(folder, *long_words())
    asked = send_in_fit(process, folder, signal.Signals[name])
    ended = server.wait()
    assert ended.code == 75, ended.err
    assert time.monotonic() - asked < IN_TIME
    assert "run the same command again to continue" in ended.err


@pytest.mark.slow
def test_a_second_interrupt_stops_at_once(server, undisturbed, tmp_path):
    folder = undisturbed("every").copy(tmp_path / "stopped")
    process = server.start(folder, *long_words("--fit", "frame", "--fit-crop", "full"))
    asked = send_in_fit(process, folder, signal.SIGINT, signal.SIGINT)
    ended = server.wait()
    assert ended.code == 75, ended.err
    assert time.monotonic() - asked < 3.0
    assert ended.err.splitlines()[-1].startswith("Stopped")
    assert "Traceback" not in ended.err
    # what it left behind stops nobody
    again = ("--fit", "frame", "--fit-crop", "full", "--stop-after", "1s")
    assert server.run(folder, *long_words(*again)).code == 75


@pytest.mark.slow
def test_stop_after_ends_a_run_by_itself(server, undisturbed, tmp_path):
    folder = undisturbed("every").copy(tmp_path / "stopped")
    began = time.monotonic()
    ended = server.run(folder, *long_words("--stop-after", "2s"))
    assert ended.code == 75, ended.err
    assert 2.0 < time.monotonic() - began < 2.0 + IN_TIME
    assert "--stop-after" in ended.err.splitlines()[-1]


@pytest.mark.slow
def test_stopped_again_and_again_a_run_comes_to_its_end(server, undisturbed, tmp_path):
    expected = undisturbed("frame")
    folder, rounds = expected.copy(tmp_path / "stopped"), 0
    while (ended := server.run(folder, *words("frame", "--stop-after", "0.6s"))).code == 75:
        assert (rounds := rounds + 1) < 40, ended.err
    assert ended.code == 0, ended.err
    found = content(folder)
    told = {name for name in found if found[name] != expected.content.get(name)}
    assert {name for name in told if not name.endswith(".json")} == set()
    assert found.keys() == expected.content.keys()


@pytest.mark.slow
def test_a_unit_that_would_take_minutes_is_abandoned_in_time(server, tmp_path):
    rng = np.random.default_rng(0)
    planes = rng.poisson(60, (2, 1600, 1600)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", planes, photometric="minisblack")
    more = ("--fit", "frame", "--fit-crop", "full", "--memory", "16G")
    process = server.start(tmp_path, *long_words(*more))
    wait_for(lambda: list(tmp_path.glob("out.zarr/fm2s_stack/weights")))
    time.sleep(6.0)
    os.kill(process, signal.SIGTERM)
    asked = time.monotonic()
    ended = server.wait()
    assert ended.code == 75, ended.err
    assert time.monotonic() - asked < IN_TIME
    assert ended.err.splitlines()[-1].startswith("Stopped")


def test_handlers_are_put_back_whatever_happens():
    before = [signal.getsignal(signal.Signals[name]) for name in SIGNALS]
    stop = Stop()
    with pytest.raises(StoppedEarly, match="SIGTERM"), stop_on_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)
    assert [signal.getsignal(signal.Signals[name]) for name in SIGNALS] == before
    assert stop.is_requested
    wait_for(lambda: not any("_leave_in_time" in t.name for t in threading.enumerate()))


class Real:
    """A run as users start it, with the pipes that it is given."""

    def __init__(self, folder: Path, *before: str, **pipes: object) -> None:
        command = [*before, sys.executable, "-m", "fm2s_stack", *long_words()]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
        self.folder = folder

    def in_fit(self) -> Real:
        """Wait until it trains."""
        wait_for(lambda: list(self.folder.glob("*.journal/lock-*")))
        return self

    def ends(self) -> int:
        """The exit code, in time."""
        try:
            return self.process.wait(IN_TIME + 5)
        finally:
            with suppress(ProcessLookupError):
                self.process.kill()


@pytest.fixture
def folder(undisturbed, tmp_path) -> Path:
    return undisturbed("every").copy(tmp_path / "real")


@pytest.mark.slow
def test_timeout_of_the_shell_stops_a_run(folder):
    if shutil.which("timeout") is None:
        pytest.skip("no command timeout")
    run = Real(folder, "timeout", "--preserve-status", "8", stderr=subprocess.PIPE)
    _, err = run.process.communicate(timeout=8 + IN_TIME + 5)
    assert run.process.returncode == 75, err
    assert b"run the same command again to continue" in err


@pytest.mark.slow
def test_a_run_without_stdin_stops_as_any(folder):
    code = "import os, sys; os.close(0); os.execv(sys.argv[1], sys.argv[1:])"
    run = Real(folder, sys.executable, "-c", code, stderr=subprocess.PIPE).in_fit()
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 75


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_ends_no_run(folder, stream):
    reading, writing = os.pipe()
    run = Real(folder, **{"stderr": subprocess.DEVNULL, stream: writing})
    os.close(writing)
    os.close(reading)
    run.in_fit()
    time.sleep(1.0)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 75


@pytest.mark.slow
def test_a_run_whose_reader_is_gone_ends_well(server, undisturbed, tmp_path):
    expected = undisturbed("stack")
    folder = expected.copy(tmp_path / "unheard")
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from fm2s_stack.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words("stack")]
    ended = subprocess.run(command, cwd=folder, stderr=writing, timeout=120, check=False)
    os.close(writing)
    assert ended.returncode == 0
    assert content(folder).keys() == expected.content.keys()


def test_a_stop_that_a_callback_swallows_is_not_told_as_an_error(monkeypatch):
    stop, told = Stop(), []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with stop_on_signals(stop):
        for error in (StoppedEarly("stopped early: SIGTERM"), ValueError("another")):
            sys.unraisablehook(SimpleNamespace(exc_value=error))
    assert [type(met.exc_value) for met in told] == [ValueError]
    sys.unraisablehook(SimpleNamespace(exc_value=StoppedEarly("later")))
    assert len(told) == 2


def test_a_signal_while_a_thread_starts_leaves_nothing_at_work(monkeypatch):
    """The pool does not know such a thread, and does not wait for it."""
    ended, at_work = threading.Event(), threading.Event()
    told, start = Stoppable(Silent()), threading.Thread.start

    def work(task: int) -> None:
        at_work.set()
        try:
            while True:
                told.advance(0)
                time.sleep(0.01)
        finally:
            ended.set()

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert at_work.wait(30)
        raise StoppedEarly("stopped early: SIGTERM")

    monkeypatch.setattr(pool, "GRACE", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(StoppedEarly, match="SIGTERM"):
            pool.run_in_threads(work, [1, 2], 2, told, lambda: None)
    assert ended.wait(30)
