"""Where something begins in a recording: what it looks like, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.channels import Scale
from fm2s_stack.auto.components import Components
from fm2s_stack.auto.lesson import Lesson, Run
from fm2s_stack.progress import Pulse

Float32 = NDArray[np.float32]

BASELINE = (6, 2)  #: planes before an event that it is told from: from, to (not included)
LEAD = 2  #: planes before it, in which it may have begun
AFTER = 14  #: planes in which it is followed
CLEAR = 6.0  #: deviations of the noise by which an event rises above it
APART = 6  #: planes around one in which there is no other
BRIGHTER = 4.0  #: of the light it adds, in that of a pixel of the same square sum: something of
#: 16 pixels does; what moves takes as much as it adds
LARGE = 0.6  #: part of the largest event of its block that one has
LEAST = 12  #: of them, or nothing is known
MOST = 128  #: that are looked at


@dataclass(frozen=True, eq=False)
class Event:
    """Something that begins in one block of a run."""

    run: Run  #: where
    number: int  #: of the run's planes, in which it is at its height
    block: tuple[slice, slice]  #: rows and columns of the run's planes
    pattern: Float32  #: what it adds at its height, deviations of the noise, shape of the block


@dataclass(frozen=True)
class Course:
    """How much there is of events, a part of their height, over time."""

    parts: tuple[float, ...]  #: from `LEAD` planes before they are at their height

    def __call__(self, step: int) -> float:
        """At so many planes from the height; what it was last goes on."""
        number = step + LEAD
        return self.parts[min(number, len(self.parts) - 1)] if number >= 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Rise:
    """The same, with the trace it was found in."""

    event: Event
    trace: NDArray[np.floating]  #: parts of its height, from LEAD planes before on
    relative: float  #: to the largest of its block


def find_events(lesson: Lesson, pulse: Pulse) -> tuple[list[Event], Course]:
    """The large events of what a network is trained with, and their mean course.

    Sudden changes of what lies in the components of a block. There are none where fewer than
    `LEAST` are clear.

    Parameters
    ----------
    lesson
        Planes, and what is known of them.
    pulse
        Called before each run of planes.
    """
    found: list[_Rise] = []
    for run in lesson.runs:
        pulse()
        found += _rises(lesson, run)
    found = [rise for rise in found if rise.relative >= LARGE]
    if len(found) < LEAST:
        return [], Course((0.0,))
    count = min(len(found), MOST)
    chosen = [found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)]
    lengths = sorted(len(rise.trace) for rise in chosen)
    followed = lengths[len(lengths) // 2]  # further on they would be too few
    parts = [
        float(np.mean([rise.trace[i] for rise in chosen if i < len(rise.trace)]))
        for i in range(followed)
    ]
    return [rise.event for rise in chosen], Course(tuple(parts))


def _rises(lesson: Lesson, run: Run) -> Iterator[_Rise]:
    """The events of a run, block by block."""
    middle = run.place_of(int(run.steps[len(run.steps) // 2]))
    components = lesson.folds.at(middle.position)
    for block, basis, traces in _traces(lesson, run, components):
        changes = _changes(traces)
        sizes = np.linalg.norm(changes, axis=1) / np.sqrt(0.5 + 1 / (BASELINE[0] - BASELINE[1]))
        if not len(sizes) or not sizes.max() > 0:
            continue
        # Noise alone has the square root of the rank.
        edge = CLEAR + np.sqrt(len(basis)) - 1
        for at in _peaks(sizes, edge):
            height = float(np.linalg.norm(changes[at]))
            pattern = changes[at] @ basis
            if pattern.sum() < BRIGHTER * height:
                continue
            course = (traces @ changes[at]) / height**2
            base = course[at - BASELINE[0] : at - BASELINE[1]].mean()
            shape = tuple(part.stop - part.start for part in block)
            event = Event(run, at, block, pattern.reshape(shape).astype(np.float32))
            trace = course[at - LEAD : at + AFTER] - base
            yield _Rise(event, trace, float(sizes[at] / sizes.max()))


def _traces(
    lesson: Lesson, run: Run, components: Components
) -> Iterator[tuple[tuple[slice, slice], Float32, Float32]]:
    """Each block with components, its basis, and its traces (planes, rank)."""
    whole = [slice(0, side) for side in run.planes.shape[1:]]
    shape = run.planes.shape[1:]
    blocks = list(components.blocks(shape, run.place.other, run.place.origin))
    traces = [np.empty((len(run.planes), len(basis)), np.float32) for _, basis in blocks]
    if blocks:
        for number, step in enumerate(run.steps.tolist()):
            scale = Scale.of(lesson.background.at(run.place_of(step), *whole), lesson.noise)
            plane = scale.deviations(run.planes[number][None])[0]
            for (block, basis), trace in zip(blocks, traces, strict=True):
                trace[number] = basis @ plane[block].ravel()
    for (block, basis), trace in zip(blocks, traces, strict=True):
        yield block, basis, trace


def _changes(traces: Float32) -> NDArray[np.float64]:
    """What two planes have more than those before them, of each plane; 0 where these lack."""
    changes = np.zeros(traces.shape)
    sums = np.concatenate([np.zeros((1, traces.shape[1])), np.cumsum(traces, axis=0, dtype=float)])
    at = np.arange(BASELINE[0], len(traces) - 1)
    before = (sums[at - BASELINE[1]] - sums[at - BASELINE[0]]) / (BASELINE[0] - BASELINE[1])
    changes[at] = (sums[at + 2] - sums[at]) / 2 - before
    return changes


def _peaks(sizes: NDArray[np.floating], edge: float) -> list[int]:
    """Where sizes are above an edge, and the largest around."""
    high = np.flatnonzero(sizes > edge).tolist()
    return [at for at in high if sizes[at] == sizes[max(at - APART, 0) : at + APART + 1].max()]
