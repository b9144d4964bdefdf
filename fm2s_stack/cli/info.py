"""``fm2s-stack info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.describe import describe_plan, describe_stack, plan_lines, stack_lines
from fm2s_stack.cli.describe_noise import describe_noise, noise_lines
from fm2s_stack.cli.options import INPUT_OPTIONS, add_options, open_input
from fm2s_stack.errors import OutputError, OutputIncomplete
from fm2s_stack.settings import FitSettings

if TYPE_CHECKING:
    from fm2s_stack.noise_model import NoiseModel
    from fm2s_stack.stack.base import Stack


@click.command(name="info")
@click.argument("path")
@add_options(INPUT_OPTIONS)
@click.option("--noise", is_flag=True, help="Measure the noise too, on frames spread over it.")
@click.option(
    "--noise-plot",
    metavar="FILE.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the measurement too; implies --noise.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    path: str,
    noise: bool,
    noise_plot: Path | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Describe an input or output, and what a run would cost.

    \b
    fm2s-stack info movie.tif
    fm2s-stack info movie.tif --noise-plot noise.png
    fm2s-stack info out.zarr --json
    """  # noqa: D301 - click wants the character
    from fm2s_stack.job.planning import plan_stack

    provenance = _provenance(path)
    if provenance is not None and provenance.get("status") != "complete":
        raise OutputIncomplete(
            f"{path} is an output that was left incomplete: run the command that makes it again"
        )
    stack = open_input(path, **options)
    plan = plan_stack(stack, FitSettings())
    models = _noise(stack, noise_plot, overwrite) if noise or noise_plot else None
    if as_json:
        told = {**describe_stack(stack), "run": describe_plan(plan), "provenance": provenance}
        if models is not None:
            told["noise"] = [describe_noise(model) for model in models]
        click.echo(json.dumps(told, indent=2))
        return
    lines = stack_lines(stack)
    if provenance is not None:
        lines += ["", "made by fm2s-stack:", *_provenance_lines(provenance)]
    for c, model in enumerate(models or ()):
        lines += ["", f"noise{_of_channel(stack, c)}:", *noise_lines(model)]
    click.echo("\n".join([*lines, "", "a run would take:", *plan_lines(plan)]))


def _noise(stack: Stack, plot: Path | None, overwrite: bool) -> list[NoiseModel]:
    """The noise of each channel, drawn where that is asked for."""
    from fm2s_stack.cli.show import Show
    from fm2s_stack.job.noise import measure_noise

    if plot is not None:
        from fm2s_stack.report.drawing import require_free

        require_free(plot, overwrite=overwrite)  # before the work
    channels = range(stack.image.shape[1])
    models = [measure_noise(stack, c, progress=Show()) for c in channels]
    if plot is not None:
        from fm2s_stack.report import noise_png

        titles = [f"{Path(stack.path).name}{_of_channel(stack, c)}" for c in channels]
        noise_png(plot, dict(zip(titles, models, strict=True)), overwrite=overwrite)
    return models


def _of_channel(stack: Stack, c: int) -> str:
    name = stack.name_channel(c)
    return f", {name}" if name else ""


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
    return [*(f"{key:<9} {value}" for key, value in rows.items()), *(told.get("trust") or ())]
