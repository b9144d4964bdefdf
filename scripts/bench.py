"""Measure how fast the package is, and how far from what the machine allows.

Speed
-----
`python scripts/bench.py` simulates its own movies, denoises them disk to disk in processes of
their own, and prints a table with what must be reached. It measures, in one run:

- *main*: seconds to open, fit, apply and write, and seal a 2,000-frame movie of 512x512 16-bit
  pixels; frames a second disk to disk, the fit counted apart; peak memory against the projection.
- *limits*, in turns with these runs: the bare network over frames in memory on the same threads or
  GPU, and the same movie through the same reader and writer without denoising. The rate disk to
  disk is given as a part of the slower of the two.
- *others*: a 3x3x3 median, non-local means and, with ``--reference``, the authors' program, in
  seconds a frame and SI-PSNR against the simulated truth, beside ours.
- *growth*: the same for 500, 2,000 and 8,000 frames. Time a frame and memory must stay flat.
- *frame*: a plane with ``--fit frame`` against the published protocol, and SI-PSNR on two published
  images.
- *start*: whole processes of ``--help``, and of ``info`` on a file of 20,000 pages.

Everything takes about half an hour on two slow cores, and 13 GB of disk; ``--only main,limits``
takes parts of it, ``--quick`` tries it out in a minute. ``--json FILE`` keeps every figure,
``--markdown`` prints a row for the README's table. Long movies repeat 200 simulated frames. What
was just written may be read from the system's cache; outputs are flushed to the disk as always.
Ratios are medians of those of rounds, in which both sides took turns on the same machine.

Exit codes: 0 measured, whatever was reached; 1 a part could not be measured, or too little disk
space; 2 an option that cannot be meant.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from bench_movies import NoSpace, require_space, space_needed
from bench_others import require_reference
from bench_parts import FULL, PARTS, QUICK, Amounts, Bench, say
from bench_process import Result, TaskFailed, Terms, run_apart
from bench_report import markdown, text
from bench_start import machine
from bench_verdicts import verdicts
from command_line import DATA, Parser

from fm2s_stack.errors import DeviceError, Fm2sError, UsageError


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = _parser()
    given = parser.parse_args(words)
    given.words = sys.argv[1:] if words is None else words
    try:
        terms = _checked(given)
        amounts = _amounts(given)
    except (UsageError, DeviceError, ValueError) as error:
        parser.error(str(error))
    try:
        with tempfile.TemporaryDirectory(dir=given.folder, prefix="fm2s_bench_") as folder:
            _require_space(Path(folder).parent, amounts, given.only)
            bench = Bench(terms, amounts, Path(folder), given.data, given.reference)
            document = _measured(bench, given)
    except (NoSpace, TaskFailed, OSError) as error:
        say(f"{parser.prog}: {error}")
        return 1
    return _told(document, given)


def _told(document: Result, given: argparse.Namespace) -> int:
    print(text(document))
    if given.markdown:
        print(f"\n{markdown(document)}")
    if given.json:
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(any("failed" in document.get(part, ()) for part in PARTS))


def _measured(bench: Bench, given: argparse.Namespace) -> Result:
    """The document: everything that was measured, with the verdicts."""
    document: Result = {
        "command": shlex.join(["python", "scripts/bench.py", *given.words]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": run_apart(machine, bench.terms),
        "terms": asdict(bench.terms),
        "amounts": {**asdict(bench.amounts), "main": bench.amounts.main},
        "notes": _notes(bench.amounts, given.quick),
    }
    if {"main", "limits"} & set(given.only):
        _keep(document, "main", lambda: _rounds(bench, document, "limits" in given.only))
    for part in ("others", "growth", "frame", "start"):
        if part in given.only:
            _keep(document, part, getattr(bench, part))
    return {**document, "verdicts": verdicts(document)}


def _rounds(bench: Bench, document: Result, with_limits: bool) -> Result:
    found, limits = bench.rounds(with_limits)
    if limits is not None:
        document["limits"] = limits
    return found


def _keep(document: Result, part: str, measure: Callable[[], Result]) -> None:
    """Measure a part; what goes wrong in it is told, and the others are still measured."""
    try:
        document[part] = measure()
    except (TaskFailed, Fm2sError, OSError) as error:
        say(f"{part}: {error}")
        document[part] = {"failed": str(error)}


def _notes(amounts: Amounts, is_quick: bool) -> list[str]:
    notes = [f"movies repeat {amounts.block} simulated frames; they may be in the system's cache"]
    if is_quick:
        notes.append("quick: tiny movies and short fits, only to try the program")
    if amounts.size != 512 or amounts.main != 2000:
        notes.append("what must be reached is meant for 2,000 frames of 512x512")
    return notes


def _require_space(folder: Path, amounts: Amounts, parts: tuple[str, ...]) -> None:
    growth = amounts.frames if "growth" in parts else ()
    require_space(folder, space_needed(amounts.main, growth, amounts.size))


def _checked(given: argparse.Namespace) -> Terms:
    """What tasks run with; what cannot be meant is an error now, not in an hour."""
    draws = (QUICK if given.quick else FULL).draws
    terms = Terms(given.preset, given.device, given.threads, given.memory, draws)
    terms.fit()
    terms.slots  # noqa: B018 - raises if there is no such device
    if given.reference is not None:
        given.reference = require_reference(given.reference)
    if given.folder is not None and not given.folder.is_dir():
        raise UsageError(f"--folder {given.folder}: there is no such folder")
    if given.json is not None and not given.json.resolve().parent.is_dir():
        raise UsageError(f"--json {given.json}: there is no such folder to put it in")
    return terms


def _amounts(given: argparse.Namespace) -> Amounts:
    names = ("frames", "size", "repeat")
    wanted = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    amounts = replace(QUICK if given.quick else FULL, **wanted)
    if amounts.size < 32 or amounts.repeat < 1 or min(amounts.frames) < 1:
        raise UsageError("expected --size of 32 or more, --repeat and --frames of 1 or more")
    return replace(amounts, block=min(amounts.block, max(amounts.frames)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="bench.py", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--frames", type=_numbers, metavar="N,N,N", help="lengths of the movies; 500,2000,8000")
    add("--size", type=int, help="side of a frame, pixels; 512")
    add("--repeat", type=int, metavar="N", help="rounds that medians are taken of; 3")
    add("--only", type=_parts, metavar="PART,PART", default=PARTS, help=", ".join(PARTS))
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--threads", type=int, metavar="N", help="planes computed at a time on the CPU")
    add("--memory", type=_bytes, metavar="SIZE", help="hold each run under this, such as 8GB")
    add("--preset", default="srdtrans", help="noise to train against; srdtrans")
    add("--reference", type=Path, metavar="PATH", help="checkout of the authors' program")
    add("--data", type=Path, metavar="FOLDER", default=DATA, help="images with their truth")
    add("--folder", type=Path, help="where movies go and are removed at the end")
    add("--json", type=Path, metavar="FILE", help="write every figure here")
    add("--markdown", action="store_true", help="print a row for the README, too")
    add("--quick", action="store_true", help="tiny movies and short fits, to try it")
    return parser


def _parts(words: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in words.split(","))
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return chosen


def _numbers(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{words!r} is not N,N,N such as 500,2000") from None


def _bytes(word: str) -> int:
    import click

    from fm2s_stack.cli.values import Bytes

    try:
        return Bytes().convert(word, None, None)
    except click.BadParameter as error:
        raise argparse.ArgumentTypeError(error.message) from None


if __name__ == "__main__":
    sys.exit(main())
