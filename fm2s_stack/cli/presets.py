"""``fm2s-stack presets``."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import click

from fm2s_stack.settings import Preset


@click.command(name="presets")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the published noise presets.

    avgN is the noise of an average of N captures; a name without it, of a single one.

    \b
    fm2s-stack presets
    """  # noqa: D301 - click wants the character
    from fm2s_stack.fm2s.presets import published_presets

    presets = [asdict(preset) for preset in published_presets().values()]
    if as_json:
        click.echo(json.dumps(presets, indent=2))
        return
    names = [field.name for field in fields(Preset)]
    rows = [names, *([str(preset[name]) for name in names] for preset in presets)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        click.echo("  ".join(cells))
