"""``fm2s-stack batch``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.denoise_options import NUMBERS
from fm2s_stack.cli.options import add_options
from fm2s_stack.cli.relay import (
    Relaying,
    absolute_input,
    denoise_words,
    refuse_overwrite,
    relayed_words,
    with_relayed_options,
)
from fm2s_stack.cli.say import say
from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.cli.values import Duration, Share
from fm2s_stack.errors import OutputIncomplete, StoppedEarly, UsageError
from fm2s_stack.stopping import Stop

if TYPE_CHECKING:
    from fm2s_stack.batch.recordings import Failure, Recording

BATCH_OPTIONS = (
    click.option("--one-fit", is_flag=True,
                 help="Train on the first recording, and use its networks for all."),
    click.option("--suffix", type=click.Choice([".zarr", ".tif", ".png"]), default=".zarr",
                 show_default=True, help="Of the outputs."),
    click.option("--part", type=Share(),
                 help="Do share I of N of the recordings, such as 3/16."),
    click.option("--first", is_flag=True,
                 help="Do the first recording only: what the parts of --one-fit need."),
    click.option("--stop-after", type=Duration(),
                 help="Stop by then, to be continued; such as 3h50m."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("--overwrite", is_flag=True, hidden=True),
)  # fmt: skip
_TRAINED = (
    "preset", "neighbours", "causal", "fit", "fit_every", "fit_crop", "steps", "seed", *NUMBERS
)  # fmt: skip


@with_relayed_options()
@click.command(name="batch", cls=Relaying)
@click.argument("inputs")
@click.argument("folder", metavar="OUT_FOLDER", type=click.Path(file_okay=False, path_type=Path))
@add_options(BATCH_OPTIONS)
def command(inputs: str, folder: Path, **options: Any) -> None:  # noqa: ANN401
    """Denoise each of many recordings into OUT_FOLDER, one output each.

    INPUTS is a quoted glob, a folder, or a .txt list with a path a line. What is done already
    is left, what was begun is continued; one that fails is reported at the end, and the others
    go on. The other options are those of denoise.

    \b
    fm2s-stack batch "movies/*.tif" denoised
    fm2s-stack batch movies.txt denoised --one-fit
    """  # noqa: D301 - click wants the character
    from fm2s_stack.batch.ledger import in_order
    from fm2s_stack.batch.recordings import find_recordings
    from fm2s_stack.cli.denoise_options import fit_settings
    from fm2s_stack.stack.frame_list import require_frame_list

    refuse_overwrite(options["overwrite"])
    if options["one_fit"] and (options["fit_from"] or options["suffix"] != ".zarr"):
        other = "--fit-from" if options["fit_from"] else f"--suffix {options['suffix']}"
        raise UsageError(f"--one-fit takes the networks of the first OME-Zarr; leave out {other}")
    fit_settings(options)  # what is wrong with them is not to be said once a recording
    if options["exclude_frames"] is not None:
        require_frame_list(options["exclude_frames"])
    found = in_order(
        folder.absolute(),
        find_recordings(absolute_input(inputs), folder.absolute(), options["suffix"]),
    )
    words = tuple(relayed_words(click.get_current_context()))
    one = _One(words, found[0] if options["one_fit"] else None, options["quiet"])
    _run(found, folder.absolute(), options, one)


@dataclass(frozen=True)
class _One:
    """How one recording is denoised: by the command for one."""

    words: tuple[str, ...]  #: options of ``denoise``
    first: Recording | None  #: whose networks all others use
    quiet: bool

    def denoise(self, recording: Recording, seconds: float | None) -> None:
        """Denoise, within so many seconds."""
        from fm2s_stack.cli.denoise import command as denoise

        options = list(self.words)
        if self.first is not None and recording != self.first:
            options = [word for word in options if not _is_about_training(word)]
            options.append(f"--fit-from={self.first.output}")
        options += ["--quiet"] if self.quiet else []
        options += [f"--stop-after={seconds:.3f}s"] if seconds is not None else []
        words = denoise_words(options, recording.source, recording.output)
        denoise.main(words[1:], "fm2s-stack denoise", standalone_mode=False, obj=words)


def _run(found: tuple[Recording, ...], folder: Path, options: dict[str, Any], one: _One) -> None:
    from fm2s_stack.batch.ledger import begin_ledger, end_ledger_if_done, note_recording
    from fm2s_stack.batch.recordings import run_batch, share_of

    own = found[:1] if options["first"] else share_of(found, options["part"] or (1, 1))
    if one.first is not None and one.first not in own:
        _require_finished(one.first)
    begin_ledger(folder, found)
    deadline = _deadline(options["stop_after"])
    place = {recording: number for number, recording in enumerate(own, 1)}

    def denoise(recording: Recording) -> None:
        if not one.quiet:
            say(f"[{place[recording]}/{len(own)}] {recording.source}")
        one.denoise(recording, deadline())
        note_recording(folder, recording, None)

    def failed(failure: Failure) -> None:
        note_recording(folder, failure.recording, failure)
        say(f"Error: {failure.reason}")

    with stop_on_signals(Stop()):
        failures = run_batch(own, denoise, failed, needed=one.first)
    end_ledger_if_done(folder, found)
    _report(own, failures, one.quiet)


def _report(own: tuple[Recording, ...], failures: tuple[Failure, ...], quiet: bool) -> None:
    if not failures:
        if not quiet:
            say(f"{len(own)} of {len(own)} recordings are done")
        return
    width = max(len(failure.recording.output.name) for failure in failures)
    lines = [f"{failure.recording.output.name:<{width}}  {failure.reason}" for failure in failures]
    say(f"{len(failures)} of {len(own)} recordings failed:")
    say("\n".join(lines))
    sys.exit(1)


def _deadline(seconds: float | None) -> Callable[[], float | None]:
    """Tells the seconds that are left, None where there is no end; raises when there are none."""
    if seconds is None:
        return lambda: None
    end = time.monotonic() + seconds

    def left() -> float:
        rest = end - time.monotonic()
        if rest < 0.001:
            raise StoppedEarly("stopped early: the time of --stop-after is over")
        return rest

    return left


def _require_finished(first: Recording) -> None:
    from fm2s_stack.job.standing import standing
    from fm2s_stack.job.target import find_target

    if standing(find_target(first.output, overwrite=False)).state != "finished":
        raise OutputIncomplete(
            f"{first.output}: the parts of --one-fit use its networks, and it is not complete; "
            "run the same with --first in place of --part"
        )


def _is_about_training(word: str) -> bool:
    name = word.partition("=")[0].removeprefix("--").replace("-", "_")
    return name in _TRAINED
