"""Who may write an output: locks of the living, the dead, and of other machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from fm2s_stack.errors import OutputLocked
from fm2s_stack.store import lock as lock_module
from fm2s_stack.store.lock import Holder, live_holders, locked, read_holder

LOCK = "lock-1-of-1.json"
DEAD = 2**22 + 5  # more than the kernel gives out


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Beats and patience of a tenth of a second instead of tens of seconds."""
    monkeypatch.setattr(lock_module, "BEAT", 0.1)
    monkeypatch.setattr(lock_module, "PATIENCE", 1.0)


def left(folder, **changes) -> Holder:
    """A lock that somebody left in a folder."""
    holder = replace(Holder.here((1, 1)), **changes)
    (folder / LOCK).write_text(json.dumps(asdict(holder)).ljust(512))
    return holder


def elsewhere(folder, **changes) -> Holder:
    return left(folder, place="0123abcd", host="node17", process=4711, **changes)


def test_a_second_run_is_refused_with_process_and_host(tmp_path):
    refused = pytest.raises(OutputLocked, match=f"process {os.getpid()} on ")
    with locked(tmp_path), refused, locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ((1, 4), (2, 4), True),
        ((1, 4), (1, 4), False),
        ((1, 2), (3, 4), True),
        ((1, 2), (2, 4), False),
        ((3, 4), (1, 1), False),
    ],
)
def test_shares_exclude_those_that_they_share_units_with(tmp_path, one, other, may):
    with locked(tmp_path, one):
        try:
            with locked(tmp_path, other):
                assert may
        except OutputLocked:
            assert not may
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once(tmp_path):
    left(tmp_path, process=DEAD)
    began = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - began < 0.5
        assert read_holder(tmp_path / LOCK).process == os.getpid()


def test_a_lock_whose_number_another_process_has_now_is_taken_over(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        left(tmp_path, process=other.pid, started="12")  # ticks after the machine started
        with locked(tmp_path):
            pass
        left(tmp_path, process=other.pid, started=lock_module.process_start(other.pid))
        with pytest.raises(OutputLocked, match=f"process {other.pid}"), locked(tmp_path):
            pass
    finally:
        other.communicate()


def test_a_lock_of_another_machine_whose_count_stands_still_is_taken_over(tmp_path):
    elsewhere(tmp_path)
    told: list[str] = []
    began = time.monotonic()
    with locked(tmp_path, note=told.append):
        assert time.monotonic() - began >= 1.0
        assert read_holder(tmp_path / LOCK).process == os.getpid()
    assert "node17" in told[0]


def test_a_lock_of_another_machine_whose_count_moves_is_respected(tmp_path):
    holder, ended = elsewhere(tmp_path), threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(0.2):
            count += 1
            elsewhere(tmp_path, owner=holder.owner, count=count)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(OutputLocked, match="process 4711 on node17"), locked(tmp_path):
            pass
    finally:
        ended.set()
        thread.join()
    assert read_holder(tmp_path / LOCK).owner == holder.owner


@pytest.mark.parametrize("content", [b"", b"\xff" * 512, b'{"owner": 1}'])
def test_a_torn_lock_is_watched_and_taken_over(tmp_path, content):
    (tmp_path / LOCK).write_bytes(content)
    with locked(tmp_path):
        assert read_holder(tmp_path / LOCK).process == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_torn_lock_that_goes_is_not_watched_any_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "PATIENCE", 30.0)
    (tmp_path / LOCK).touch()
    threading.Timer(0.3, (tmp_path / LOCK).unlink).start()
    began = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - began < 10.0


def test_a_lock_counts_up_and_knows_when_it_is_lost(tmp_path):
    with locked(tmp_path) as held:
        wait_for(lambda: read_holder(tmp_path / LOCK).count >= 3)
        assert not held.is_lost
        owner = elsewhere(tmp_path).owner
        wait_for(lambda: held.is_lost)
    assert read_holder(tmp_path / LOCK).owner == owner  # it is not ours to remove


def test_a_lock_whose_file_is_gone_is_lost(tmp_path):
    with locked(tmp_path) as held:
        (tmp_path / LOCK).unlink()
        wait_for(lambda: held.is_lost)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_read_for_a_while_is_kept(tmp_path, monkeypatch):
    with locked(tmp_path) as held:
        with monkeypatch.context() as patched:
            patched.setattr(lock_module, "read_holder", lambda path: None)
            time.sleep(0.5)
        assert not held.is_lost
        count = read_holder(tmp_path / LOCK).count
        wait_for(lambda: read_holder(tmp_path / LOCK).count > count)


@pytest.mark.parametrize("when", [0, 4e9])
def test_clocks_and_time_stamps_do_not_count(tmp_path, monkeypatch, when):
    monkeypatch.setattr(time, "time", lambda: when)
    holder = elsewhere(tmp_path)
    os.utime(tmp_path / LOCK, (when, when))
    assert [found.owner for found in live_holders(tmp_path)] == [holder.owner]
    began = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - began >= 1.0


@pytest.mark.slow
def test_of_many_that_come_together_one_at_a_time_gets_in(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from fm2s_stack.store.lock import locked\n"
        "from fm2s_stack.errors import OutputLocked\n"
        "folder, until = Path(sys.argv[1]), time.monotonic() + 3\n"
        "while time.monotonic() < until:\n"
        "    try:\n"
        "        with locked(folder / 'journal'):\n"
        "            (folder / 'inside').mkdir()\n"  # fails where somebody else is in
        "            time.sleep(0.01)\n"
        "            (folder / 'inside').rmdir()\n"
        "            print('in')\n"
        "    except OutputLocked:\n"
        "        time.sleep(0.003)\n"
    )
    (tmp_path / "journal").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    ended = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, ended
    assert sum(out.count(b"in") for out, _ in ended) > 10
    assert list((tmp_path / "journal").iterdir()) == []


def wait_for(happened, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
