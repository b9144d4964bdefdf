"""Doing tasks on a Dask cluster, local or any that runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fm2s_stack.engine.crew import Crew
from fm2s_stack.engine.dispatch import Dispatch
from fm2s_stack.engine.shipping import pack
from fm2s_stack.engine.work import Result, Task, Work
from fm2s_stack.engine.worker import Errand, versions
from fm2s_stack.progress import Progress
from fm2s_stack.settings import RunSettings


@dataclass(frozen=True)
class Cluster:
    """The `Place` that is a Dask cluster. Failed tasks are done again, elsewhere if need be."""

    crew: Crew  #: its workers
    slots: int | None  #: that compute at a time in a process; None: the worker's threads
    memory: int  #: bytes that one process may use

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: the kind of device, the same on all workers."""
        return self.crew.device

    @property
    def processes(self) -> int:
        """Workers that take part now."""
        return len(self.crew.members)

    @property
    def where(self) -> str:
        """How many workers there are, and what they compute on."""
        count = self.processes
        return f"{count} worker{'s' * (count != 1)} ({self.device})"

    def settle(self, run: RunSettings) -> RunSettings:
        """The settings with what one worker may use."""
        threads = self.slots or max((m.threads for m in self.crew.members), default=1)
        return replace(run, memory=self.memory, threads=threads, device=self.device)

    def each(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        progress: Progress,
        check: Callable[[], None],
    ) -> list[Result]:
        """Do every task, as `Place` and `Dispatch` say."""
        name = f"fm2s-{uuid.uuid4().hex[:12]}"
        errand = Errand(name, work.do, self.device, self.slots, work.threads, work.most, versions())
        return Dispatch(self.crew, (name, pack(errand)), work, tasks, progress).run(check)
