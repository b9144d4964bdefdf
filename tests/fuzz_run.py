"""Sends mutants to child processes, and starts a new child where one crashed or hung."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

CHILD = Path(__file__).with_name("fuzz_child.py")
START_SECONDS = 120.0
HANG_SECONDS = 20.0  # the child itself counts anything over 10 s as a fault

Mutant = tuple[str, int]


class Child:
    """One process that judges mutants until it crashes, hangs or has grown too large."""

    def __init__(self, seeds: Path, work: Path, program: Path, patience: float) -> None:
        self.patience = patience
        self.errors = (work / "stderr.txt").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(seeds), str(work)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def judge(self, mutant: Mutant, first: bool) -> dict:
        """The verdict; a fault where the process ended or went silent while reading."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{mutant[0]} {mutant[1]}\n")
            self.process.stdin.flush()
        stage, patience = "starting", max(START_SECONDS, self.patience) if first else self.patience
        while True:
            try:
                line = self.lines.get(timeout=patience)
            except queue.Empty:
                return self._lost(mutant, stage, f"hangs while {stage}")
            if not line:
                code = self.process.wait()
                return self._lost(mutant, stage, f"crashes (exit {code}) while {stage}")
            answer = json.loads(line)
            if "stage" not in answer:
                return answer
            stage, patience = answer["stage"], self.patience

    def _lost(self, mutant: Mutant, stage: str, how: str) -> dict:
        self.end()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")[-800:]
        verdict = {"seed": mutant[0], "number": mutant[1], "ends": True, "outcome": how}
        # Where the libraries fail at comparing, what the package read stays unjudged.
        return verdict | {"faults": [] if stage == "comparing" else [f"{how}: {said}"]}

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def run(
    seeds: Path,
    work: Path,
    mutants: Sequence[Mutant],
    *,
    program: Path = CHILD,
    patience: float = HANG_SECONDS,
) -> Iterator[dict]:
    """The verdict on each mutant, in order."""
    child, first = Child(seeds, work, program, patience), True
    try:
        for mutant in mutants:
            verdict = child.judge(mutant, first)
            first = verdict.get("ends", False)
            yield verdict
            if first:
                child.end()
                child = Child(seeds, work, program, patience)
    finally:
        child.end()
