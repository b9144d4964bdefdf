"""What is done many times over, and the places that do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.progress import Progress
from fm2s_stack.settings import RunSettings

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """One kind of task, and how it is told of."""

    do: Callable[[Task, DevicePool, Progress], Result]  #: does a task; pickles, as tasks do
    amount: Callable[[Task], int]  #: things of the running step that a task is
    name: Callable[[Task], str]  #: a task in words, for errors
    most: int | None = None  #: tasks at a time in one process; None: as many as compute
    threads: int | None = None  #: that compute at a time in one process on the CPU, at most;
    #: None: all that were given
    known: Callable[[Task], Result | None] | None = None  #: the result of a task that was done
    #: although its worker died before it told so; None: that leaves no trace


class Place(Protocol):
    """Where tasks are done."""

    @property
    def device(self) -> str:
        """``cpu``, ``cuda``, or the GPUs as in ``cuda:0,cuda:1``."""

    @property
    def where(self) -> str:
        """The place in words, after "on"."""

    @property
    def processes(self) -> int:
        """How many processes compute, each with the memory of a plan."""

    def settle(self, run: RunSettings) -> RunSettings:
        """The settings with what one process here may use, for the plan."""

    def each(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        progress: Progress,
        check: Callable[[], None],
    ) -> list[Result]:
        """Do every task.

        Parameters
        ----------
        work, tasks
            What to do, in the order they are begun.
        progress
            Told what is done.
        check
            Called a few times a second in the calling thread; raises to end the run.

        Returns
        -------
        list
            A result a task, in their order.

        Raises
        ------
        StoppedEarly
            Of `check`, when what was in flight has ended or been abandoned.
        Fm2sError
            If a task fails. What was finished stays so.
        """
