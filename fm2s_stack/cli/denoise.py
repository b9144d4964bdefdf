"""``fm2s-stack denoise``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fm2s_stack.cli.options import INPUT_OPTIONS, add_options, open_input
from fm2s_stack.cli.show import Show, clock, size
from fm2s_stack.cli.values import Bytes, Chunks, Crop
from fm2s_stack.errors import UsageError
from fm2s_stack.settings import (
    DEFAULT_SEED,
    DRAWS,
    FitSettings,
    Preset,
    RunSettings,
    WriteSettings,
)

if TYPE_CHECKING:
    from fm2s_stack.pipeline import Summary
    from fm2s_stack.stack.base import Stack

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
NUMBERS = ("k_g", "k_p", "lambda_p", "amplification", "stride", "filter")

FIT_OPTIONS = (
    click.option("-c", "--preset", metavar="PRESET", help="Noise preset, or a .toml file."),
    click.option("--k-g", type=float, help="Replace the preset's Gaussian noise."),
    click.option("--k-p", type=float, help="Replace the preset's patchwise Poisson noise."),
    click.option("--lambda-p", type=float, help="Replace the preset's Poisson noise."),
    click.option("--amplification", type=int, help="Replace the preset's channels (lambda)."),
    click.option("--stride", type=int, help="Replace the preset's patch side, pixels."),
    click.option("--filter", type=int, help="Replace the preset's median window, pixels."),
    click.option(
        "--fit", "mode", type=click.Choice(["stack", "frame"]),
        help="One network a channel, or one a plane  [default: stack; frame for one plane]",
    ),
    click.option(
        "--fit-every", type=click.IntRange(min=1), metavar="N",
        help="One network per N planes, blended at the borders: for drifting recordings.",
    ),
    click.option("--fit-from", type=click.Path(path_type=Path), metavar="OUT.ZARR",
                 help="Use the networks of another output."),
    click.option("--fit-crop", type=Crop(), default=64, show_default=True,
                 help="Side of training crops, pixels; full: whole planes, as published."),
    click.option("--steps", type=click.IntRange(min=1), default=DRAWS, show_default=True,
                 help="Noise draws of a fit, five gradient steps each."),
    click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True,
                 help="What every random stream is derived from."),
    click.option("--nan", type=click.Choice(["refuse", "keep"]), default="refuse",
                 show_default=True,
                 help="NaN: refuse them, or leave them and constant padding unchanged."),
    click.option("--on-bad-frame", type=click.Choice(["fail", "previous", "interpolate"]),
                 default="fail", show_default=True,
                 help="A frame that cannot be read: an error, or made up of its neighbours."),
)  # fmt: skip

WRITE_OPTIONS = (
    click.option("--dtype", type=click.Choice(DTYPES),
                 help="Pixel type of the output  [default: the input's]"),
    click.option("--pyramid", type=click.Choice(["yx", "zyx", "none"]), default="yx",
                 show_default=True, help="Axes halved from level to level."),
    click.option("--ome-zarr", type=click.Choice(["0.5", "0.4"]), default="0.5",
                 show_default=True, help="Version of the format; 0.4 for older readers."),
    click.option("--chunks", type=Chunks(), help="Planes, rows, columns of a chunk."),
    click.option("--overwrite", is_flag=True, help="Replace what stands at the output."),
)  # fmt: skip

RUN_OPTIONS = (
    click.option("--along", type=click.Choice(["t", "z"]),
                 help="Stack axis  [default: t where there are frames, else z]"),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--memory", type=Bytes(),
                 help="Memory the run may use  [default: what the machine allows]"),
    click.option("--threads", type=click.IntRange(min=1),
                 help="Planes computed at a time on the CPU  [default: the cores given to us]"),
    click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON summary on stdout."),
)  # fmt: skip


@click.command(name="denoise")
@click.argument("source", metavar="INPUT")
@click.argument("output", type=click.Path(path_type=Path))
@add_options(FIT_OPTIONS + INPUT_OPTIONS + WRITE_OPTIONS + RUN_OPTIONS)
def command(source: str, output: Path, quiet: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Denoise INPUT into OUTPUT: an OME-Zarr, or by its suffix a TIFF or PNG.

    INPUT is a TIFF, OME-Zarr, zarr array, PNG or JPEG, a Bruker folder, a folder or quoted
    glob of files, or a .txt list of them. Correct motion first.

    \b
    fm2s-stack denoise movie.tif out.zarr -c srdtrans
    fm2s-stack denoise image.png out.png -c twophoton
    fm2s-stack denoise "trial_*.tif" out.zarr -c srdtrans --frames 0:5000
    """  # noqa: D301 - click wants the character
    from fm2s_stack.planning import output_dtype
    from fm2s_stack.target import find_target

    names = ("axes", "series", "channels", "frames", "slices", "cache_dir")
    write = WriteSettings(
        dtype=options["dtype"],
        pyramid=options["pyramid"],
        ome_zarr=options["ome_zarr"],
        chunks=options["chunks"],
        overwrite=options["overwrite"],
    )
    run = RunSettings(
        along=options["along"],
        device=options["device"],
        memory=options["memory"],
        threads=options["threads"],
    )
    fit = _fit_settings(options)
    target = find_target(output, overwrite=write.overwrite)
    stack = open_input(source, **{name: options[name] for name in names})
    # Asked before torch is loaded, which takes seconds.
    target.check(stack.path, stack.image.with_dtype(output_dtype(stack, write)))
    if options["dry_run"]:
        _print_plan(stack, fit, write, run, as_json, options["fit_from"] is not None)
        return
    from fm2s_stack.pipeline import denoise_stack

    summary = denoise_stack(
        stack,
        output,
        fit,
        write=write,
        run=run,
        fit_from=options["fit_from"],
        command=["fm2s-stack", *click.get_current_context().obj],
        progress=None if quiet else Show(),
    )
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2))
    elif not quiet:
        click.echo(_sentence(summary), err=True)


def _fit_settings(options: dict[str, Any]) -> FitSettings:
    if options["fit_every"] and options["mode"]:
        raise UsageError("--fit and --fit-every exclude each other; give one")
    every = options["fit_every"] or 0
    return FitSettings(
        preset=_preset(options),
        mode="every" if every else options["mode"],
        every=every,
        crop=options["fit_crop"] or None,
        draws=options["steps"],
        seed=options["seed"],
        nan=options["nan"],
        on_bad_frame=options["on_bad_frame"],
    )


def _preset(options: dict[str, Any]) -> Preset:
    from fm2s_stack.fm2s.presets import find_preset, override, published_presets

    if options["fit_from"] is not None:
        return _borrowed_preset(options)
    if options["preset"] is None:
        raise UsageError(
            f"no -c: name the noise of the recording, one of {', '.join(published_presets())}, "
            "or a .toml file"
        )
    return override(find_preset(options["preset"]), {name: options[name] for name in NUMBERS})


def _borrowed_preset(options: dict[str, Any]) -> Preset:
    context = click.get_current_context()
    trained = ("preset", "mode", "fit_every", "fit_crop", "steps", "seed", *NUMBERS)
    for name in trained:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = {"mode": "fit"}.get(name, name).replace("_", "-")
            raise UsageError(f"--fit-from takes the networks as they are; leave out --{option}")
    from fm2s_stack.record import load_denoisers

    return load_denoisers(options["fit_from"])[0].preset


def _print_plan(
    stack: Stack,
    fit: FitSettings,
    write: WriteSettings,
    run: RunSettings,
    as_json: bool,
    trained: bool,
) -> None:
    from fm2s_stack.cli.describe import describe_plan, plan_lines
    from fm2s_stack.planning import plan_stack

    plan = plan_stack(stack, fit, write=write, run=run, trained=trained)
    if as_json:
        click.echo(json.dumps(describe_plan(plan), indent=2))
    else:
        click.echo("\n".join([*stack.notes, *plan_lines(plan)]))


def _sentence(summary: Summary) -> str:
    peak = "" if summary.peak_bytes is None else f", peak memory {size(summary.peak_bytes)}"
    clipped = f", {summary.clipped} pixels clipped" if summary.clipped else ""
    return (
        f"{summary.output}: {summary.axes} {' x '.join(map(str, summary.shape))} {summary.dtype} "
        f"in {clock(summary.total_seconds)}{peak}{clipped}"
    )
