"""``fm2s-stack seal``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fm2s_stack.cli.say import say
from fm2s_stack.cli.show import Show
from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.stopping import Stop

if TYPE_CHECKING:
    from fm2s_stack.job.holding import Holding
    from fm2s_stack.job.sealing import Judge


@click.command(name="seal")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--source", metavar="INPUT", help="Its input, to say whether to trust the result.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(output: Path, source: str | None, quiet: bool) -> None:
    """Complete OUTPUT, of which every unit was done with --units; or list what is left.

    Needs no GPU, and the input only to compare the result with it. Exits with 75 where units
    are left: run those again, then seal.

    \b
    fm2s-stack seal out.zarr
    fm2s-stack seal out.zarr --source movie.tif
    """  # noqa: D301 - click wants the character
    from fm2s_stack.job.completing import seal_target
    from fm2s_stack.job.target import find_target

    def note(text: str) -> None:
        if not quiet:
            say(text)

    target, stop, show = find_target(output, overwrite=False), Stop(), None if quiet else Show()

    def judge(hold: Holding) -> Judge | None:
        from fm2s_stack.check.judging import judge_by

        return None if source is None else judge_by(target, source, note, hold)

    with stop_on_signals(stop):
        lines = seal_target(target, stop, note, show, judge)
    note("\n".join([f"{output} is complete", *lines]))
