"""``fm2s-stack slurm``."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.options import INPUT_NAMES, add_options, open_input
from fm2s_stack.cli.relay import (
    NOT_RELAYED,
    Relaying,
    absolute_input,
    refuse_overwrite,
    relayed_words,
    with_relayed_options,
)
from fm2s_stack.cli.show import size
from fm2s_stack.cli.slurm_options import CLUSTER_OPTIONS, cluster_of
from fm2s_stack.errors import Fm2sError, UsageError

if TYPE_CHECKING:
    from fm2s_stack.plan import Plan
    from fm2s_stack.slurm.jobs import Cluster, Job
    from fm2s_stack.stack.base import Stack

#: what spreads a run by itself: the array does that, each task one process
NOT_FOR_JOBS = NOT_RELAYED | {"scheduler", "workers"}
ROOMY = 2**50  #: bytes: a plan that memory does not cut short

SCRIPT_OPTIONS = (
    click.option("--batch", is_flag=True,
                 help="INPUT is a glob, folder or list of recordings, OUTPUT a folder."),
    click.option("--one-fit", is_flag=True, help="With --batch: one fit, of the first, for all."),
    click.option("--suffix", type=click.Choice([".zarr", ".tif", ".png"]), default=".zarr",
                 show_default=True, help="With --batch: of the outputs."),
    click.option("--program", help="What calls fm2s-stack in a job  [default: this one]"),
    click.option("--scripts", type=click.Path(file_okay=False, path_type=Path),
                 help="Write the scripts into this folder."),
    click.option("--submit", is_flag=True, help="Write the scripts and submit them."),
    click.option("--overwrite", is_flag=True, hidden=True),
)  # fmt: skip


@with_relayed_options(NOT_FOR_JOBS)
@click.command(name="slurm", cls=Relaying)
@click.argument("source", metavar="INPUT")
@click.argument("output", type=click.Path(path_type=Path))
@add_options(CLUSTER_OPTIONS + SCRIPT_OPTIONS)
def command(source: str, output: Path, **options: Any) -> None:  # noqa: ANN401
    """Print scripts that run denoise on a SLURM cluster, or submit them.

    A job plans and fits, an array denoises, a last one completes the output or lists what is
    left. What was stopped, cancelled or lost is continued by submitting the same again. The
    other options are those of denoise.

    \b
    fm2s-stack slurm movie.tif out.zarr --tasks 16 --gpus 1 --time 4:00:00
    fm2s-stack slurm --batch "movies/*.tif" denoised --tasks 8 --time 12:00:00
    """  # noqa: D301 - click wants the character
    from fm2s_stack.slurm.jobs import job_folder
    from fm2s_stack.slurm.scripts import document_text, write_scripts

    refuse_overwrite(options["overwrite"])
    cluster, output = cluster_of(options), output.absolute()
    folder = (options["scripts"] or job_folder(output)).absolute()
    jobs = _jobs(source, output, cluster, options, folder)
    status = [*_program(options["program"]), "status", str(output)]
    if not options["scripts"] and not options["submit"]:
        click.echo(document_text(jobs, folder, status), nl=False)
        return
    submit = write_scripts(jobs, folder, status)
    if options["submit"]:
        _submit(submit)
    else:
        click.echo(f"submit, and submit again to continue: bash {shlex.quote(str(submit))}")


def _jobs(
    source: str, output: Path, cluster: Cluster, options: dict[str, Any], folder: Path
) -> tuple[Job, ...]:
    from fm2s_stack.slurm.jobs import stack_jobs

    given, program = absolute_input(source), _program(options["program"])
    if options["batch"]:
        return _batch_jobs(given, output, cluster, options, folder)
    if options["one_fit"]:
        raise UsageError("--one-fit goes with --batch: one output has one fit")
    stack = _open(given, options, folder)
    _check_target(stack, output, options)
    plan, cluster = _projected([stack], cluster, options)
    cluster = _with_fewer_tasks(cluster, len(plan.units), "unit")
    words = _shared_words(cluster, options, folder)
    return stack_jobs(cluster, program, words, (given, str(output)), folder)


def _batch_jobs(
    given: str, output: Path, cluster: Cluster, options: dict[str, Any], folder: Path
) -> tuple[Job, ...]:
    from fm2s_stack.batch.recordings import find_recordings
    from fm2s_stack.slurm.jobs import batch_jobs

    found, program = find_recordings(given, output, options["suffix"]), _program(options["program"])
    # A thousand files are not all opened for this; memory follows the frames more than their
    # number, and every job holds its plan under what it is given.
    largest = max(found, key=lambda recording: _bytes_of(recording.source))
    sources = dict.fromkeys([found[0].source, largest.source])
    stacks = [_open(source, options, folder) for source in sources]
    _, cluster = _projected(stacks, cluster, options)
    cluster = _with_fewer_tasks(cluster, len(found), "recording")
    words = [*_shared_words(cluster, options, folder), f"--suffix={options['suffix']}"]
    one_fit = options["one_fit"]
    words += ["--one-fit"] if one_fit else []
    return batch_jobs(cluster, program, words, (given, str(output)), folder, one_fit)


def _open(source: str, options: dict[str, Any], folder: Path) -> Stack:
    told = {name: options[name] for name in INPUT_NAMES}
    if options["scripts"] or options["submit"]:  # else nothing is to be written anywhere
        told["cache_dir"] = _cache_dir(options, folder)
    return open_input(source, **told)


def _check_target(stack: Stack, output: Path, options: dict[str, Any]) -> None:
    """Refuse before anything waits in a queue what the first job would refuse."""
    from fm2s_stack.cli.denoise_options import write_settings
    from fm2s_stack.job.planning import output_dtype
    from fm2s_stack.job.standing import standing
    from fm2s_stack.job.target import find_target

    target = find_target(output, overwrite=False)
    target.check(stack.path, stack.image.with_dtype(output_dtype(stack, write_settings(options))))
    standing(target)
    target.require_folder()


def _projected(
    stacks: list[Stack], cluster: Cluster, options: dict[str, Any]
) -> tuple[Plan, Cluster]:
    """The largest plan of some inputs, and the cluster with the memory that it takes."""
    from fm2s_stack.slurm.jobs import memory_of_job, memory_of_program

    allowed = options["memory"] or ROOMY
    if cluster.memory and not options["memory"]:
        allowed = memory_of_program(cluster.memory, cluster.gpus)
    plans = [_plan(stack, allowed, cluster, options) for stack in stacks]
    plan = max(plans, key=lambda plan: plan.projected_bytes)
    plan.require_memory()
    memory = cluster.memory or memory_of_job(plan.projected_bytes, cluster.gpus)
    if not cluster.memory:
        click.echo(f"memory of a job: {size(memory)}, by the projection", err=True)
    allowed = plan.projected_bytes if allowed == ROOMY else allowed
    return plan, replace(cluster, memory=memory, allowed=allowed)


def _plan(stack: Stack, allowed: int, cluster: Cluster, options: dict[str, Any]) -> Plan:
    from fm2s_stack.cli.denoise_options import fit_settings, write_settings
    from fm2s_stack.job.planning import plan_stack
    from fm2s_stack.settings import RunSettings

    threads = options["threads"] or cluster.cpus
    run = RunSettings(options["along"], options["device"], allowed, threads)
    fit, trained = fit_settings(options), options["fit_from"] is not None
    return plan_stack(stack, fit, write=write_settings(options), run=run, trained=trained)


def _shared_words(cluster: Cluster, options: dict[str, Any], folder: Path) -> list[str]:
    """Options of every job: those typed, the memory, and page tables where all jobs see them."""
    typed = relayed_words(click.get_current_context(), NOT_FOR_JOBS | {"memory", "cache_dir"})
    cache = _cache_dir(options, folder)
    return [*typed, f"--memory={cluster.allowed}", f"--cache-dir={cache}"]


def _cache_dir(options: dict[str, Any], folder: Path) -> Path:
    """Where page tables are kept: a home folder is not there on the nodes of every cluster."""
    given: Path = options["cache_dir"] or folder / "cache"
    return given.absolute()


def _with_fewer_tasks(cluster: Cluster, most: int, what: str) -> Cluster:
    if cluster.tasks <= most:
        return cluster
    click.echo(f"--tasks {cluster.tasks}: {most} {what}(s) in all, so {most} task(s)", err=True)
    return replace(cluster, tasks=most)


def _bytes_of(source: str) -> int:
    path = Path(source)
    return path.stat().st_size if path.is_file() else 0


def _program(given: str | None) -> list[str]:
    """Words that call fm2s-stack: what was given, else the program we are."""
    if given is not None:
        words = shlex.split(given)
        if not words:
            raise UsageError("--program is empty: leave it out, or name what calls fm2s-stack")
        return words
    beside = Path(sys.executable).with_name("fm2s-stack")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "fm2s_stack"]


def _submit(script: Path) -> None:
    try:
        done = subprocess.run(["bash", str(script)], check=False)
    except FileNotFoundError:
        raise Fm2sError(f"{script}: there is no bash here to submit with") from None
    if done.returncode:
        raise Fm2sError(
            f"{script}: sbatch refused a job, see above; submit where SLURM is, or change the "
            "option it names"
        )
