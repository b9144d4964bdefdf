"""The plan: which units a stack is cut into, and the shards and chunks they own.

Pure integers: nothing is opened, read or written here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fm2s_stack.errors import MemoryTooSmall
from fm2s_stack.image import Shape5, StackAxis
from fm2s_stack.memory import MemoryModel
from fm2s_stack.settings import Pyramid

CHUNK = (16, 256, 256)  #: planes, rows, columns compressed together
SHARD_PLANES = 64  #: planes of a file, where a plane is not huge
GRID = 256  #: tile borders lie on multiples of this: the network's own tiles do
TILES = (8192, 4096, 2048, 1024, 512, 256)  #: sides a plane may be cut to
SMALLEST_LEVEL = 256  #: the pyramid stops when no side is longer
COMFORTABLE_UNIT = 256 * 2**20  #: bytes of output a unit has at most where there is a choice


@dataclass(frozen=True)
class Unit:
    """What one task reads, denoises and writes: a box of the output, end not included.

    A unit owns whole shard files of level 0 and of each pyramid level. It has one channel,
    and a run of planes along the stack axis.
    """

    index: int  #: place in the plan, from 0
    t: tuple[int, int]  #: frames
    c: int  #: channel
    z: tuple[int, int]  #: slices
    y: tuple[int, int]  #: rows
    x: tuple[int, int]  #: columns

    @property
    def shape(self) -> Shape5:
        """Lengths of the box along tczyx."""
        (t0, t1), (z0, z1), (y0, y1), (x0, x1) = self.t, self.z, self.y, self.x
        return (t1 - t0, 1, z1 - z0, y1 - y0, x1 - x0)


@dataclass(frozen=True)
class Level:
    """One resolution of the output."""

    shape: Shape5  #: pixels along tczyx
    shard: Shape5 | None  #: pixels of one file; None: not sharded, a file a chunk
    chunk: Shape5  #: pixels compressed together; divides the shard
    factor: Shape5  #: level-0 pixels one pixel stands for, along tczyx: powers of two


@dataclass(frozen=True)
class Cut:
    """One way to cut a stack into units."""

    depth: int  #: planes along the stack
    rows: int  #: of a tile, or of the plane
    columns: int  #: of a tile, or of the plane


@dataclass(frozen=True)
class Request:
    """What a plan is made from."""

    shape: Shape5  #: of the stack, tczyx
    along: StackAxis  #: the stack axis
    input_itemsize: int  #: bytes a pixel read
    output_itemsize: int  #: bytes a pixel written
    block_bytes: int  #: largest block of the stack's Dask array
    workers: int = 1  #: units in flight at most
    threads: int = 1  #: planes computed at a time at most, of all units in flight together
    memory: int | None = None  #: bytes the process may use; None: no bound
    pyramid: Pyramid = "yx"  #: axes halved from level to level
    sharded: bool = True  #: shards (zarr 3), or a file a chunk (zarr 2)
    chunks: tuple[int, int, int] | None = None  #: planes, rows, columns; None: as found best
    most_planes: int = SHARD_PLANES  #: planes of a unit at most
    whole_planes: bool = False  #: never cut a plane
    fit_bytes: int = 0  #: what training holds in memory before the units run
    unit_fit_bytes: int = 0  #: what each thread's training holds, where each plane is fitted
    trust_bytes: int = 0  #: what judging the result holds when the units are done
    cut: Cut | None = None  #: how an output that is continued was cut; None: as found best


@dataclass(frozen=True)
class Plan:
    """Units, levels and projected memory. Printable even where it cannot run."""

    along: StackAxis  #: the stack axis
    cut: Cut  #: how the units were cut
    units: tuple[Unit, ...]  #: in the order they are started
    levels: tuple[Level, ...]  #: full resolution first
    workers: int  #: units in flight at most
    threads: int  #: planes computed at a time at most, of all units in flight together
    projected_bytes: int  #: peak resident memory that a run will stay under
    memory: int | None  #: bytes the run may use
    disk_bytes: int  #: of the output before compression, all levels

    @property
    def fits(self) -> bool:
        """Whether the projection is within the allowed memory."""
        return self.memory is None or self.projected_bytes <= self.memory

    def require_memory(self) -> None:
        """Raise `MemoryTooSmall` where the plan cannot run."""
        if not self.fits:
            raise MemoryTooSmall(
                f"the smallest plan needs {self.projected_bytes / 1e9:.2f} GB of memory and "
                f"{(self.memory or 0) / 1e9:.2f} GB are allowed; raise --memory or select less"
            )


def share_of(units: tuple[Unit, ...], part: tuple[int, int]) -> tuple[Unit, ...]:
    """Share i of n of the units, i from 1: runs of neighbours, as equal as can be.

    The shares of all i are disjoint and together all units.
    """
    i, n = part
    return units[(i - 1) * len(units) // n : i * len(units) // n]


def make_plan(request: Request) -> Plan:
    """Cut a stack into units that own whole shards and fit in the allowed memory.

    The first way that fits is taken, from comfortable to small: fewer planes a unit, then
    tiles, then fewer units in flight. Where none fits the smallest is returned. An output
    that is continued keeps its cut.
    """
    cuts = list(_cuts(request)) if request.cut is None else [request.cut]
    roomy = [cut for cut in cuts if cut.depth >= min(CHUNK[0], cuts[0].depth)]
    for workers in range(request.workers, 0, -1):
        for cut in roomy if workers > 1 else cuts:
            plan = _plan(request, cut, workers)
            if plan.fits:
                return plan
    return _plan(request, cuts[-1], 1)


def _plan(request: Request, cut: Cut, workers: int) -> Plan:
    levels = tuple(_levels(request, cut))
    units = tuple(_units(request, cut))
    model = MemoryModel(request.input_itemsize, request.output_itemsize, request.block_bytes)
    # Fewer units in flight feed fewer threads.
    threads = min(-(-request.threads * workers // request.workers), request.threads)
    unit_bytes = model.unit(cut.depth, cut.rows, cut.columns)
    workers = min(workers, len(units))
    thread_bytes = model.thread(cut.rows, cut.columns) + request.unit_fit_bytes
    working = max(
        workers * unit_bytes + threads * thread_bytes,
        request.fit_bytes,
        unit_bytes + request.trust_bytes,
    )
    return Plan(
        along=request.along,
        cut=cut,
        units=units,
        levels=levels,
        workers=workers,
        threads=threads,
        projected_bytes=model.process(working),
        memory=request.memory,
        disk_bytes=sum(math.prod(level.shape) for level in levels) * request.output_itemsize,
    )


def _cuts(request: Request) -> Iterator[Cut]:
    """Ways to cut, from comfortable to small."""
    *_, rows, columns = request.shape
    whole = [Cut(depth, rows, columns) for depth in _depths(request)]
    cuts = whole if request.whole_planes else [*whole, *_tiled(request, whole)]
    comfortable = [
        cut
        for cut in cuts
        if cut.depth * cut.rows * cut.columns * request.output_itemsize <= COMFORTABLE_UNIT
    ]
    yield from comfortable or [cuts[-1]]


def _tiled(request: Request, whole: list[Cut]) -> Iterator[Cut]:
    *_, rows, columns = request.shape
    step = math.lcm(GRID, *(request.chunks or CHUNK)[1:])
    for side in TILES:
        tile = max(side // step, 1) * step
        if tile < max(rows, columns):
            shallow = [cut.depth for cut in whole if cut.depth <= CHUNK[0]] or [whole[-1].depth]
            for depth in shallow:
                yield Cut(depth, min(tile, rows), min(tile, columns))


def _depths(request: Request) -> list[int]:
    """Planes a unit may have, deepest first: halvings, and whole chunks where asked for."""
    length = request.shape["tczyx".index(request.along)]
    most = min(request.most_planes, length)
    if request.chunks is not None:
        chunk = min(request.chunks[0], length)
        return [chunk * n for n in range(max(most // chunk, 1), 0, -1)]
    depths = [SHARD_PLANES >> k for k in range(SHARD_PLANES.bit_length())]
    fitting = [depth for depth in depths if depth <= most]
    return [most, *fitting] if length <= request.most_planes and most not in fitting else fitting


def _units(request: Request, cut: Cut) -> Iterator[Unit]:
    frames, channels, slices, rows, columns = request.shape
    t_run, z_run = (cut.depth, 1) if request.along == "t" else (1, cut.depth)
    boxes = (
        (t, c, z, y, x)
        for c in range(channels)
        for t in _runs(frames, t_run)
        for z in _runs(slices, z_run)
        for y in _runs(rows, cut.rows)
        for x in _runs(columns, cut.columns)
    )
    for index, (t, c, z, y, x) in enumerate(boxes):
        yield Unit(index, t, c, z, y, x)


def _runs(length: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _levels(request: Request, cut: Cut) -> Iterator[Level]:
    factor, previous = (1, 1, 1, 1, 1), None
    for power in range(32):
        level = _level(request, cut, factor)
        yield level
        if request.pyramid == "none" or max(level.shape[3:]) <= SMALLEST_LEVEL:
            return
        previous, factor = factor, _halved(request, cut, 2 ** (power + 1))
        if factor == previous:
            return


def _halved(request: Request, cut: Cut, wanted: int) -> Shape5:
    """Factors of the level at which y and x are divided by `wanted`."""
    if request.pyramid == "yx" or request.along != "z":
        return (1, 1, 1, wanted, wanted)
    # Slices are halved as far as the units along z stay whole.
    slices = request.shape[2]
    bound = slices if cut.depth >= slices else cut.depth & -cut.depth
    z_factor = min(wanted, 2 ** (max(bound, 1).bit_length() - 1))
    return (1, 1, z_factor, wanted, wanted)


def _level(request: Request, cut: Cut, factor: Shape5) -> Level:
    shape = _divided(request.shape, factor)
    t_run, z_run = (cut.depth, 1) if request.along == "t" else (1, cut.depth)
    share = _divided((t_run, 1, z_run, cut.rows, cut.columns), factor)
    planes, rows, columns = request.chunks or CHUNK
    wanted = (
        (planes, 1, 1, rows, columns) if request.along == "t" else (1, 1, planes, rows, columns)
    )
    chunk = _five(
        _dividing(want, own, alone=own >= length)
        for want, own, length in zip(wanted, share, shape, strict=True)
    )
    shard = _five(-(-own // step) * step for own, step in zip(share, chunk, strict=True))
    level = Level(shape, shard, chunk, factor)
    return level if request.sharded else replace(level, shard=None)


def _dividing(wanted: int, own: int, *, alone: bool) -> int:
    """Chunk length within a unit's share; a unit alone on the axis may end in a part chunk."""
    if own <= wanted:
        return own
    return wanted if alone or own % wanted == 0 else own


def _divided(shape: Shape5, factor: Shape5) -> Shape5:
    return _five(-(-n // f) for n, f in zip(shape, factor, strict=True))


def _five(lengths: Iterator[int]) -> Shape5:
    t, c, z, y, x = lengths
    return (t, c, z, y, x)
