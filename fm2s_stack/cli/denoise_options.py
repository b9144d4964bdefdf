"""Options of ``fm2s-stack denoise``, and the settings they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fm2s_stack.cli.values import Bytes, Chunks, Crop, Duration, Share
from fm2s_stack.errors import UsageError
from fm2s_stack.settings import (
    DEFAULT_SEED,
    DRAWS,
    MOST_NEIGHBOURS,
    Auto,
    FitSettings,
    Preset,
    RunSettings,
    WriteSettings,
)

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
NUMBERS = ("k_g", "k_p", "lambda_p", "amplification", "stride", "filter")

FIT_OPTIONS = (
    click.option("-c", "--preset", metavar="PRESET",
                 help="A noise preset, or a .toml file; auto: measure the noise  "
                 "[default: auto]"),
    click.option("--neighbours", type=click.IntRange(0, MOST_NEIGHBOURS), metavar="N",
                 help="With -c auto: planes to each side that a plane is made of, 0 to 4  "
                 "[default: 2; 0 where there are few planes]"),
    click.option("--causal", is_flag=True,
                 help="With -c auto: make frames of earlier ones only, twice as many."),
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
    click.option("--precision", type=click.Choice(["float32", "tf32", "bf16"]), default="float32",
                 show_default=True,
                 help="Arithmetic of the networks; tf32 and bf16 are faster and less exact."),
    click.option("--overwrite", is_flag=True, help="Replace what stands at the output."),
)  # fmt: skip

RUN_OPTIONS = (
    click.option("--along", type=click.Choice(["t", "z"]),
                 help="Stack axis  [default: t where there are frames, else z]"),
    click.option("--device", default="auto", show_default=True, metavar="DEVICE",
                 help="auto (every GPU, else the CPU), cpu, cuda, cuda:N or cuda:N,M."),
    click.option("--memory", type=Bytes(),
                 help="Memory the run may use  [default: what the machine allows]"),
    click.option("--threads", type=click.IntRange(min=1),
                 help="Planes computed at a time on the CPU  [default: the cores given to us]"),
    click.option("--workers", type=click.IntRange(min=1), metavar="N",
                 help="Run in N processes here: one a GPU, or N that compute on the CPU."),
    click.option("--scheduler", metavar="ADDRESS",
                 help="Run on the workers of a Dask scheduler, such as tcp://host:8786."),
    click.option("--prepare", is_flag=True,
                 help="Plan, train and store the networks, and leave the units to --units."),
    click.option("--units", type=Share(),
                 help="Do share I of N of the units of a prepared output, such as 3/16."),
    click.option("--stop-after", type=Duration(),
                 help="Stop by then, to be continued; such as 3h50m."),
    click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON summary on stdout."),
)  # fmt: skip


def write_settings(options: dict[str, Any]) -> WriteSettings:
    """What the output looks like."""
    return WriteSettings(
        dtype=options["dtype"],
        pyramid=options["pyramid"],
        ome_zarr=options["ome_zarr"],
        chunks=options["chunks"],
        precision=options["precision"],
        overwrite=options["overwrite"],
    )


def run_settings(options: dict[str, Any]) -> RunSettings:
    """Where and how it is computed.

    Raises
    ------
    UsageError
        If options exclude each other.
    """
    if options["units"] and (options["prepare"] or options["overwrite"]):
        other = "prepare" if options["prepare"] else "overwrite"
        raise UsageError(
            f"--units and --{other} exclude each other: prepare first, without --units"
        )
    return RunSettings(
        along=options["along"],
        device=options["device"],
        memory=options["memory"],
        threads=options["threads"],
        units=options["units"],
        scheduler=options["scheduler"],
        workers=options["workers"],
    )


def fit_settings(options: dict[str, Any]) -> FitSettings:
    """How networks are trained.

    Raises
    ------
    UsageError
        If options exclude each other, or there is no such preset.
    """
    if options["fit_every"] and options["mode"]:
        raise UsageError("--fit and --fit-every exclude each other; give one")
    every = options["fit_every"] or 0
    preset = _preset(options)
    if isinstance(preset, Preset):
        _refuse_breaks(options)
    return FitSettings(
        preset=preset,
        mode="every" if every else options["mode"],
        every=every,
        crop=options["fit_crop"] or None,
        draws=options["steps"],
        seed=options["seed"],
        nan=options["nan"],
        on_bad_frame=options["on_bad_frame"],
    )


def _preset(options: dict[str, Any]) -> Preset | Auto:
    from fm2s_stack.fm2s.presets import find_preset, override

    if options["fit_from"] is not None:
        return _borrowed_preset(options)
    if options["preset"] in (None, Auto.name):
        return _auto(options)
    _refuse_neighbours(options)
    return override(find_preset(options["preset"]), {name: options[name] for name in NUMBERS})


def _auto(options: dict[str, Any]) -> Auto:
    for name in NUMBERS:
        if options[name] is not None:
            raise UsageError(
                f"--{name.replace('_', '-')}: a number of a preset, and -c auto, the default, "
                "measures the noise; leave it out, or give a preset, such as -c srdtrans"
            )
    return Auto(neighbours=options["neighbours"], causal=options["causal"])


def _refuse_neighbours(options: dict[str, Any]) -> None:
    if options["neighbours"] is not None or options["causal"]:
        given = "--causal" if options["causal"] else "--neighbours"
        raise UsageError(f"{given}: presets denoise each plane by itself; it needs -c auto")


def _refuse_breaks(options: dict[str, Any]) -> None:
    """Refuse trials where no plane has neighbours, not even to take the place of a bad one."""
    if options["breaks"] is not None and options["on_bad_frame"] == "fail":
        raise UsageError(
            "--breaks: presets denoise each plane by itself; it needs -c auto, or --on-bad-frame "
            "previous or interpolate, which take frames of the same trial"
        )


def _borrowed_preset(options: dict[str, Any]) -> Preset | Auto:
    context = click.get_current_context()
    trained = (
        "preset",
        "neighbours",
        "causal",
        "mode",
        "fit_every",
        "fit_crop",
        "steps",
        "seed",
        *NUMBERS,
    )
    for name in trained:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = {"mode": "fit"}.get(name, name).replace("_", "-")
            raise UsageError(f"--fit-from takes the networks as they are; leave out --{option}")
    from fm2s_stack.job.reload import load_denoisers

    return load_denoisers(options["fit_from"])[0].preset
