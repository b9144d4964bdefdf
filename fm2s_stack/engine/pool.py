"""Work in threads that can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from fm2s_stack.progress import Stoppable

POLL = 0.2  #: seconds between looks at whether to stop
GRACE = 4.0  #: seconds that work in flight has to end, once the run is to stop

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_in_threads(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    threads: int,
    told: Stoppable,
    check: Callable[[], None],
) -> list[Result]:
    """Do every task, at most `threads` at a time.

    Parameters
    ----------
    work
        Does a task; reports through `told` every second or so.
    tasks
        In the order they are begun.
    threads
        At work at a time.
    told
        Through which work in flight is stopped.
    check
        Called a few times a second in the calling thread; raises to end the run.

    Returns
    -------
    list
        A result a task, in their order.

    Raises
    ------
    BaseException
        The first of a task, of `check`, or of a signal. Tasks not begun are left; those in
        flight have `GRACE` seconds to end before their next report raises.
    """
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="work") as pool:
        futures: list[Future[Result]] = []
        try:
            # Within the try: a signal while a thread starts leaves it running, unknown to the
            # pool, which would not wait for it but the process at its end.
            futures.extend(pool.submit(work, task) for task in tasks)
            _await(futures, check)
        except BaseException:
            for future in futures:
                future.cancel()
            wait(futures, timeout=GRACE)
            told.stop()
            raise
    return [future.result() for future in futures]


def _await(futures: list[Future[Result]], check: Callable[[], None]) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=POLL, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        check()
