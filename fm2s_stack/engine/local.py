"""Running units in this process: a few threads, so that reading, computing, writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.engine.unit import Job, run_unit
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress, Stoppable


def run_local(
    job: Job,
    units: Sequence[Unit],
    workers: int,
    devices: DevicePool,
    progress: Progress,
    check: Callable[[], None],
) -> list[UnitRecord]:
    """Run units; at most `workers` are in flight.

    Parameters
    ----------
    job, units
        What to do, in the order they are begun.
    workers
        Units in flight at a time.
    devices
        Where to compute.
    progress
        Told of every plane.
    check
        Called a few times a second; raises to stop the run.

    Returns
    -------
    list of UnitRecord
        One a unit, in the order given.

    Raises
    ------
    Fm2sError
        The first error of a unit; units not started are left.
    StoppedEarly
        Of `check`, when those in flight have ended or been abandoned.
    """
    told = Stoppable(progress)

    def run(unit: Unit) -> UnitRecord:
        return run_unit(job, unit, devices, told)

    return run_in_threads(run, units, workers, told, check)
