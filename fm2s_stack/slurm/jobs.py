"""The jobs that one output, or a batch of them, takes on a SLURM cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fm2s_stack.errors import UsageError
from fm2s_stack.slurm.words import directive, gibibytes, log_pattern, seconds_of

SEAL_MEMORY = 4 * 2**30  #: bytes; sealing holds a shard and the tables, exporting a few planes
MARGIN = 1.2  #: of --mem over the projection, which is of this process alone
GPU_MEMORY = 4 * 2**30  #: bytes that CUDA's libraries take of the host's memory
LONGEST_NOTICE = 300  #: seconds ahead of the walltime, at most
SHORTEST_NOTICE = 30

#: on what outcome of the jobs before a job starts (sbatch(1), --dependency)
After = Literal["afterok", "afterany"]


@dataclass(frozen=True)
class Cluster:
    """What to ask SLURM for, the same for every job."""

    time: str  #: walltime of a job, in SLURM's form
    tasks: int  #: of the array
    cpus: int  #: of a job
    memory: int  #: bytes to ask for a job; 0: not decided yet
    allowed: int = 0  #: bytes of them that the program may plan with
    gpus: str = ""  #: ``1`` or ``a100:1``; empty: none
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_limit: int | None = None  #: tasks at a time
    more: tuple[str, ...] = ()  #: further options of sbatch, as typed
    setup: tuple[str, ...] = ()  #: lines of shell run first
    seal_partition: str | None = None  #: where no GPU is needed; None: as the others
    notice: int | None = None  #: seconds ahead of the walltime; None: by the walltime

    @property
    def seconds_of_notice(self) -> int:
        """How long before the walltime a job is asked to stop."""
        if self.notice is not None:
            return self.notice
        return min(LONGEST_NOTICE, max(SHORTEST_NOTICE, seconds_of(self.time) // 10))

    @property
    def stop_after(self) -> str:
        """The same for the program's own clock, should SLURM's signal not get through."""
        return f"{seconds_of(self.time) - self.seconds_of_notice}s"


@dataclass(frozen=True)
class Job:
    """One script."""

    name: str  #: of its file and in messages
    about: str  #: one line for people
    directives: tuple[str, ...]  #: lines ``#SBATCH ...``
    words: tuple[str, ...]  #: the command and its options
    operands: tuple[str, ...]  #: what it is called on: paths
    share: str = ""  #: option that takes the share ``i/n`` of a task; empty: not an array
    tasks: int = 1  #: n of the share
    after: tuple[str, After] | None = None  #: the job it waits for, and for what outcome
    setup: tuple[str, ...] = ()  #: lines of shell run first


def job_folder(output: Path) -> Path:
    """Where scripts, logs and page tables of an output go: beside it."""
    return output.with_name(output.name + ".slurm")


def memory_of_job(projected: int, gpus: str) -> int:
    """Bytes to ask for, of a projection of the process."""
    return int(projected * MARGIN) + (GPU_MEMORY if gpus else 0)


def memory_of_program(asked: int, gpus: str) -> int:
    """Bytes the program may plan with where so many are asked for: `memory_of_job` undone.

    Raises
    ------
    UsageError
        If nothing is left.
    """
    left = int((asked - (GPU_MEMORY if gpus else 0)) / MARGIN)
    if left <= 0:
        raise UsageError(f"--mem {asked / 1e9:.1f} GB: expected 1 GB or more, with a GPU 5")
    return left


def stack_jobs(
    cluster: Cluster, program: Sequence[str], options: Sequence[str], ends: tuple[str, str],
    folder: Path,
) -> tuple[Job, ...]:  # fmt: skip
    """Prepare, array and seal of one output.

    Parameters
    ----------
    cluster
        What to ask for.
    program
        Words that call ``fm2s-stack``.
    options
        Of ``denoise``, for every job.
    ends
        Input and output, absolute.
    folder
        Of the logs.

    Raises
    ------
    UsageError
        If SLURM cannot be told one of the names.
    """
    output, setup = ends[1], cluster.setup
    named = _job_name(output)
    denoise = (*program, "denoise", *options, f"--stop-after={cluster.stop_after}")
    return (
        Job(
            name="prepare",
            about="plan and fit; what was fitted is frozen in the output",
            directives=_computing(cluster, "prepare", named, folder),
            words=(*denoise, "--prepare"), operands=ends, setup=setup,
        ),
        Job(
            name="array",
            about=f"denoise, in {cluster.tasks} tasks, each its share of the units",
            directives=_array(cluster, "denoise", named, folder),
            words=denoise, operands=ends, share="--units", tasks=cluster.tasks, setup=setup,
            after=("prepare", "afterok"),
        ),
        Job(
            name="seal",
            about="complete the output, or list what is left and exit with 75",
            directives=_small(cluster, "seal", named, folder),
            words=(*program, "seal", f"--source={ends[0]}"), operands=(output,), setup=setup,
            after=("array", "afterany"),
        ),
    )  # fmt: skip


def batch_jobs(
    cluster: Cluster, program: Sequence[str], options: Sequence[str], ends: tuple[str, str],
    folder: Path, one_fit: bool,
) -> tuple[Job, ...]:  # fmt: skip
    """An array over many recordings, and a report; before them the fit that all share, if so.

    Parameters
    ----------
    cluster, program, folder
        As for `stack_jobs`.
    options
        Of ``batch``, for every task.
    ends
        What names the inputs, and the folder of outputs; absolute.
    one_fit
        Whether all use the networks of the first, or have a fit each.
    """
    named, setup = _job_name(ends[1]), cluster.setup
    stop = f"--stop-after={cluster.stop_after}"
    array = Job(
        name="array",
        about=f"denoise, in {cluster.tasks} tasks, each its share of the recordings",
        directives=_array(cluster, "denoise", named, folder),
        words=(*program, "batch", *options, stop), operands=ends, share="--part",
        tasks=cluster.tasks, setup=setup, after=("first", "afterok") if one_fit else None,
    )  # fmt: skip
    report = Job(
        name="report",
        about="list what is done, failed and left; exits with 75 if something is",
        directives=_small(cluster, "report", named, folder),
        words=(*program, "status"), operands=(ends[1],), setup=setup, after=("array", "afterany"),
    )  # fmt: skip
    if not one_fit:
        return array, report
    fit = Job(
        name="first",
        about="denoise the first recording, whose networks all others use",
        directives=_computing(cluster, "first", named, folder),
        words=(*program, "batch", *options, stop, "--first"), operands=ends, setup=setup,
    )  # fmt: skip
    return fit, array, report


def _computing(cluster: Cluster, step: str, name: str, folder: Path) -> tuple[str, ...]:
    log = log_pattern(folder, f"{step}-%j.log")
    return _directives(cluster, f"{step}-{name}", log, _computing_needs(cluster))


def _array(cluster: Cluster, step: str, name: str, folder: Path) -> tuple[str, ...]:
    at_a_time = "" if cluster.array_limit is None else f"%{cluster.array_limit}"
    tasks = {"array": f"1-{cluster.tasks}{at_a_time}"}
    log = log_pattern(folder, f"{step}-%A_%a.log")
    return _directives(cluster, f"{step}-{name}", log, {**_computing_needs(cluster), **tasks})


def _small(cluster: Cluster, step: str, name: str, folder: Path) -> tuple[str, ...]:
    partition = cluster.seal_partition or cluster.partition
    cluster = replace(cluster, partition=partition, constraint=None)
    needs = {"cpus-per-task": "1", "mem": gibibytes(SEAL_MEMORY)}
    return _directives(cluster, f"{step}-{name}", log_pattern(folder, f"{step}-%j.log"), needs)


def _computing_needs(cluster: Cluster) -> dict[str, str]:
    gpus = {"gres": f"gpu:{cluster.gpus}"} if cluster.gpus else {}
    return {
        "cpus-per-task": str(cluster.cpus),
        "mem": gibibytes(cluster.memory),
        **gpus,
        # To the script's own process alone, which is the program: it is started by exec.
        "signal": f"B:USR1@{cluster.seconds_of_notice}",
    }


def _directives(cluster: Cluster, name: str, log: str, needs: Mapping[str, str]) -> tuple[str, ...]:
    asked = {
        "account": cluster.account,
        "partition": cluster.partition,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
    }
    told = {
        "job-name": name,
        "output": log,
        "open-mode": "append",  # what a run said before it was requeued stays
        "time": cluster.time,
        "nodes": "1",
        "ntasks": "1",
        **needs,
        **{key: value for key, value in asked.items() if value is not None},
    }
    lines = [directive(key, value) for key, value in told.items()]
    return (*lines, *(f"#SBATCH {option}" for option in cluster.more))


def _job_name(path: str) -> str:
    return re.sub(r"[^\w.-]+", "_", Path(path).name)
