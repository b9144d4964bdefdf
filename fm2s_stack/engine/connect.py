"""Opening a Dask cluster: one that runs, or a local one; and looking at its workers."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm2s_stack.engine.cluster import Cluster
from fm2s_stack.engine.crew import GPU, Crew
from fm2s_stack.engine.devices import FEEDING, find_devices, usable_threads
from fm2s_stack.engine.inspection import await_workers, choose_device, free_memory, inspect
from fm2s_stack.errors import ClusterError, UsageError
from fm2s_stack.memory import memory_of_worker
from fm2s_stack.progress import Progress
from fm2s_stack.settings import RunSettings
from fm2s_stack.stack.base import Stack

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

ANSWER = 15.0  #: seconds until a scheduler that does not answer is taken for none
IN_FLIGHT = 2  #: tasks at a time in a local process: one computes, another reads or writes
DEATHS = 0  #: of local workers that Dask lets a task survive: we ourselves do it again


#: of a scheduler, or the file that it wrote
_ADDRESS = re.compile(r"\w+://.+|.+:\d+|.+\.json")


@contextmanager
def opened_cluster(
    run: RunSettings,
    stack: Stack,
    folder: Path | None,
    told: Progress,
    check: Callable[[], None],
) -> Iterator[Cluster]:
    """A cluster whose workers were looked at; parameters and errors as `opened_place`."""
    with _quiet(), _connected(run, told) as (client, place):
        crew = Crew(client, place)
        await_workers(crew, run.workers or 1, told, check)
        crew.device = choose_device(crew, run.device)
        found = inspect(crew, stack, folder, told, check)
        if run.workers is None:
            yield Cluster(crew, None, run.memory or free_memory(found))
        else:
            slots = None if crew.on_gpu else 1
            yield Cluster(crew, slots, memory_of_worker(run.memory, run.workers))


@contextmanager
def _connected(run: RunSettings, told: Progress) -> Iterator[tuple[Client, str]]:
    """A client, and the words for its scheduler."""
    if run.workers is None:
        with _client(str(run.scheduler)) as client:
            address = client.scheduler.address
            told.note(f"connected to the Dask scheduler {address}{_dashboard(client)}")
            yield client, f"the scheduler {run.scheduler}"
        return
    with _local_cluster(run.workers, run.device) as cluster, _client(cluster) as client:
        count = f"{run.workers} local worker{'s' * (run.workers > 1)}"
        told.note(f"started {count} at {client.scheduler.address}{_dashboard(client)}")
        yield client, "the local cluster"


@contextmanager
def _client(address: str | SpecCluster) -> Iterator[Client]:
    from distributed import Client

    if isinstance(address, str) and not _ADDRESS.fullmatch(address):
        raise UsageError(f"--scheduler {address}: expected an address such as tcp://host:8786")
    given: dict[str, Any] = {"address": address}
    if isinstance(address, str) and address.endswith(".json"):
        given = {"scheduler_file": _required(address)}
    try:
        client = Client(**given, timeout=ANSWER, set_as_default=False, name="fm2s-stack")
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}); start one with "
            "dask scheduler, or give the address that it printed"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"--scheduler {address}: {error}; expected an address such as tcp://host:8786"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=2)


def _required(file: str) -> str:
    if not Path(file).is_file():  # distributed would wait for it
        raise ClusterError(f"--scheduler {file}: there is no such scheduler file")
    return file


@contextmanager
def _local_cluster(workers: int, device: str) -> Iterator[SpecCluster]:
    """Processes of this machine: one a GPU, or so many on the CPU."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = _gpus(workers, device)
    common = {
        "nthreads": IN_FLIGHT,
        "memory_limit": 0,  # the plan bounds it; a nanny's limit would kill what the plan allows
        "host": "127.0.0.1",
        "dashboard": False,
        "preload": ["fm2s_stack.engine.preload"],
        "silence_logs": logging.CRITICAL,
    }
    spec = {
        number: {"cls": Nanny, "options": {**common, **_gpu_options(gpus, number, workers)}}
        for number in range(workers)
    }
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    if find_spec("bokeh"):
        options.update(dashboard=True, dashboard_address="127.0.0.1:0")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}),
        SpecCluster(
            workers=spec,
            scheduler={"cls": Scheduler, "options": options},
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _gpus(workers: int, device: str) -> list[str]:
    """What CUDA_VISIBLE_DEVICES is to be for each worker; empty: the CPU.

    Raises
    ------
    UsageError
        If there are fewer GPUs than workers.
    """
    if find_devices(device) == ("cpu",):
        return []
    import torch

    count = torch.cuda.device_count()
    if workers > count:
        raise UsageError(
            f"--workers {workers}: this machine has {count} GPU{'s' * (count != 1)}, one for each "
            f"worker; give at most {count}, or --device cpu"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",") if visible else [str(number) for number in range(count)]


def _gpu_options(gpus: list[str], number: int, workers: int) -> dict[str, Any]:
    """What a worker with a GPU gets; its share of the cores feeds it."""
    if not gpus:
        return {}
    threads = max(IN_FLIGHT, min(1 + FEEDING, usable_threads() // workers))
    return {
        # Set in the process before it imports torch, which looks at it once.
        "env": {"CUDA_VISIBLE_DEVICES": gpus[number]},
        "nthreads": threads,
        "resources": {GPU: threads},
    }


def _dashboard(client: Client) -> str:
    """Where the dashboard is, if the scheduler has one: it needs the package bokeh there."""
    services = client.scheduler_info(n_workers=0).get("services") or {}
    link = client.dashboard_link if "dashboard" in services else None
    return f", dashboard {link}" if link else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log off the terminal: what matters of it is in our notes and errors."""
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr(level=logging.CRITICAL):
        yield
