"""Running a plan in this process: a few threads, so that reading, computing and writing overlap."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.engine.unit import Job, UnitRecord, run_unit
from fm2s_stack.plan import Plan
from fm2s_stack.progress import Progress, Stoppable


def run_local(
    job: Job, plan: Plan, devices: DevicePool, progress: Progress
) -> tuple[UnitRecord, ...]:
    """Run every unit of a plan; at most ``plan.workers`` are in flight.

    Returns
    -------
    tuple of UnitRecord
        One a unit, in the order of the plan.

    Raises
    ------
    Fm2sError
        The first error of a unit; units not started are left, those in flight are stopped.
    """
    told = Stoppable(progress)
    with ThreadPoolExecutor(plan.workers, thread_name_prefix="unit") as threads:
        futures = [threads.submit(run_unit, job, unit, devices, told) for unit in plan.units]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [f for f in futures if f.done() and f.exception()]
        except BaseException:  # an interrupt of the waiting thread
            _abandon(futures, told)
            raise
        if failed:
            _abandon(futures, told)
    if failed:
        raise failed[0].exception() or AssertionError("a failed unit has an error")
    return tuple(future.result() for future in futures)


def _abandon(futures: list[Future[UnitRecord]], told: Stoppable) -> None:
    """Start no further unit, and stop those in flight at their next plane."""
    told.stop()
    for future in futures:
        future.cancel()
