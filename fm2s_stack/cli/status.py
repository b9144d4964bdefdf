"""``fm2s-stack status``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fm2s_stack.batch.status import OutputStatus


@click.command(name="status")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: Path, as_json: bool) -> None:
    """Show how far an output, or every output in a folder, is.

    The exit code is 0 when all is done, 75 when something is left, 1 when something failed.

    \b
    fm2s-stack status out.zarr
    fm2s-stack status denoised
    """  # noqa: D301 - click wants the character
    from fm2s_stack.batch.status import exit_code, status_of

    found = status_of(path)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        width = max(len(one.name) for one in found)
        click.echo("\n".join(f"{one.name:<{width}}  {_told(one)}".rstrip() for one in found))
        if len(found) > 1:
            counts = Counter(one.state for one in found)
            click.echo(", ".join(f"{count} {state}" for state, count in counts.items()), err=True)
    sys.exit(exit_code(found))


def _told(one: OutputStatus) -> str:
    units = f"{one.done} of {one.units} units" if one.units is not None else ""
    shown = units if one.state != "done" else ""
    parts = [f"{one.state:<10}", shown, "; ".join(one.holders), one.reason]
    return "  ".join(part for part in parts if part)
