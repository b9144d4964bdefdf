"""``fm2s-stack evaluate``."""

from __future__ import annotations

import json
from typing import Any

import click

from fm2s_stack.cli.options import add_options
from fm2s_stack.cli.show import Show

OPTIONS = (
    click.option("--truth", metavar="CLEAN", required=True,
                 help="The same recording without noise, in the same grey levels."),
    click.option("--noisy", metavar="RAW", help="What OUT was made from, to measure beside it."),
    click.option("--against", metavar="OTHER", multiple=True,
                 help="Another result to measure beside it; give it again for more."),
    click.option("--regions", metavar="LABELS",
                 help="Label image of cells  [default: beside CLEAN, or what changes most]"),
    click.option("--traces", metavar="CSV",
                 help="True trace of each cell, to find events in  [default: beside CLEAN]"),
    click.option("--dark", type=float, metavar="LEVEL",
                 help="Grey level of a pixel without light  [default: known of simulations]"),
    click.option("--saturated", type=float, metavar="LEVEL",
                 help="Grey level at which the detector saturates."),
    click.option("--channel", metavar="C", help="Which channel, by number from 0 or by name."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)  # fmt: skip


@click.command(name="evaluate")
@click.argument("output", metavar="OUT")
@add_options(OPTIONS)
def command(output: str, **options: Any) -> None:  # noqa: ANN401
    """Measure OUT against its truth: noise, traces, events, brightness.

    OUT, CLEAN and RAW are recordings of one shape. Files that simulate left beside CLEAN
    tell where the cells are and what they do.

    \b
    fm2s-stack evaluate out.zarr --truth movie_truth.tif --noisy movie.tif
    fm2s-stack evaluate a.zarr --truth movie_truth.tif --against b.zarr --json
    """  # noqa: D301 - click wants the character
    from fm2s_stack.report.evaluation import evaluate, evaluation_lines, evaluation_numbers

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    found = evaluate(output, **options, progress=None if quiet else Show())
    if as_json:
        click.echo(json.dumps(evaluation_numbers(found), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(evaluation_lines(found)))
