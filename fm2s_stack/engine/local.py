"""Doing tasks in this process: a few threads, so that reading, computing, writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fm2s_stack.engine.allocator import return_large_buffers
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.engine.work import Result, Task, Work
from fm2s_stack.progress import Progress, Stoppable
from fm2s_stack.settings import RunSettings


@dataclass(frozen=True)
class Here:
    """The `Place` that is this process. The first error of a task ends the run."""

    devices: DevicePool  #: where to compute
    processes: int = 1  #: this one

    @property
    def device(self) -> str:
        """``cpu``, or the GPUs as in ``cuda:0,cuda:1``."""
        return ",".join(self.devices.devices)

    @property
    def where(self) -> str:
        """The device's name."""
        return ", ".join(self.devices.devices)

    def settle(self, run: RunSettings) -> RunSettings:
        """The settings with the devices that there are."""
        return replace(run, device=self.device)

    def each(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        progress: Progress,
        check: Callable[[], None],
    ) -> list[Result]:
        """Do every task, as `Place` says; those not begun are left when one fails."""
        told = Stoppable(progress)
        return_large_buffers()
        self.devices.bound(work.threads)

        def do(task: Task) -> Result:
            return work.do(task, self.devices, told)

        return run_in_threads(do, tasks, work.most or self.devices.slots, told, check)
