"""Damaged inputs end in what tifffile or zarr reads from the same bytes, or in one clear line.

Mutants are made from small valid files (`fuzz_seeds`) by a number (`fuzz_tools`) and read in a
child process (`fuzz_child`) that may take 10 s and 1 GB of resident memory for each; `fuzz_run`
starts a new one where it crashed or hung. What is read is held against tifffile, zarr and Pillow
(`fuzz_oracle`).

A failure names its mutants as ``SEED NUMBER``. To make one alone, keep its files and see the
verdict, with what was changed in it::

    python tests/fuzz_child.py /tmp/seeds /tmp/mutants tiled-lzw 17

The first folder is filled with seeds where it does not exist; seeds called ``real-...`` are copied
there too if ``FM2S_STACK_TEST_DATA`` names the folder of real data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fuzz_oracle import faults
from fuzz_run import run
from fuzz_seeds import copy_real_seeds, entry, write_seeds
from fuzz_tools import mutate

from fm2s_stack.stack.open import open_stack

GENERATED, REAL = 1500, 500  # mutants of the slow tier
OWN_ORDER = ("bruker",)  # no library knows it

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="measures memory as Linux tells it"
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    write_seeds(folder)
    return folder


@pytest.fixture(scope="module")
def real_seeds(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("real")
    copy_real_seeds(data, folder)
    return folder


def mutants_of(seeds: Path, count: int, start: int = 0) -> list[tuple[str, int]]:
    """`count` mutants, of every seed in turn."""
    names = sorted(path.name for path in seeds.iterdir())
    return [(names[i % len(names)], start + i // len(names)) for i in range(count)]


def expect_no_faults(seeds: Path, work: Path, mutants: Sequence[tuple[str, int]]) -> None:
    verdicts = list(run(seeds, work, mutants))
    wrong = [f"{v['seed']} {v['number']}: {fault}" for v in verdicts for fault in v["faults"]]
    assert not wrong, f"{len(wrong)} of {len(mutants)} mutants:\n" + "\n".join(wrong[:20])
    outcomes = Counter(verdict["outcome"] for verdict in verdicts)
    assert len(verdicts) == len(mutants)
    # Damage that is never met, or always, would show nothing.
    assert outcomes["refused"] > 0.3 * len(mutants)
    assert outcomes["read"] > 0.1 * len(mutants)


def test_100_damaged_files_are_read_as_their_libraries_do_or_refused(
    seeds: Path, tmp_path: Path
) -> None:
    expect_no_faults(seeds, tmp_path, mutants_of(seeds, 100))


@pytest.mark.slow
def test_many_damaged_files_are_read_as_their_libraries_do_or_refused(
    seeds: Path, tmp_path: Path
) -> None:
    expect_no_faults(seeds, tmp_path, mutants_of(seeds, GENERATED, 100))


@pytest.mark.slow
def test_many_damaged_real_files_are_read_as_their_libraries_do_or_refused(
    real_seeds: Path, tmp_path: Path
) -> None:
    expect_no_faults(real_seeds, tmp_path, mutants_of(real_seeds, REAL))


def test_a_mutant_is_the_same_whenever_and_wherever_it_is_made(seeds: Path, tmp_path: Path) -> None:
    again = tmp_path / "seeds"
    write_seeds(again)
    for name, number in mutants_of(seeds, 200):
        here, there = tmp_path / "here" / f"{name}{number}", tmp_path / "there" / f"{name}{number}"
        assert mutate(seeds / name, number, here) == mutate(again / name, number, there)
        assert _contents(here) == _contents(there), (name, number)
    changed = [mutant for mutant in mutants_of(seeds, 200) if _differs(seeds, tmp_path, *mutant)]
    assert len(changed) > 180


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _differs(seeds: Path, made: Path, name: str, number: int) -> bool:
    return _contents(made / "here" / f"{name}{number}") != _contents(seeds / name)


def test_every_seed_is_read_right_and_wrong_pixels_of_it_are_found(seeds: Path) -> None:
    for folder in sorted(seeds.iterdir()):
        stack = open_stack(entry(folder))
        pixels = stack.array.compute(scheduler="synchronous")
        wrong = pixels.copy()
        wrong[-1, -1, -1, 3, 4] += 1
        assert faults(entry(folder), stack, wrong), folder.name
        if folder.name != "png":
            assert faults(entry(folder), stack, pixels[:-1]), folder.name
            turned = np.flip(pixels, int(np.argmax(pixels.shape[:3])))
            assert faults(entry(folder), stack, turned) or folder.name in OWN_ORDER
        assert faults(entry(folder), stack, pixels) == [], folder.name


CHILD_THAT_FAILS = """
import json, os, signal, sys, time
for line in sys.stdin:
    name, number = line.split()
    print(json.dumps({"stage": "reading"}), flush=True)
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hang":
        time.sleep(600)
    print(json.dumps({"seed": name, "number": int(number), "faults": []}), flush=True)
"""


def test_a_crash_and_a_hang_are_faults_of_their_mutant_alone(tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text(CHILD_THAT_FAILS)
    mutants = [("good", 0), ("crash", 1), ("good", 2), ("hang", 3), ("good", 4)]
    verdicts = list(run(tmp_path, tmp_path, mutants, program=program, patience=3))
    assert [(v["seed"], v["number"]) for v in verdicts] == mutants
    assert [bool(v["faults"]) for v in verdicts] == [False, True, False, True, False]
    assert "crashes (exit -11) while reading" in verdicts[1]["faults"][0]
    assert "hangs while reading" in verdicts[3]["faults"][0]
