"""``fm2s-stack denoise``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.denoise_options import (
    FIT_OPTIONS,
    RUN_OPTIONS,
    WRITE_OPTIONS,
    fit_settings,
    run_settings,
    write_settings,
)
from fm2s_stack.cli.options import INPUT_NAMES, INPUT_OPTIONS, add_options, open_input
from fm2s_stack.cli.say import say
from fm2s_stack.cli.show import Show, clock, size
from fm2s_stack.cli.signals import stop_on_signals
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stopping import Stop

if TYPE_CHECKING:
    from fm2s_stack.pipeline import Summary
    from fm2s_stack.stack.base import Stack


@click.command(name="denoise")
@click.argument("source", metavar="INPUT")
@click.argument("output", type=click.Path(path_type=Path))
@add_options(FIT_OPTIONS + INPUT_OPTIONS + WRITE_OPTIONS + RUN_OPTIONS)
def command(source: str, output: Path, quiet: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Denoise INPUT into OUTPUT: an OME-Zarr, or by its suffix a TIFF or PNG.

    INPUT is a TIFF, OME-Zarr, zarr array, PNG or JPEG, a Bruker folder, a folder or quoted
    glob of files, or a .txt list of them. Correct motion first. The noise is measured on the
    recording, unless -c names a preset.

    \b
    fm2s-stack denoise movie.tif out.zarr
    fm2s-stack denoise image.png out.png
    fm2s-stack denoise "trial_*.tif" out.zarr -c srdtrans --frames 0:5000
    """  # noqa: D301 - click wants the character
    from fm2s_stack.job.target import find_target
    from fm2s_stack.store.failures import noting_failure
    from fm2s_stack.store.journal import journal_folder
    from fm2s_stack.store.lock import WHOLE

    stop = Stop(options["stop_after"])
    journal = journal_folder(find_target(output, overwrite=options["overwrite"]).zarr)
    with stop_on_signals(stop), noting_failure(journal, options["units"] or WHOLE):
        _denoise(source, output, quiet, as_json, options, stop)


def _denoise(
    source: str, output: Path, quiet: bool, as_json: bool, options: dict[str, Any], stop: Stop
) -> None:
    write, run, fit = write_settings(options), run_settings(options), fit_settings(options)
    stack = open_input(source, **{name: options[name] for name in INPUT_NAMES})
    _check_target(stack, output, write)
    if options["dry_run"]:
        _print_plan(stack, fit, write, run, as_json, options["fit_from"] is not None)
        return
    from fm2s_stack.pipeline import denoise_stack, prepare_stack

    how: dict[str, Any] = {
        "write": write,
        "run": run,
        "fit_from": options["fit_from"],
        "command": ["fm2s-stack", *click.get_current_context().obj],
        "progress": None if quiet else Show(),
        "stop": stop,
    }
    if options["prepare"]:
        left = prepare_stack(stack, output, fit, **how)
        if not quiet:
            say(f"{output}: prepared, {left} units are to be done")
        return
    summary = denoise_stack(stack, output, fit, **how)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2))
    elif not quiet and summary.total_seconds:  # else it was finished before, and said so
        say("\n".join([_sentence(summary), *summary.trust]))


def _check_target(stack: Stack, output: Path, write: WriteSettings) -> None:
    """Refuse what cannot be written, before torch is loaded, which takes seconds."""
    from fm2s_stack.job.planning import output_dtype
    from fm2s_stack.job.standing import standing
    from fm2s_stack.job.target import find_target

    target = find_target(output, overwrite=write.overwrite)
    target.check(stack.path, stack.image.with_dtype(output_dtype(stack, write)))
    if write.overwrite or standing(target).state != "finished":
        target.require_folder()


def _print_plan(
    stack: Stack,
    fit: FitSettings,
    write: WriteSettings,
    run: RunSettings,
    as_json: bool,
    trained: bool,
) -> None:
    from fm2s_stack.cli.describe import describe_plan, plan_lines
    from fm2s_stack.engine.devices import find_devices
    from fm2s_stack.job.planning import plan_stack
    from fm2s_stack.memory import memory_of_worker

    if run.workers:  # the plan is that of one process
        run = replace(run, threads=1, memory=memory_of_worker(run.memory, run.workers))
    elif run.scheduler is None:
        run = replace(run, device=",".join(find_devices(run.device)))
    plan = plan_stack(stack, fit, write=write, run=run, trained=trained)
    if as_json:
        click.echo(json.dumps(describe_plan(plan), indent=2))
    else:
        click.echo("\n".join([*stack.notes, *plan_lines(plan)]))


def _sentence(summary: Summary) -> str:
    shape = f"{summary.axes} {' x '.join(map(str, summary.shape))} {summary.dtype}"
    peak = "" if summary.peak_bytes is None else f", peak memory {size(summary.peak_bytes)}"
    clipped = f", {summary.clipped} pixels clipped" if summary.clipped else ""
    left = summary.units - summary.units_done
    rest = f", {left} of {summary.units} units are left" if left else ""
    took = clock(summary.total_seconds)
    return f"{summary.output}: {shape} in {took}{peak}{clipped}{rest}"
