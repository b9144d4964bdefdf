"""Runs killed at any instant, and by a power cut that takes what was not flushed.

Whatever was cut off, the same command finishes the job: every file byte for byte as of a run
that nothing disturbed, nothing done twice, and nothing left beside the output or in it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from crash_tools import WAYS, Server, Undisturbed, content, done_once, untouched, words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a server, reads /proc")

QUICK = [("every", "kill", 2), ("tiff", "kill", 2), ("stack", "power", 1)]
THOROUGH = [(way, "kill", 10) for way in WAYS] + [(way, "power", 6) for way in WAYS]
KILLS = {"every": 8, "stack": 6, "frame": 5, "tiff": 6}


def finishes(server: Server, folder: Path, way: str, expected: Undisturbed) -> None:
    """The same command finishes what is in a folder, and loses nothing."""
    before = done_once(folder)
    ended = server.run(folder, *words(way))
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert untouched(folder, before)
    found = content(folder)
    assert found.keys() == expected.content.keys()
    assert [name for name in found if found[name] != expected.content[name]] == []


def strike(server, undisturbed, tmp_path, way: str, fault: str, count: int) -> None:
    expected = undisturbed(way)
    for instant in expected.instants(count):
        folder = expected.copy(tmp_path / "struck")
        ended = server.run(folder, *words(way), at=instant, fault=fault)
        # Threads order changes as they like: the last ones may be fewer.
        assert ended.code == -signal.SIGKILL or instant > expected.changes * 0.9
        finishes(server, folder, way, expected)


@pytest.mark.parametrize(("way", "fault", "count"), QUICK)
def test_a_kill_loses_nothing_that_was_done(server, undisturbed, tmp_path, way, fault, count):
    strike(server, undisturbed, tmp_path, way, fault, count)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "fault", "count"), THOROUGH)
def test_a_kill_at_any_change_loses_nothing(server, undisturbed, tmp_path, way, fault, count):
    strike(server, undisturbed, tmp_path, way, fault, count)


@pytest.mark.slow
def test_a_run_killed_while_it_continues_another_loses_nothing(server, undisturbed, tmp_path):
    expected = undisturbed("every")
    folder, seen = expected.copy(tmp_path / "struck"), {}
    for instant in (60, 60, 90, 140, 60):
        server.run(folder, *words("every"), at=instant)
        done = done_once(folder)
        assert seen.items() <= done.items()
        seen = done
    finishes(server, folder, "every", expected)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_kills_at_random_instants_lose_nothing(server, undisturbed, tmp_path, way):
    expected, rng = undisturbed(way), random.Random(way)
    folder, seen, kills = expected.copy(tmp_path / "struck"), {}, 0
    while kills < KILLS[way]:
        if kill_after(server, folder, way, rng.uniform(0, expected.seconds)):
            kills += 1
            done = done_once(folder)
            assert seen.items() <= done.items()
            assert untouched(folder, seen)
            seen = done
        else:  # it was faster, and another one is begun
            finishes(server, folder, way, expected)
            folder, seen = expected.copy(tmp_path / "struck"), {}
    finishes(server, folder, way, expected)


def kill_after(server: Server, folder: Path, way: str, seconds: float) -> bool:
    """Whether a run was still at work after so many seconds, and was killed."""
    process = server.start(folder, *words(way))
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    ended = server.wait()
    assert ended.code in (0, -signal.SIGKILL), ended.err
    return ended.code != 0


@pytest.mark.slow
def test_shares_and_a_seal_that_are_killed_lose_nothing(server, undisturbed, tmp_path):
    expected = undisturbed("every")
    folder = expected.copy(tmp_path / "struck")
    parts = [words("every", "--prepare"), words("every", "--units", "1/2")]
    parts += [words("every", "--units", "2/2"), ["seal", "out.zarr"]]
    for part in parts:
        assert server.run(folder, *part, at=25).code == -signal.SIGKILL
        before = done_once(folder)
        assert server.run(folder, *part).code == 0
        assert untouched(folder, before)
    found = content(folder)
    assert found.keys() == expected.content.keys()
    own = ("zarr.json", "files/c/0")  # these tell the command line
    different = [name for name in found if found[name] != expected.content[name]]
    assert [name for name in different if not name.endswith(own)] == []
