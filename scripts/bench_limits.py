"""What a run cannot be faster than: the bare network, and the bare reader and writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from bench_process import Result, Terms, device_peak, warm_up
from numpy.typing import NDArray

from fm2s_stack import fit_stack, open_stack
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.fm2s.apply import apply_network
from fm2s_stack.memory import peak_memory
from fm2s_stack.pipeline import plan_stack
from fm2s_stack.plan import Plan, Unit
from fm2s_stack.stack.bad_frames import read_box
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Box
from fm2s_stack.store.integrity import flush_files
from fm2s_stack.store.omezarr import OutputLayout

BATCH = 16  #: frames of a call on a GPU
IN_MEMORY = 64  #: frames that the network is run over, again and again
ANY_DRAWS = 3  #: training that is enough where only the speed of the network counts

Planes = NDArray[np.float32]


def network_limit(terms: Terms, movie: str, seconds: float, least: int) -> Result:
    """Frames a second of the bare collapsed network over frames in memory.

    On as many threads as a run computes on, or on the GPU, for `seconds` and `least` frames.
    No pixel is read, converted, rounded or written.
    """
    device = warm_up(terms.device)
    weights, planes = _network_and_planes(terms, movie)
    pool = DevicePool(device, terms.slots)
    _keep_running(weights, planes, pool, 0, 1)  # what is prepared at first use is no speed
    began = time.perf_counter()
    until, share = began + seconds, -(-least // pool.slots)
    work = partial(_keep_running, weights, planes, pool)
    with ThreadPoolExecutor(pool.slots) as threads:
        counts = list(threads.map(lambda _: work(until, share), range(pool.slots)))
    return _rate(sum(counts), time.perf_counter() - began, pool.slots, device)


def network_call(
    weights: NDArray[np.float32], planes: Planes, device: str
) -> tuple[Callable[[int], None], int]:
    """The call that is measured: planes on the unit scale through the collapsed network.

    Returns
    -------
    call
        Takes the number of the first plane.
    count
        Planes that a call computes: one, or a batch that is in the GPU's memory already.
    """
    core = ((0, planes.shape[1]), (0, planes.shape[2]))
    if device == "cpu":
        return lambda i: _drop(apply_network(weights, planes[i % len(planes)], core)), 1
    import torch

    from fm2s_stack.fm2s.batch import Share, apply_batch
    from fm2s_stack.fm2s.inference import prepared

    network, count = {0: prepared(weights, device, "float32")}, min(BATCH, len(planes))
    batch, shares = torch.from_numpy(planes[:count]).to(device), [[Share(0, 1.0)]] * count

    def call(i: int) -> None:
        with torch.inference_mode():
            apply_batch(network, shares, batch, core)

    return call, count


def _drop(result: object) -> None:
    """Leave a result."""


def copy_limit(terms: Terms, movie: str, output: str) -> Result:
    """Frames a second of the units of a run, read, written and flushed without denoising."""
    warm_up(terms.device)
    stack = open_stack(movie)
    plan = plan_stack(stack, terms.fit("stack"), run=terms.run)
    layout = OutputLayout(output, stack.image, plan.levels)
    layout.create({})
    copier = _Copier(stack, plan, layout)
    began = time.perf_counter()
    with ThreadPoolExecutor(plan.workers) as threads:
        list(threads.map(copier.copy, plan.units))
    return _rate(stack.image.planes, time.perf_counter() - began, plan.workers, "cpu")


def _network_and_planes(terms: Terms, movie: str) -> tuple[NDArray[np.float32], Planes]:
    stack = open_stack(movie, frames=(0, IN_MEMORY))
    (denoiser,) = fit_stack(stack, terms.fit("stack", draws=ANY_DRAWS), run=terms.run)
    frames = np.asarray(stack.array[:, 0, 0])
    planes = np.stack([denoiser.intensity.to_unit(frame) for frame in frames])
    return denoiser.weights[0], planes


def _keep_running(
    weights: NDArray[np.float32], planes: Planes, pool: DevicePool, until: float, least: int
) -> int:
    """Run the network in this thread until the clock says `until`; planes done."""
    done = 0
    with pool.lease() as device:  # one torch thread, as the units have
        call, count = network_call(weights, planes, device)
        while done < least or time.perf_counter() < until:
            call(done)
            done += count
            if device != "cpu":
                import torch

                torch.cuda.synchronize(device)
    return done


def _rate(frames: int, seconds: float, threads: int, device: str) -> Result:
    return {
        "frames": frames,
        "seconds": seconds,
        "frames_per_second": frames / seconds,
        "threads": threads,
        "peak_bytes": peak_memory(),
        "device_bytes": device_peak(device),
    }


@dataclass(frozen=True, eq=False)
class _Copier:
    """The reader and the writer of a run, and nothing between them."""

    stack: Stack
    plan: Plan
    layout: OutputLayout

    def copy(self, unit: Unit) -> None:
        """Copy a unit, block by block as a run reads it."""
        planes = np.empty(unit.shape, self.layout.image.dtype)
        for first, last in self._runs(unit):
            box = Box((first, last), unit.c, unit.z, unit.y, unit.x)
            inside = slice(first - unit.t[0], last - unit.t[0])
            planes[inside] = read_box(self.stack, box, self.plan.along, "fail")[0]
        flush_files(self.layout.path, self.layout.write(unit, planes))

    def _runs(self, unit: Unit) -> Iterator[tuple[int, int]]:
        edges = np.cumsum(self.stack.array.chunks[0]).tolist()
        return pairwise([unit.t[0], *(e for e in edges if unit.t[0] < e < unit.t[1]), unit.t[1]])
