"""Completing an output whose units were done by other runs: ``fm2s-stack seal``."""

from __future__ import annotations

from collections.abc import Callable

from fm2s_stack.job.holding import Holding, held
from fm2s_stack.job.rereading import intact_units
from fm2s_stack.job.sealing import Judge, finish
from fm2s_stack.job.standing import standing, tidy
from fm2s_stack.job.target import Target
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.stopping import Stop
from fm2s_stack.store.frozen import restore_frozen
from fm2s_stack.store.journal import journal_folder


def seal_target(
    target: Target,
    stop: Stop,
    note: Callable[[str], None],
    progress: Progress | None = None,
    judge: Callable[[Holding], Judge | None] | None = None,
) -> tuple[str, ...]:
    """Hold an output, read its units again, and `finish` it; a finished one is left as it is.

    Parameters
    ----------
    target
        The output.
    stop
        Through which a signal ends it early.
    note
        Told when another holder is watched for a while.
    progress
        Told of every file that is read; None: silent.
    judge
        Makes what says whether the result can be trusted, called if the output is to be sealed;
        None: the input is not at hand.

    Returns
    -------
    tuple of str
        What was said.

    Raises
    ------
    OutputLocked
        If a run still works on it.
    Fm2sError
        As `fm2s_stack.job.sealing.finish`.
    """
    if standing(target).state == "finished":
        tidy(target, note)
        return ()
    with held(journal_folder(target.zarr), stop, note) as hold:
        if standing(target).state == "frozen":
            told = progress or Silent()
            put_back(target, told, hold)
            done = list(intact_units(target.zarr, told, hold).values())
            return finish(target, hold, done, None if judge is None else judge(hold))
        return finish(target, hold)


def put_back(target: Target, told: Progress, hold: Holding) -> None:
    """Put back what an output was begun with, where that is damaged.

    Raises
    ------
    OutputError
        If it cannot be written, or is not held any more.
    """
    hold.require()
    for key in restore_frozen(target.zarr):
        told.note(f"{target.zarr}: {key} was damaged, and is put back from its copy")
