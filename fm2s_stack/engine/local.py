"""Running a plan in this process: a few threads, so that reading, computing and writing overlap."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from fm2s_stack.engine.devices import DevicePool
from fm2s_stack.engine.unit import Job, UnitRecord, run_unit
from fm2s_stack.plan import Plan
from fm2s_stack.progress import Progress


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
        The first error of a unit; units not started are left, those in flight finish.
    """
    with ThreadPoolExecutor(plan.workers, thread_name_prefix="unit") as threads:
        futures = [threads.submit(run_unit, job, unit, devices, progress) for unit in plan.units]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # an interrupt of the waiting thread
            _abandon(futures)
            raise
        failed = [f for f in futures if f.done() and not f.cancelled() and f.exception()]
        if failed:
            _abandon(futures)
    if failed:
        error = failed[0].exception()
        assert error is not None
        raise error
    return tuple(future.result() for future in futures)


def _abandon(futures: list[Future[UnitRecord]]) -> None:
    for future in futures:
        future.cancel()
