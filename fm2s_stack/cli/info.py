"""``fm2s-stack info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fm2s_stack.cli.describe import describe_plan, describe_stack, plan_lines, stack_lines
from fm2s_stack.cli.options import INPUT_OPTIONS, add_options, open_input
from fm2s_stack.errors import OutputError, OutputIncomplete
from fm2s_stack.settings import FitSettings


@click.command(name="info")
@click.argument("path")
@add_options(INPUT_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Describe an input or output, and what a run would cost.

    \b
    fm2s-stack info movie.tif
    fm2s-stack info out.zarr --json
    """  # noqa: D301 - click wants the character
    from fm2s_stack.fm2s.presets import find_preset
    from fm2s_stack.job.planning import plan_stack

    provenance = _provenance(path)
    if provenance is not None and provenance.get("status") != "complete":
        raise OutputIncomplete(
            f"{path} is an output that was left incomplete: run the command that makes it again"
        )
    stack = open_input(path, **options)
    plan = plan_stack(stack, FitSettings(find_preset("srdtrans")))
    if as_json:
        told = {**describe_stack(stack), "run": describe_plan(plan), "provenance": provenance}
        click.echo(json.dumps(told, indent=2))
        return
    lines = stack_lines(stack)
    if provenance is not None:
        lines += ["", "made by fm2s-stack:", *_provenance_lines(provenance)]
    click.echo("\n".join([*lines, "", "a run would take:", *plan_lines(plan)]))


def _provenance(path: str) -> dict[str, Any] | None:
    from fm2s_stack.store.attributes import read_attributes
    from fm2s_stack.store.exported import exported_attributes

    if not Path(path).is_dir():
        return exported_attributes(path)
    try:
        return read_attributes(path)
    except OutputError:
        return None


def _provenance_lines(told: dict[str, Any]) -> list[str]:
    source, preset = told.get("source") or {}, told.get("preset") or {}
    rows = {
        "command": " ".join(told.get("command") or []) or "(library)",
        "source": f"{source.get('name')}, digest {source.get('digest')}",
        "preset": ", ".join(f"{key} {value}" for key, value in preset.items()),
        "seed": told.get("seed"),
        "finished": told.get("finished"),
        "device": told.get("device"),
        "timings": ", ".join(f"{k} {v:.1f} s" for k, v in (told.get("timings") or {}).items()),
        "clipped": f"{told.get('clipped')} pixels",
        "made up": f"{(told.get('bad_frames') or {}).get('count', 0)} planes",
        "weights": f"sha256 {told.get('weights_sha256')}",
        "version": (told.get("versions") or {}).get("fm2s-stack"),
    }
    return [f"{key:<9} {value}" for key, value in rows.items()]
