"""Comparing an output with its input: identity, checksums of what units read, planes again."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.check.findings import Plane, SourceCheck
from fm2s_stack.check.recorded import difference_to, open_source, recorded_wanted, select_recorded
from fm2s_stack.check.sealed import Row
from fm2s_stack.engine.compute import compute_unit
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices, usable_threads
from fm2s_stack.engine.job import AnyDenoiser, Job
from fm2s_stack.engine.pool import run_in_threads
from fm2s_stack.engine.run import name_unit
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.errors import OutputError, UsageError
from fm2s_stack.image import CANONICAL_AXES, Shape5
from fm2s_stack.job.deciding import settle_device
from fm2s_stack.job.reload import load_frozen
from fm2s_stack.job.sameness import places_text, unlike_units
from fm2s_stack.job.target import Target
from fm2s_stack.job.wanted import Wanted
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress, Stoppable
from fm2s_stack.settings import Precision, RunSettings
from fm2s_stack.store.journal import Journal
from fm2s_stack.store.omezarr import OutputLayout
from fm2s_stack.store.provenance import package_versions

LEVELS = 4096  #: of the range that other arithmetic may change by one
#: Grey levels of so many that another kind of device may change where sums are less exact.
ALLOWED: Mapping[Precision, int] = {"float32": 1, "tf32": 4, "bf16": 64}
NOT_WHOLE = "no plane with all that it needs is whole"


@dataclass(frozen=True)
class Draw:
    """Which planes to compute again."""

    planes: int  #: frames and slices at most, each in every channel
    seed: int  #: they are drawn with

    @classmethod
    def of(cls, planes: int, seed: int | None) -> Draw:
        """With a seed of its own where none is given."""
        return cls(planes, secrets.randbelow(2**32) if seed is None else seed)


def check_source(
    target: Target,
    told: Mapping[str, Any],
    rows: Sequence[Row],
    source: str | Path,
    *,
    draw: Draw,
    run: RunSettings,
    cache_dir: str | Path | None,
    progress: Progress,
    check: Callable[[], None],
) -> SourceCheck:
    """Compare an output with its input.

    Parameters
    ----------
    target
        The output.
    told
        Its attribute ``fm2s_stack``.
    rows
        Of units whose files are good: planes are drawn of these.
    source
        The input.
    draw
        Which planes to compute again from the stored networks.
    run
        Where to compute.
    cache_dir
        Folder of page tables; None: the user's cache folder.
    progress, check
        As for `fm2s_stack.pipeline.denoise_stack`.

    Raises
    ------
    StackError
        If the input cannot be opened, or a plane not be read.
    """
    stack = open_source(told, source, cache_dir)
    found = SourceCheck(stack.path, difference_to(told, stack), draw.seed)
    if found.differs:
        return found
    if target.kind != "zarr" and not rows:
        return replace(found, skipped="a TIFF or PNG has no networks in it to compute planes with")
    if not rows:
        return replace(found, skipped=NOT_WHOLE)
    try:
        wanted = recorded_wanted(target, told, select_recorded(told, stack), run)
        denoisers = load_frozen(target.zarr)
    except OutputError as error:
        return replace(found, skipped=str(error))
    found = _compare_units(found, reading_job(wanted, denoisers), rows, progress, check)
    places = _drawn(wanted.image.shape, rows, draw)
    if draw.planes and not places:
        return replace(found, skipped=NOT_WHOLE)
    again = _Again(wanted, told, denoisers, tuple(rows))
    return replace(found, planes=tuple(again.planes(places, progress, check)) if places else ())


def reading_job(wanted: Wanted, denoisers: Sequence[AnyDenoiser]) -> Job:
    """A job that reads what its units were made of, and writes nothing."""
    layout = OutputLayout(str(wanted.target.zarr), wanted.image, (), wanted.write.ome_zarr)
    return Job(wanted.stack, layout, wanted.along, wanted.fit, tuple(denoisers), Journal("", ""))


def require_same_units(
    wanted: Wanted, rows: Sequence[Row], progress: Progress, check: Callable[[], None]
) -> None:
    """Refuse an input that is another where units are to be computed again.

    Raises
    ------
    UsageError
        With the places that differ.
    """
    job = reading_job(wanted, load_frozen(wanted.target.zarr))
    records = [UnitRecord.from_row(row) for row in rows]
    if unlike := unlike_units(job, records, wanted.run.threads, progress, check):
        raise UsageError(
            f"--source {wanted.stack.path}: {places_text(job, unlike)}: not the pixels that "
            f"{wanted.target.path} was made of (CRC-32 differs); give its input as it was"
        )


def _compare_units(
    found: SourceCheck,
    job: Job,
    rows: Sequence[Row],
    progress: Progress,
    check: Callable[[], None],
) -> SourceCheck:
    records = [UnitRecord.from_row(row) for row in rows]
    known = [record for record in records if record.source_crc32 is not None]
    unlike = unlike_units(job, known, None, progress, check)
    texts = tuple(name_unit(job, record.unit) for record in unlike)
    return replace(found, units=len(known), units_unlike=texts)


def _drawn(shape: Shape5, rows: Sequence[Row], draw: Draw) -> list[tuple[int, int]]:
    """(frame, slice) of random planes that are there as a whole, in every channel."""
    pixels = np.zeros(shape[:3], np.int64)
    for row in rows:
        (t, c, z), (y, x) = (slice(*row["t"]), row["c"], slice(*row["z"])), (row["y"], row["x"])
        pixels[t, c, z] += (y[1] - y[0]) * (x[1] - x[0])
    whole = np.argwhere((pixels == shape[3] * shape[4]).all(axis=1))
    order = np.random.default_rng(draw.seed).permutation(len(whole))[: draw.planes]
    return [(int(t), int(z)) for t, z in whole[np.sort(order)]]


@dataclass(frozen=True, eq=False)
class _Again:
    """What computes planes of an output again."""

    wanted: Wanted
    told: Mapping[str, Any]
    denoisers: tuple[AnyDenoiser, ...]
    rows: tuple[Row, ...]

    def planes(
        self, places: Sequence[tuple[int, int]], progress: Progress, check: Callable[[], None]
    ) -> list[Plane]:
        run = settle_device(self.wanted.fit, self.wanted.run)
        devices = DevicePool(find_devices(run.device), usable_threads(run.threads))
        channels = range(self.wanted.image.shape[1])
        tasks = [(t, c, z) for t, z in places for c in channels]
        stoppable = Stoppable(progress)
        stoppable.start(f"compute again on {devices.device}", len(tasks), "planes")

        def work(place: tuple[int, int, int]) -> Plane:
            return self._plane(*place, devices, stoppable)

        found = run_in_threads(work, tasks, devices.slots, stoppable, check)
        stoppable.finish()
        return found

    def _plane(self, t: int, c: int, z: int, devices: DevicePool, progress: Progress) -> Plane:
        now = devices.kind
        own = [row for row in self.rows if _holds(row, t, c, z)]
        differences = [self._difference(row, t, c, z, devices, progress) for row in own]
        made = sorted({str(row["device"]) for row in own})
        known = [one for one in differences if one is not None]
        return Plane(
            t, c, z,
            difference=max(known) if len(known) == len(differences) else None,
            allowed=0.0 if self._is_same_arithmetic(made, now) else self._tolerance(c),
            made_on=", ".join(made), computed_on=now,
        )  # fmt: skip

    def _difference(
        self, row: Row, t: int, c: int, z: int, devices: DevicePool, progress: Progress
    ) -> float | None:
        (y0, y1), (x0, x1) = row["y"], row["x"]
        unit = Unit(row["index"], (t, t + 1), c, (z, z + 1), (y0, y1), (x0, x1))
        computed = compute_unit(self._job(t, c, z), unit, devices, progress)
        return largest_difference(self._stored(unit), computed.planes)

    def _job(self, t: int, c: int, z: int) -> Job:
        """A job that writes nothing, with the stored network of the plane in mode ``frame``."""
        fit, denoisers = self.wanted.fit, list(self.denoisers)
        if fit.mode == "frame":
            fit = replace(fit, mode="stack")
            own = denoisers[c]
            assert not isinstance(own, NeighbourDenoiser), "neighbours are fitted together"
            denoisers[c] = own.with_network(self._network(t, c, z))
        return replace(reading_job(self.wanted, denoisers), fit=fit)

    def _network(self, t: int, c: int, z: int) -> NDArray[np.float32]:
        import zarr

        array = zarr.open_array(str(self.wanted.target.zarr / "fm2s_stack/weights"), mode="r")
        return np.asarray(array[t, c, z], np.float32)

    def _stored(self, unit: Unit) -> NDArray[np.generic]:
        import zarr

        array = zarr.open_array(str(self.wanted.target.zarr / "s0"), mode="r")
        spans = (unit.t, (unit.c, unit.c + 1), unit.z, unit.y, unit.x)
        box = tuple(slice(*spans[CANONICAL_AXES.index(a)]) for a in self.wanted.image.axes)
        return np.asarray(array[box]).reshape(unit.shape)

    def _is_same_arithmetic(self, made: Sequence[str], now: str) -> bool:
        """Whether the same bits are to be expected: kind of device and version of torch."""
        then = str(self.told["versions"].get("torch"))
        return list(made) == [now] and then == package_versions().get("torch")

    def _tolerance(self, c: int) -> float:
        """One grey level where the data has 12 bits, and as much of the range elsewhere.

        A plane that was made with less exact arithmetic may differ by more.
        """
        intensity, precision = self.denoisers[c].intensity, self.denoisers[c].precision
        share = ALLOWED[precision] * (intensity.high - intensity.low) / LEVELS
        return float(max(1, math.ceil(share))) if self.wanted.image.dtype.kind in "iu" else share


def _holds(row: Row, t: int, c: int, z: int) -> bool:
    (t0, t1), (z0, z1) = row["t"], row["z"]
    return bool(t0 <= t < t1 and row["c"] == c and z0 <= z < z1)


def largest_difference(stored: NDArray[np.generic], made: NDArray[np.generic]) -> float | None:
    """Largest difference of two images, grey levels.

    Returns
    -------
    float or None
        None if one of them has NaN or infinity where the other has something else.
    """
    a, b = stored.astype(np.float64), made.astype(np.float64)
    other = (a != b) & ~(np.isnan(a) & np.isnan(b))
    if not other.any():
        return 0.0
    difference = float(np.abs(a[other] - b[other]).max())
    return difference if math.isfinite(difference) else None
