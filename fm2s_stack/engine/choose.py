"""Where a run happens, by its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices, usable_threads
from fm2s_stack.engine.local import Here
from fm2s_stack.engine.work import Place
from fm2s_stack.errors import UsageError
from fm2s_stack.progress import Progress
from fm2s_stack.settings import RunSettings
from fm2s_stack.stack.base import Stack


@contextmanager
def opened_place(
    run: RunSettings,
    stack: Stack,
    folder: Path | None,
    told: Progress,
    check: Callable[[], None],
) -> Iterator[Place]:
    """The place that settings ask for, for the block.

    Parameters
    ----------
    run
        The settings.
    stack
        What will be read: the workers of a cluster must see it.
    folder
        That they must be able to write, and share; None: they write nothing.
    told
        Told of notes.
    check
        Called a few times a second while a cluster is asked; raises to end that.

    Raises
    ------
    UsageError
        If settings contradict each other.
    ClusterError
        If the cluster, or one of its workers, cannot be used.
    DeviceError
        If there is no such device.
    """
    if run.scheduler is None and run.workers is None:
        yield Here(DevicePool(find_devices(run.device), usable_threads(run.threads)))
        return
    _refuse_contradictions(run)
    from fm2s_stack.engine.connect import opened_cluster

    with opened_cluster(run, stack, folder, told, check) as cluster:
        yield cluster


def _refuse_contradictions(run: RunSettings) -> None:
    if run.scheduler is not None and run.workers is not None:
        raise UsageError("--scheduler and --workers exclude each other: give one")
    option = "--scheduler" if run.workers is None else "--workers"
    if run.threads is not None:
        raise UsageError(f"--threads and {option} exclude each other: workers have their own")
    if run.device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device {run.device}: with {option} expected auto, cpu or cuda, since every worker "
            "has a GPU of its own"
        )
    if run.workers is not None and run.workers < 1:
        raise UsageError(f"--workers {run.workers}: expected 1 or more")
