"""From jobs to text: a script each, and the one that submits them in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fm2s_stack.slurm.jobs import Job
from fm2s_stack.slurm.words import bash_command, bash_word

SUBMIT = "submit.sh"


def script_text(job: Job) -> str:
    """The script of a job, to be given to ``sbatch``."""
    lines = ["#!/bin/bash", f"# {job.name}: {job.about}.", *job.directives, ""]
    if job.setup:
        lines += ["set -e", *job.setup, ""]
    lines += [
        "# exec: SLURM's signals reach the program, not a shell that waits for it.",
        _exec(job),
    ]
    return "\n".join(lines) + "\n"


def submit_text(jobs: Sequence[Job], folder: Path, status: Sequence[str]) -> str:
    """A script that submits the scripts of a folder, each to start after the one before.

    Parameters
    ----------
    jobs
        In their order.
    folder
        Where their scripts lie, and their logs go.
    status
        The command that shows how far the work is.
    """
    return _submission(jobs, folder, status, lambda job: f' "$folder"/{job.name}.sh)')


def document_text(jobs: Sequence[Job], folder: Path, status: Sequence[str]) -> str:
    """`submit_text` with the scripts in it: one document to read, keep or give to bash."""

    def inline(job: Job) -> str:
        end = f"END_OF_{job.name.upper()}"
        return f" <<'{end}'\n{script_text(job)}{end}\n)"

    return _submission(jobs, folder, status, inline)


def write_scripts(jobs: Sequence[Job], folder: Path, status: Sequence[str]) -> Path:
    """Write a script a job and ``submit.sh`` into a folder, which is made.

    Returns
    -------
    Path
        ``submit.sh``.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        (folder / f"{job.name}.sh").write_text(script_text(job), encoding="utf-8")
    submit = folder / SUBMIT
    submit.write_text(submit_text(jobs, folder, status), encoding="utf-8")
    return submit


def _exec(job: Job) -> str:
    command = "exec " + bash_command([*job.words])
    share = [f'{job.share}="$SLURM_ARRAY_TASK_ID/{job.tasks}"'] if job.share else []
    return " \\\n  ".join([command, *share, "--", *map(bash_word, job.operands)])


def _submission(
    jobs: Sequence[Job], folder: Path, status: Sequence[str], given: Callable[[Job], str]
) -> str:
    parts = [
        "#!/bin/bash",
        "# Submits to SLURM: " + ", then ".join(job.name for job in jobs) + ".",
        "# Run it again to continue what was stopped, cancelled or lost.",
        "set -euo pipefail",
        f"folder={bash_word(str(folder))}  # of the logs",
        'mkdir -p "$folder"',
    ]
    for job in jobs:
        parts += ["", f"# {job.name}: {job.about}", _submitting(job) + given(job)]
    names = " ".join(f"{job.name} ${{{job.name}%%;*}}" for job in jobs)
    ids = ",".join(f"${{{job.name}%%;*}}" for job in jobs)
    parts += [
        "",
        f'echo "submitted: {names}"',
        f'echo "watch:     squeue --jobs={ids}"',
        'echo "logs:      $folder"',
        f'echo "progress:  "{bash_word(" ".join(map(bash_word, status)))}',
    ]
    return "\n".join(parts) + "\n"


def _submitting(job: Job) -> str:
    waiting = ""
    if job.after is not None:
        before, outcome = job.after
        # Without the second a job whose condition can never hold stays in the queue for ever.
        waiting = f' --dependency={outcome}:"${{{before}%%;*}}" --kill-on-invalid-dep=yes'
    return f"{job.name}=$(sbatch --parsable{waiting}"
