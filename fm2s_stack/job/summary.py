"""What a run did and cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fm2s_stack.engine.devices import device_kind
from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.memory import peak_memory
from fm2s_stack.plan import Plan


@dataclass(frozen=True)
class Summary:
    """What a run did and cost."""

    output: str  #: what was written
    source: str  #: what was read
    axes: str  #: axes of the output
    shape: tuple[int, ...]  #: lengths along them
    dtype: str  #: pixel type of the output
    planes: int  #: planes of the output
    units: int  #: units they were cut into
    units_done: int  #: units that are done by now
    units_before: int  #: units that earlier runs had done
    device: str  #: where it was computed
    fit_seconds: float  #: training, in this run
    apply_seconds: float  #: reading, denoising and writing, in this run
    total_seconds: float  #: from the plan to the end, in this run
    planes_per_second: float  #: of the apply step in this run, disk to disk
    loss: tuple[float, ...]  #: last training loss of each network, channel by channel
    clipped: int  #: pixels clipped to the range of the output's dtype
    projected_bytes: int  #: peak memory that was projected; 0 where nothing was left to do
    trust: tuple[str, ...]  #: what measures without truth say of the result, a line a channel;
    #: empty before it is complete, and where the input was not at hand
    peak_bytes: int | None  #: peak resident memory of the process, where it can be told


@dataclass
class Clock:
    """Seconds of the steps of a run."""

    began: float = field(default_factory=time.perf_counter)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """End a step."""
        self.laps[name] = time.perf_counter() - self.began - sum(self.laps.values())

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began


def summary_of(
    wanted: Wanted,
    plan: Plan,
    device: str,
    denoisers: Sequence[AnyDenoiser],
    records: Sequence[UnitRecord],
    before: int,
    clock: Clock,
    trust: tuple[str, ...],
) -> Summary:
    """The summary of a run.

    Parameters
    ----------
    wanted, plan, denoisers
        What was run.
    device
        Where.
    records
        Of every unit that is done, by this and earlier runs.
    before
        How many of them are of earlier runs.
    clock
        With the laps ``fit`` and ``apply``.
    trust
        What was said when the output was sealed.
    """
    seconds = max(clock.laps["apply"], 1e-9)
    own = len(records) - before
    planes = round(wanted.image.planes * own / len(plan.units))
    loss = [f for denoiser in denoisers for f in denoiser.loss]
    return Summary(
        **_described(wanted),
        units=len(plan.units),
        units_done=len(records),
        units_before=before,
        device=device_kind(device),
        fit_seconds=round(clock.laps["fit"], 3),
        apply_seconds=round(seconds, 3),
        total_seconds=round(clock.total, 3),
        planes_per_second=round(planes / seconds, 2),
        loss=tuple(loss or (f for record in records for f in record.loss)),
        clipped=sum(record.clipped for record in records),
        projected_bytes=plan.projected_bytes,
        trust=trust,
        peak_bytes=peak_memory(),
    )


def finished_summary(wanted: Wanted, told: Mapping[str, Any]) -> Summary:
    """The summary of an output that was finished before, from its provenance."""
    units = int(told.get("units") or 0)
    return Summary(
        **_described(wanted),
        units=units,
        units_done=units,
        units_before=units,
        device=str(told.get("device")),
        fit_seconds=0.0,
        apply_seconds=0.0,
        total_seconds=0.0,
        planes_per_second=0.0,
        loss=(),
        clipped=int(told.get("clipped") or 0),
        projected_bytes=0,
        trust=tuple(told.get("trust") or ()),
        peak_bytes=peak_memory(),
    )


def _described(wanted: Wanted) -> dict[str, Any]:
    return {
        "output": str(wanted.target.path),
        "source": wanted.stack.path,
        "axes": wanted.image.axes,
        "shape": wanted.image.real_shape,
        "dtype": wanted.image.dtype.name,
        "planes": wanted.image.planes,
    }
