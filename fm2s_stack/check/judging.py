"""Whether a result can be trusted, where another program than that of its units seals it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fm2s_stack.check.recorded import difference_to, open_source, select_recorded
from fm2s_stack.errors import StackError, UsageError
from fm2s_stack.job.sealing import Judge
from fm2s_stack.job.target import Target
from fm2s_stack.job.trust import measure_trust
from fm2s_stack.store.frozen import read_begun


def judge_by(
    target: Target,
    source: str | Path,
    note: Callable[[str], None],
    check: Callable[[], None],
) -> Judge | None:
    """What compares a result with its input before it is sealed.

    Parameters
    ----------
    target
        The output, of which every unit is done.
    source
        Its input.
    note
        Told why there is none.
    check
        Called every second or so; raises to stop.

    Returns
    -------
    callable or None
        None where the input cannot be opened or is another one: the output is sound without.
    """
    told = read_begun(target.zarr)
    try:
        stack = open_source(told, source, None)
        other = difference_to(told, stack)
        if not other:
            selected = select_recorded(told, stack)
            along = told["settings"]["run"]["along"]
            return partial(measure_trust, selected, target.zarr, along, check=check)
        reason = f"{source} {other}"
    except (StackError, UsageError) as error:
        reason = str(error)
    note(f"whether the result can be trusted is not measured: {reason}")
    return None
