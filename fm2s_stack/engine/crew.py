"""The workers of a Dask cluster, as its scheduler tells of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fm2s_stack.engine.worker import at_work
from fm2s_stack.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

GPU = "GPU"  #: the resource that workers with a GPU declare, a slot for each task at a time
REFRESH = 2.0  #: seconds between questions to the scheduler
PATIENCE = 60.0  #: seconds without any worker, after which a run ends
GRACE = 5.0  #: seconds that tasks in flight have to end, once they were released
POLL = 0.2  #: seconds between looks at whether to stop


@dataclass(frozen=True)
class Member:
    """A worker."""

    address: str  #: where it listens
    name: str  #: as its scheduler knows it
    threads: int  #: tasks it runs at a time
    gpu_slots: int  #: of the resource ``GPU``
    memory: int  #: bytes, above which its nanny would end it; 0: no bound

    @classmethod
    def of(cls, address: str, told: Mapping[str, Any]) -> Member:
        """From what the scheduler tells."""
        slots = int((told.get("resources") or {}).get(GPU, 0))
        limit = int(told.get("memory_limit") or 0)
        return cls(address, str(told.get("name")), int(told["nthreads"]), slots, limit)

    @property
    def text(self) -> str:
        """How a message names it."""
        named = "" if self.name == self.address else f"{self.name} at "
        return f"worker {named}{self.address}"


class Crew:
    """Those workers of a cluster that take part.

    Parameters
    ----------
    client
        Connected.
    place
        The scheduler, in words.
    """

    def __init__(self, client: Client, place: str) -> None:
        self.client, self.place = client, place
        self.device = "cpu"
        self._found: tuple[Member, ...] = ()
        self._looked = -REFRESH
        self._last_seen = time.monotonic()

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is there now, asked every few seconds.

        Raises
        ------
        ClusterError
            If the scheduler is gone.
        """
        if time.monotonic() - self._looked >= REFRESH:
            self._found, self._looked = tuple(self._ask()), time.monotonic()
        return tuple(m for m in self._found if m.gpu_slots or not self.on_gpu)

    @property
    def on_gpu(self) -> bool:
        """Whether only workers that declare a GPU take part."""
        return self.device != "cpu"

    @property
    def slots(self) -> int:
        """Tasks that run at a time, on all of them together."""
        own = [min(m.threads, m.gpu_slots) if self.on_gpu else m.threads for m in self.members]
        return sum(own)

    @property
    def resources(self) -> dict[str, float] | None:
        """What a task asks for."""
        return {GPU: 1} if self.on_gpu else None

    def require(self) -> None:
        """Refuse to wait for ever.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or there was no worker for a minute.
        """
        if self.members:
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > PATIENCE:
            raise ClusterError(
                f"{self.place} has had no worker for {PATIENCE:.0f} s; what was finished is kept: "
                "start workers and run the same command again to continue"
            )

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Raise `lost` where the scheduler goes in the middle of the block."""
        from distributed.comm import CommClosedError

        try:
            yield
        except (CommClosedError, CancelledError) as error:
            raise self.lost() from error

    def lost(self) -> ClusterError:
        """The error of a scheduler that is gone."""
        return ClusterError(
            f"the connection to {self.place} was lost; what was finished is kept: run the same "
            "command again to continue, once a scheduler is there"
        )

    def run_each(self, members: Sequence[Member], function: Callable[[], Any]) -> dict[Member, Any]:
        """Call a short function in each worker's event loop, beside its tasks."""
        addresses = [member.address for member in members]
        with self.talking():
            found = self.client.run(function, workers=addresses, on_error="return")
        return {member: found.get(member.address) for member in members}

    def wait_until_idle(self, errand: str) -> None:
        """Wait until no released task of an errand runs any more, or for `GRACE` seconds.

        A task that would still write while another run may begin has the same bytes to
        write, but it is better not there.
        """
        end = time.monotonic() + GRACE
        while self.is_connected and time.monotonic() < end:
            if not any(self.client.run(at_work, errand, on_error="ignore").values()):
                return
            time.sleep(POLL)

    def ask_each(
        self,
        members: Sequence[Member],
        function: Callable[..., Any],
        argument: object,
        check: Callable[[], None],
        patience: float,
    ) -> dict[Member, Any]:
        """Call a function once on each worker; an exception stands for what it raised.

        Raises
        ------
        ClusterError
            If one is lost or does not answer within `patience` seconds, or the scheduler is gone.
        """
        asked = {
            member: self.client.submit(
                function, argument, pure=False, workers=[member.address], priority=100
            )
            for member in members
        }
        end = time.monotonic() + patience
        while waited := [m for m, future in asked.items() if not future.done()]:
            check()
            gone = [member for member in waited if member not in self.members]
            if gone or time.monotonic() > end:
                what = "was lost" if gone else "did not answer"
                raise ClusterError(
                    f"{(gone or waited)[0].text} {what} when it was tried; see its log, or run the "
                    "same command again without it"
                )
            time.sleep(POLL / 4)
        return {member: self._told(future) for member, future in asked.items()}

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there."""
        return str(self.client.status) == "running"

    def _told(self, future: Any) -> Any:  # noqa: ANN401 - distributed.Future
        if future.status == "finished":
            with self.talking():
                return future.result()
        if future.status == "error":
            return future.exception()
        raise self.lost()

    def _ask(self) -> list[Member]:
        if not self.is_connected:
            raise self.lost()
        with self.talking():
            told = self.client.scheduler_info(n_workers=-1)["workers"]
        return [Member.of(address, worker) for address, worker in told.items()]
