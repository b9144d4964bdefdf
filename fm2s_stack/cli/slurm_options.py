"""The options of ``fm2s-stack slurm`` that say what to ask SLURM for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.values import Bytes
from fm2s_stack.errors import UsageError

if TYPE_CHECKING:
    from fm2s_stack.slurm.jobs import Cluster

_DECIDED = ("array", "dependency", "parsable", "wrap", "output", "time", "mem", "signal")

CLUSTER_OPTIONS = (
    click.option("--tasks", type=click.IntRange(min=1), default=1, show_default=True,
                 help="Tasks of the array."),
    click.option("--time", required=True, help="Walltime of a job, as SLURM writes it: 4:00:00."),
    click.option("--cpus-per-task", "cpus", type=click.IntRange(min=1), default=4,
                 show_default=True, help="Cores of a job."),
    click.option("--gpus", metavar="[TYPE:]1", default="", help="GPU of a job."),
    click.option("--mem", type=Bytes(), help="Memory of a job  [default: by the projection]"),
    click.option("--account", help="As for sbatch."),
    click.option("--partition", help="As for sbatch."),
    click.option("--qos", help="As for sbatch."),
    click.option("--constraint", help="As for sbatch."),
    click.option("--seal-partition", help="Where the last job runs, which needs no GPU."),
    click.option("--array-limit", type=click.IntRange(min=1), help="Tasks at a time."),
    click.option("--sbatch", "more", multiple=True, metavar="OPTION",
                 help="Further option of sbatch, such as --sbatch=--mail-type=END."),
    click.option("--setup", multiple=True, metavar="LINE",
                 help="Line of shell run first, such as 'module load cuda'."),
    click.option("--signal", "notice", type=click.IntRange(min=1), metavar="SECONDS",
                 help="How long before the walltime jobs stop  [default: a tenth, 30 to 300]"),
)  # fmt: skip


def cluster_of(options: dict[str, Any]) -> Cluster:
    """What to ask SLURM for; the memory is still to be decided where ``--mem`` was not given.

    Raises
    ------
    UsageError
        If an option is one that SLURM would refuse, or that the scripts need for themselves.
    """
    from fm2s_stack.slurm.jobs import Cluster
    from fm2s_stack.slurm.words import seconds_of

    cluster = Cluster(
        time=options["time"].strip(),
        tasks=options["tasks"],
        cpus=options["cpus"],
        memory=options["mem"] or 0,
        gpus=_gpus(options["gpus"]),
        account=options["account"],
        partition=options["partition"],
        qos=options["qos"],
        constraint=options["constraint"],
        seal_partition=options["seal_partition"],
        array_limit=options["array_limit"],
        more=tuple(map(_sbatch_option, options["more"])),
        setup=options["setup"],
        notice=options["notice"],
    )
    if cluster.seconds_of_notice >= seconds_of(cluster.time):
        raise UsageError(
            f"--signal {cluster.seconds_of_notice}: that is all of --time {cluster.time}, "
            "expected less"
        )
    return cluster


def _gpus(given: str) -> str:
    if given in ("", "0"):
        return ""
    if re.fullmatch(r"(?:[\w.-]+:)?1", given) is None:
        raise UsageError(
            f"--gpus {given}: expected 1, or a type and 1 such as a100:1; a task uses one GPU, "
            "for more of them raise --tasks"
        )
    return given


def _sbatch_option(given: str) -> str:
    if not re.fullmatch(r"-[^\x00-\x1f]+", given):
        raise UsageError(
            f"--sbatch {given!r}: expected one option of sbatch, such as --mail-type=END"
        )
    name = given.lstrip("-").partition("=")[0].partition(" ")[0]
    if name in _DECIDED:
        raise UsageError(f"--sbatch {given}: the scripts decide --{name}; leave it out")
    return given
