"""Reads mutants in a process of its own and judges each; started by `test_fuzz`, or by hand.

    python tests/fuzz_child.py SEEDS WORK [SEED NUMBER]

SEEDS is a folder of seeds, made where it is missing (with those of real files if
``FM2S_STACK_TEST_DATA`` names their folder); WORK holds the mutants. With SEED NUMBER one
mutant is made, kept in WORK and judged; else lines ``SEED NUMBER`` come from stdin, and each is
answered by lines of JSON: ``{"stage": "reading"}`` and ``{"stage": "comparing"}`` as it begins with
each, then the verdict.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from fuzz_oracle import faults, logged
from fuzz_seeds import copy_real_seeds, entry, write_seeds
from fuzz_tools import mutate

from fm2s_stack.errors import Fm2sError, StackError, UsageError
from fm2s_stack.memory import peak_memory
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.open import open_stack

MOST_RESIDENT = 2**30  # bytes, all of the process
MOST_SECONDS = 10.0
MOST_PLANES = 64
MOST_BYTES = 32 * 2**20


def judge(seeds: Path, work: Path, name: str, number: int) -> dict:
    """Make a mutant, read it, compare; what is wrong with that is in ``faults``."""
    target = work / f"{name}-{number}"
    shutil.rmtree(target, ignore_errors=True)
    opened = entry(seeds / name)
    done = mutate(seeds / name, number, target)
    verdict = {"seed": name, "number": number, "done": done, "faults": [], "odd": []}
    _say(stage="reading")
    start = time.monotonic()
    with logged() as lines:
        outcome = _read(target / opened.relative_to(seeds / name))
    verdict["seconds"], verdict["resident"] = time.monotonic() - start, _most_resident()
    verdict["faults"] += _exceeded(verdict)
    if isinstance(outcome, BaseException):
        verdict |= {"outcome": "refused", "text": f"{type(outcome).__name__}: {outcome}"}
        verdict["faults"] += _wrong_refusal(outcome, target)
    else:
        verdict |= {"outcome": "read", "text": str(outcome[0].notes), "odd": lines}
        _say(stage="comparing")
        verdict["faults"] += _compared(target / opened.relative_to(seeds / name), *outcome)
    return verdict


def _read(path: Path) -> tuple[Stack, np.ndarray] | BaseException:
    """The stack and its pixels, or as many as fit, or what was raised."""
    try:
        stack = open_stack(path)
        if stack.array.nbytes <= MOST_BYTES:
            return stack, stack.array.compute(scheduler="synchronous")
        shape = stack.array.shape
        for t, c, z in {(0, 0, 0), tuple(n - 1 for n in shape[:3])}:
            stack.array[t, c, z, :64, :64].compute(scheduler="synchronous")
        return stack, np.empty((0, 0, 0, 0, 0), stack.array.dtype)
    except BaseException as error:  # what else is raised is what we are here for
        return error


def _wrong_refusal(error: BaseException, target: Path) -> list[str]:
    text = str(error)
    wrong = []
    if not isinstance(error, (StackError, UsageError)):
        wrong.append(f"raised {type(error).__name__}, expected an error of ours: {text}")
    if not text.strip() or "\n" in text or not text.isprintable():
        wrong.append(f"the message is not one line: {text!r}")
    if isinstance(error, Fm2sError) and target.name not in text:
        wrong.append(f"the message does not name the input: {text}")
    if "MemoryError" in text or "Unable to allocate" in text:
        wrong.append(f"took more memory than the process may have: {text}")
    return wrong


def _compared(path: Path, stack: Stack, pixels: np.ndarray) -> list[str]:
    if not pixels.size:
        return []
    try:
        return faults(path, stack, pixels)
    except Exception as error:
        return [f"read, but the comparison fails: {type(error).__name__}: {error}"[:300]]


def _most_resident() -> int:
    # Not getrusage: a child has the maximum of its parent there.
    return peak_memory() or 0


def _exceeded(verdict: dict) -> list[str]:
    wrong = []
    if verdict["seconds"] > MOST_SECONDS:
        wrong.append(f"took {verdict['seconds']:.1f} s, expected at most {MOST_SECONDS:.0f}")
    if verdict["resident"] > MOST_RESIDENT:
        wrong.append(f"took {verdict['resident'] / 2**20:.0f} MB of memory, expected at most 1 GB")
    return wrong


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _limit_memory() -> None:
    """A backstop for the machine; what counts is the measured resident memory."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 3 * 2**30,) * 2)


def main() -> None:
    """See the docstring of the module."""
    seeds, work = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    if not seeds.is_dir():
        write_seeds(seeds)
        if "FM2S_STACK_TEST_DATA" in os.environ:
            copy_real_seeds(Path(os.environ["FM2S_STACK_TEST_DATA"]), seeds)
    faulthandler.enable()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=work)
    _limit_memory()
    if len(sys.argv) == 5:
        _say(**judge(seeds, work, sys.argv[3], int(sys.argv[4])))
        return
    for line in sys.stdin:
        name, number = line.split()
        verdict = judge(seeds, work, name, int(number))
        shutil.rmtree(work / f"{name}-{number}", ignore_errors=True)
        # What the comparison took must not count against the next one.
        verdict["ends"] = _most_resident() > 0.6 * MOST_RESIDENT
        _say(**verdict)
        if verdict["ends"]:
            return


if __name__ == "__main__":
    main()
