"""``fm2s-stack seal``."""

from __future__ import annotations

from pathlib import Path

import click

from fm2s_stack.cli.say import say
from fm2s_stack.cli.show import Show
from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.stopping import Stop


@click.command(name="seal")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(output: Path, quiet: bool) -> None:
    """Complete OUTPUT, of which every unit was done with --units; or list what is left.

    Needs neither the input nor a GPU. Exits with 75 where units are left: run those again,
    then seal.

    \b
    fm2s-stack seal out.zarr
    """  # noqa: D301 - click wants the character
    from fm2s_stack.job.completing import seal_target
    from fm2s_stack.job.target import find_target

    def note(text: str) -> None:
        if not quiet:
            say(text)

    stop = Stop()
    with stop_on_signals(stop):
        seal_target(find_target(output, overwrite=False), stop, note, None if quiet else Show())
    note(f"{output} is complete")
