"""A window of tasks in flight on a Dask cluster."""

from __future__ import annotations

import queue
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Generic

from fm2s_stack.engine.crew import POLL, Crew
from fm2s_stack.engine.work import Result, Task, Work
from fm2s_stack.engine.worker import Outcome, perform
from fm2s_stack.errors import ClusterError, DeviceError, Fm2sError, OutputError
from fm2s_stack.progress import Progress

if TYPE_CHECKING:
    from distributed import Future

TRIES = 3  #: times that a task is done before it has failed
MOST_FAILURES = 20  #: failed tasks after which the rest is left
NAMED = 5  #: of them that an error names


class Dispatch(Generic[Task, Result]):
    """Does every task on a crew, as many at a time as it runs, and failed ones again.

    Parameters
    ----------
    crew
        Who does them.
    errand
        Name of the errand, and the packed `Errand`.
    work, tasks
        What to do.
    progress
        Told of every task that is done.
    """

    def __init__(
        self,
        crew: Crew,
        errand: tuple[str, bytes],
        work: Work[Task, Result],
        tasks: Sequence[Task],
        progress: Progress,
    ) -> None:
        self._crew, self._client = crew, crew.client
        self._name, self._work, self._tasks, self._progress = errand[0], work, tasks, progress
        with crew.talking():
            self._errand = self._sent(errand[1])
        self._waiting = deque(range(len(tasks)))
        self._alone: deque[int] = deque()  # at work when a worker died: one of them is why
        self._flying: dict[Future, int] = {}
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._tries: Counter[int] = Counter()
        self._results: dict[int, Result] = {}
        self._failed: dict[int, Fm2sError] = {}
        self._suspected: set[int] = set()  # of killing their worker
        self._shunned: set[str] = set()  # workers whose device failed

    def run(self, check: Callable[[], None]) -> list[Result]:
        """Do them all; parameters, result and errors as `Place.each`.

        Raises
        ------
        ClusterError
            At the end, naming the tasks that failed while the others were done; or when the
            scheduler or every worker is lost.
        OutputError
            If the output cannot be written: that ends the run.
        """
        try:
            while self._waiting or self._flying or self._alone:
                check()
                with self._crew.talking():
                    self._crew.require()
                    self._fill()
                    for future in self._just_ended():
                        self._take(future)
        finally:
            self._abandon()
        if self._failed:
            raise self._failure()
        return [self._results[number] for number in range(len(self._tasks))]

    def _sent(self, packed: bytes) -> Future:
        """The errand as the result of a task.

        Not scattered: data whose only worker dies is lost, a task is done again.
        """
        import pickle

        with warnings.catch_warnings():  # of a graph of more than 10 MB: a long page table
            warnings.simplefilter("ignore", UserWarning)
            return self._client.submit(pickle.loads, packed, key=f"{self._name}-errand")

    def _fill(self) -> None:
        while self._waiting and len(self._flying) < self._crew.slots:
            self._submit(self._waiting.popleft())
        if self._alone and not self._flying:
            self._submit(self._alone.popleft())

    def _submit(self, number: int) -> None:
        others = [m.address for m in self._crew.members if m.address not in self._shunned]
        future = self._client.submit(
            perform,
            self._errand,
            self._tasks[number],
            key=f"{self._name}-{number}-{uuid.uuid4().hex[:8]}",
            resources=self._crew.resources,
            workers=others if self._shunned and others else None,
            allow_other_workers=bool(self._shunned and others),
        )
        self._flying[future] = number
        future.add_done_callback(self._ended.put)

    def _just_ended(self) -> list[Future]:
        """What ended, waiting a moment for the first."""
        ended: list[Future] = []
        with suppress(queue.Empty):
            ended.append(self._ended.get(timeout=POLL))
            while True:
                ended.append(self._ended.get_nowait())
        return ended

    def _take(self, future: Future) -> None:
        number = self._flying.pop(future)
        self._tries[number] += 1
        if future.status == "finished":
            self._take_outcome(number, future.result())
        elif future.status == "error" and (error := future.exception()) is not None:
            self._take_error(number, error)
        elif self._crew.is_connected:
            self._again(number, ClusterError("it was cancelled on the scheduler"))
        else:
            raise self._crew.lost()

    def _take_outcome(self, number: int, outcome: Outcome) -> None:
        if outcome.error is None:
            self._keep(number, outcome.result)
            return
        if isinstance(outcome.error, (DeviceError, ClusterError)):
            self._shunned.add(outcome.worker)
            if all(member.address in self._shunned for member in self._crew.members):
                raise outcome.error
        self._again(number, outcome.error)

    def _keep(self, number: int, result: Result) -> None:
        self._results[number] = result
        self._progress.advance(self._work.amount(self._tasks[number]))

    def _take_error(self, number: int, error: BaseException) -> None:
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker):
            raise error
        if self._work.known is not None and (done := self._work.known(self._tasks[number])):
            self._keep(number, done)
            return
        # Every task of a worker that dies is suspected, most are innocent: now one by one.
        if number not in self._suspected or self._tries[number] < TRIES:
            self._suspected.add(number)
            self._alone.append(number)
            return
        died = "its worker died each time, perhaps for lack of memory or by a limit of it"
        self._failed[number] = ClusterError(died)

    def _again(self, number: int, error: Fm2sError) -> None:
        if self._tries[number] < TRIES:
            self._waiting.appendleft(number)
            return
        if isinstance(error, OutputError):
            raise error
        self._failed[number] = error
        if len(self._failed) >= MOST_FAILURES:
            raise self._failure()

    def _failure(self) -> ClusterError:
        named = [
            f"{self._work.name(self._tasks[number])} ({error})"
            for number, error in sorted(self._failed.items())[:NAMED]
        ]
        more = len(self._failed) - len(named)
        rest = (
            "the others are done"
            if len(self._results) + len(self._failed) == len(self._tasks)
            else "others were left"
        )
        return ClusterError(
            f"{len(self._failed)} of {len(self._tasks)} failed on {self._crew.place}, {rest}: "
            f"{'; '.join(named)}{f'; and {more} more' * bool(more)}. Run the same command again "
            "to do only what is left"
        )

    def _abandon(self) -> None:
        """Release what is in flight, so that workers stop it, and wait for that."""
        with suppress(Exception):  # what ended the run is what matters
            if self._flying and self._crew.is_connected:
                self._client.cancel([*self._flying, self._errand], force=True)
                self._flying.clear()
                self._crew.wait_until_idle(self._name)
        self._errand.release()
