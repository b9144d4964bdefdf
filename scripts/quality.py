"""Measure how well recordings are denoised, against their truth and against other methods.

Quality
-------
`python scripts/quality.py` simulates recordings with seeds that no test uses (3 to 200 photons,
with and without correlation, motion and bleaching, and a z-stack), takes the pairs of images of the
data folder, and prints a table for each: the raw recording, medians, the Gaussians that the truth
says are best, non-local means, BM3D where its package is installed, the published presets, and
``-c auto`` without neighbours, with them, and causal. The last table says what must be reached, and
whether it is. Our methods are the real program, a process from file to file; what this version does
not know is ``n/a``.

``--folder DIR`` adds movies ``NAME.tif`` with ``NAME_truth.tif`` (regions: ``NAME_regions.tif``).
``--only sim/`` takes recordings by a part of their name, ``--methods raw,gauss3d,auto`` methods by
key. ``--program 'mine=-c my.toml'`` adds a method, or takes the place of one: what must be reached
by neighbours is asked of ``'neighbours=-c my.toml'``. ``--cache DIR`` keeps movies, and figures of
filters and presets, from run to run, the presets' with their times: give ``--fresh``, which makes
them anew, where the cost counts. ``--quick`` tries it on three tiny recordings.

Exit codes: 0 measured, whatever was reached; 1 something could not be measured; 2 an option or a
file that cannot be meant.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench_parts import say
from command_line import DATA, Parser
from quality_cache import Kept
from quality_filters import NotAvailable
from quality_measures import Figures, figures, noise_or_reason
from quality_methods import Method, methods
from quality_program import ProgramFailed
from quality_recordings import Recording, in_folder, pairs, simulated, written
from quality_report import LEGEND, markdown, plain_wins, summary_text, text_of
from quality_verdicts import Measured, verdicts

from fm2s_stack.errors import Fm2sError, StackError, UsageError

FAILED = "failed: "  #: what the figures of a method that failed begin with


def main(words: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = _parser()
    given = parser.parse_args(words)
    try:
        _require_folders(given)
        known = _methods(given)
        with tempfile.TemporaryDirectory(prefix="fm2s_quality_") as folder:
            kept = Kept(_cache(given.cache, Path(folder)), given.fresh)
            chosen = _recordings(given, kept.folder)
            measured = list(_measured(chosen, known, kept))
    except (UsageError, StackError) as error:
        parser.error(str(error))
    except (Fm2sError, OSError) as error:
        say(f"{parser.prog}: {error}")
        return 1
    return _told(measured, known, given)


def _measured(
    chosen: Sequence[Recording], known: Mapping[str, Method], kept: Kept
) -> Iterator[Measured]:
    print(LEGEND, end="\n\n")
    for recording in chosen:
        say(recording.name)
        # Its pixels go with this copy, when the next one's turn comes.
        one = measure(written(replace(recording)), known, kept)
        print(text_of(one, known), flush=True)
        yield one


def measure(recording: Recording, known: Mapping[str, Method], kept: Kept) -> Measured:
    """Every method that suits a recording, and its noise."""
    found = {
        method.key: _tried(recording, method, kept)
        for method in known.values()
        if method.suits(recording)
    }
    noise, missing = noise_or_reason(recording)
    return Measured(
        recording.name, recording.kind, recording.source, recording.preset, found, noise, missing
    )


def _tried(recording: Recording, method: Method, kept: Kept) -> Figures:
    """The figures of a method, or why there are none."""

    def make() -> Figures:
        return figures(recording, method.run(recording))

    try:
        if method.version is None:
            return make()
        found, was_kept = kept.figures(recording.identity, method.key, method.version, make=make)
    except NotAvailable as error:
        return Figures(missing=str(error))
    except ProgramFailed as error:
        say(f"{recording.name}: {error}")
        return Figures(missing=f"{FAILED}{error}")
    is_timed = was_kept and found.fit_seconds is not None
    return replace(found, note="kept") if is_timed else found


def _told(
    measured: Sequence[Measured], known: Mapping[str, Method], given: argparse.Namespace
) -> int:
    found = verdicts(measured)
    print(summary_text(found, plain_wins(measured, known)))
    if given.markdown:
        given.markdown.write_text(markdown(measured, found, known), encoding="utf-8")
    if given.json:
        document = {"recordings": [asdict(one) for one in measured],
                    "verdicts": [asdict(one) for one in found]}  # fmt: skip
        given.json.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
    failed = (f.missing.startswith(FAILED) for one in measured for f in one.figures.values())
    return int(any(failed))


def _methods(given: argparse.Namespace) -> dict[str, Method]:
    known = methods(given.program, 20 if given.quick and given.steps is None else given.steps)
    unknown = [key for key in given.methods or () if key not in known]
    if unknown:
        raise UsageError(f"--methods: no method {unknown[0]!r}; there are {', '.join(known)}")
    return {key: known[key] for key in known if not given.methods or key in given.methods}


def _require_folders(given: argparse.Namespace) -> None:
    """What cannot be written is an error now, not in an hour."""
    for option in ("json", "markdown"):
        path = getattr(given, option)
        if path is not None and not path.resolve().parent.is_dir():
            raise UsageError(f"--{option} {path}: there is no such folder to put it in")


def _recordings(given: argparse.Namespace, cache: Path) -> list[Recording]:
    every = [*simulated(cache, quick=given.quick)]
    every += in_folder(given.folder) if given.folder else []
    found = [] if given.quick else pairs(given.data)
    if not found and not given.quick:
        say(f"--data {given.data}: no pairs there, expected fmd/ and srdtrans/; they are left out")
    every += found
    chosen = [one for one in every if not given.only or any(p in one.name for p in given.only)]
    if not chosen:
        names = ", ".join(one.name for one in every)
        raise UsageError(f"--only {','.join(given.only)}: no recording; there are {names}")
    return chosen


def _cache(given: Path | None, otherwise: Path) -> Path:
    if given is None:
        return otherwise
    given.mkdir(parents=True, exist_ok=True)
    return given.resolve()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="quality.py", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--only", type=_words, metavar="PART,PART", help="recordings with this in their names")
    add("--methods", type=_words, metavar="KEY,KEY", help="methods by key, such as raw,auto")
    add("--program", action="append", default=[], metavar="KEY=OPTIONS",
        help="options of denoise as a method; repeatable")  # fmt: skip
    add("--folder", type=Path, help="movies NAME.tif with NAME_truth.tif")
    add("--data", type=Path, default=DATA, help="folder of fmd/ and srdtrans/")
    add("--cache", type=Path, metavar="FOLDER", help="keep movies and others' figures here")
    add("--fresh", action="store_true", help="measure anew what is kept")
    add("--steps", type=int, metavar="N", help="noise draws of fits")
    add("--json", type=Path, metavar="FILE", help="write every figure here")
    add("--markdown", type=Path, metavar="FILE", help="write the tables here")
    add("--quick", action="store_true", help="three tiny recordings and short fits, to try it")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


if __name__ == "__main__":
    sys.exit(main())
