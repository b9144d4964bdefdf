"""What runs in the processes of a Dask cluster, called by its workers."""

from __future__ import annotations

import os
import pickle
import platform
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm2s_stack import __version__
from fm2s_stack.engine.allocator import return_large_buffers
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices
from fm2s_stack.errors import ClusterError, Fm2sError, StackError, StoppedEarly
from fm2s_stack.memory import allowed_memory
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.settings import PIXEL_VERSION
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Place, read_part

if TYPE_CHECKING:
    from distributed import Worker

PROBED_ROWS = 64  #: of each plane that is compared
_WAIT = 0.2  # seconds between looks at whether a waiting task is still wanted

_making = threading.Lock()  # a cache of functools makes a thing twice for two threads
_at_work: list[str] = []  # names of the errands whose tasks run in this process


@dataclass(frozen=True, eq=False)
class Errand:
    """What tasks of one kind need beside themselves."""

    name: str  #: unlike any other
    do: Callable[[Any, DevicePool, Progress], Any]  #: does a task
    device: str  #: ``cpu`` or ``cuda``
    slots: int | None  #: that compute at a time in a process; None: the worker's threads
    threads: int | None  #: of them that the plan has room for; None: all
    most: int | None  #: tasks at a time in a process; None: as many as compute
    versions: Mapping[str, str]  #: from `versions`, of whoever sends it


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a task."""

    worker: str  #: address
    result: Any = None  #: what the task gave
    error: Fm2sError | None = None  #: why it gave nothing


@dataclass(frozen=True)
class About:
    """What a worker tells of its process and machine."""

    versions: Mapping[str, str]  #: from `versions`
    host: str  #: name of the machine
    memory: int  #: bytes that are free for it, of which others on the machine think the same
    gpu: str | None  #: identity of its first GPU


@dataclass(frozen=True, eq=False)
class Question:
    """What a worker has to see and be able to do."""

    stack: Stack  #: the input
    places: tuple[Place, ...]  #: planes to compare
    pixels: tuple[str, ...]  #: from `digests`, where the question is asked
    folder: Path | None  #: to be shared and written; None: nothing is written
    nonce: str  #: of the file ``probe-NONCE.json`` in it


def versions() -> dict[str, str]:
    """What must be the same for the same pixels."""
    import torch

    # The end after + tells of CPU or CUDA, which the device does already.
    arithmetic = str(torch.__version__).partition("+")[0]
    return {"fm2s-stack": __version__, "pixel version": str(PIXEL_VERSION), "torch": arithmetic}


def about(device: str) -> About:
    """What this process is; on a GPU it is looked at."""
    return About(versions(), platform.node(), allowed_memory(), _gpu() if device != "cpu" else None)


def perform(errand: Errand, task: object) -> Outcome:
    """Do a task in this worker's thread; errors of ours come back as they are."""
    from distributed import get_worker

    worker = get_worker()
    leash = _Leash(worker, str(worker.get_current_task()))
    return_large_buffers()
    try:
        _require_same(errand.versions)
        pool = _pool(errand.device, errand.slots or worker.state.nthreads)
        pool.bound(errand.threads)
        with _admitted(errand, pool, leash):
            return Outcome(worker.address, result=errand.do(task, pool, leash))
    except Fm2sError as error:
        return Outcome(worker.address, error=error)


def at_work(name: str) -> int:
    """Tasks of an errand that run in this process now."""
    return _at_work.count(name)


def digests(stack: Stack, places: Sequence[Place]) -> tuple[str, ...]:
    """A hash of the first rows of each plane; or nothing where it cannot be read."""
    return tuple(_digest(stack, place) for place in places)


def answer(packed: bytes) -> tuple[str, str | None]:
    """Try what a `Question` asks for.

    Returns
    -------
    complaint
        What is wrong, in words that follow the worker's name; empty if nothing is.
    file
        Name of the file written into the folder.
    """
    question: Question = pickle.loads(packed)
    if digests(question.stack, question.places) != question.pixels:
        return f"does not read the same pixels from {question.stack.path} as this process", None
    if question.folder is None:
        return "", None
    if not (question.folder / f"probe-{question.nonce}.json").is_file():
        return f"does not see {question.folder}, where the output goes, as this process does", None
    name = f"probe-{uuid.uuid4().hex}.json"
    try:
        (question.folder / name).write_text("{}", encoding="ascii")
    except OSError as error:
        return f"cannot write in {question.folder}: {error.strerror or error}", None
    return "", name


class _Leash(Silent):
    """Ends a task that nobody waits for any more: at its next report it is stopped.

    Dask cannot interrupt a thread, but a worker knows which of its tasks were released: when
    the client gave up or is gone, or the scheduler is.
    https://distributed.dask.org/en/stable/worker-state.html
    """

    def __init__(self, worker: Worker, key: str) -> None:
        self._worker, self._key = worker, key

    def advance(self, count: int) -> None:
        """Raise `StoppedEarly` where the result is not wanted."""
        task = self._worker.state.tasks.get(self._key)
        status = self._worker.status.name
        if task is None or task.state != "executing" or status in ("closing", "closed", "failed"):
            raise StoppedEarly("the task was released")


@contextmanager
def _admitted(errand: Errand, pool: DevicePool, leash: _Leash) -> Iterator[None]:
    """Wait until the plan's memory has room for another task in this process."""
    gate = _gate(errand.name, errand.most or pool.slots)
    while not gate.acquire(timeout=_WAIT):
        leash.advance(0)
    _at_work.append(errand.name)
    try:
        yield
    finally:
        _at_work.remove(errand.name)
        gate.release()


def _gate(name: str, most: int) -> threading.Semaphore:
    with _making:
        return _made_gate(name, most)


@lru_cache(maxsize=8)
def _made_gate(name: str, most: int) -> threading.Semaphore:
    return threading.Semaphore(most)


def _pool(device: str, slots: int) -> DevicePool:
    with _making:
        return _made_pool(device, slots)


@lru_cache(maxsize=8)
def _made_pool(device: str, slots: int) -> DevicePool:
    return DevicePool(find_devices(device)[:1], slots)  # the others are other workers'


def _require_same(wanted: Mapping[str, str]) -> None:
    """Refuse to work for another version: workers may join after all were looked at."""
    mine = versions()
    if mine != wanted:
        raise ClusterError(f"a worker came with {mine} where {wanted} are wanted")


def _digest(stack: Stack, place: Place) -> str:
    *_, rows, columns = stack.array.shape
    try:
        part = read_part(stack, place, (0, min(rows, PROBED_ROWS)), (0, columns))
    except (StackError, OSError):
        return ""
    return blake2b(part.tobytes(), digest_size=16).hexdigest()


def _gpu() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return None
    told = torch.cuda.get_device_properties(0)
    return f"{getattr(told, 'uuid', os.environ.get('CUDA_VISIBLE_DEVICES', '0'))}"
