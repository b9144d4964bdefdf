"""How much of what a plane itself shows is believed, measured on the recording.

A network that makes the least square error makes sudden changes smaller: of what the planes
beside one do not tell, it takes a part. What it takes is measured by letting things happen: events
of the recording are added to it at other times nearby, and what the network makes of it with them
is compared with what it makes without. Both have the same noise, so that nothing but the event is
in their difference. As much of the plane's own is then added as makes events whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.auto import network
from fm2s_stack.auto.components import part_heeded
from fm2s_stack.auto.events import LEAD, Course, Event, find_events
from fm2s_stack.auto.lesson import Lesson, stream_of
from fm2s_stack.auto.sites import Site, site_at
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.progress import Pulse, unheard

Float32 = NDArray[np.float32]

WHOLE = 0.965  #: part of events that shall be there
#: Heeds that are tried. The last one adds half of what is as large as the noise of one plane is;
#: more would let noise in.
HEEDS: tuple[float, ...] = (0.0, *np.geomspace(1 / 256, 1, 33).tolist())
HIGH = 0.8  #: part of their height, at which events are looked at
PHASES = 4  #: planes of each event that are looked at
NEAR = 32  #: planes within which it happens again: what moves has not gone far
STREAM = 200  #: of the random streams: far from those of the training


@dataclass(frozen=True, eq=False)
class _Response:
    """What lies in the components of a block, without an event and with it; shape (2, rank)."""

    there: Float32
    made: Float32

    def sums(self, heed: float) -> tuple[float, float]:
        """How much of the event is in the result, and how much there is; in one unit."""
        event = self.there[1] - self.there[0]
        more = part_heeded(self.made, heed) * (self.there - self.made)
        result = self.made + more
        return float(event @ (result[1] - result[0])), float(event @ event)


def measure_heed(lesson: Lesson, weights: NDArray[np.float32], pulse: Pulse = unheard) -> float:
    """How much a network's results must heed the plane itself, as `Components.heeded` takes it.

    Parameters
    ----------
    lesson
        What the network was trained with.
    weights
        Its parameters.
    pulse
        Called now and then; what it raises ends the measurement.

    Returns
    -------
    float
        The least with which events are whole, 0 to 1; 0 where too few are seen to know.
    """
    with one_thread():
        events, course = find_events(lesson, pulse)
        kernels = network.layers(torch.from_numpy(weights), lesson.channels)
        stream = stream_of(lesson, STREAM)
        responses = [
            response
            for event in events
            for response in _responses(lesson, kernels, event, course, stream, pulse)
        ]
    if not responses:
        return 0.0
    enough = (heed for heed in HEEDS if _kept(responses, heed) >= WHOLE)
    return next(enough, HEEDS[-1])


def _kept(responses: list[_Response], heed: float) -> float:
    made, there = np.sum([response.sums(heed) for response in responses], axis=0)
    return float(made / there)


def _responses(
    lesson: Lesson,
    kernels: network.Kernels,
    event: Event,
    course: Course,
    stream: np.random.Generator,
    pulse: Pulse,
) -> list[_Response]:
    """Of an event that happens at other times, in planes in which it is high."""
    pulse()
    run = event.run
    high = [i - LEAD for i, part in enumerate(course.parts) if part >= HIGH]
    found = []
    for step in stream.choice(high, PHASES).tolist():
        first = max(event.number - NEAR, 0)
        at = int(run.steps[stream.integers(first, min(event.number + NEAR, len(run.planes)))])
        rows, columns = ((part.start, part.stop) for part in event.block)
        calm = site_at(lesson, run, at, (rows, columns))
        happens = calm.with_event(event.pattern, course, step)
        planes = [(site.own(site.deviations[0]), _made(kernels, site)) for site in (calm, happens)]
        for block, basis in calm.blocks():
            held = [[basis @ part[block].ravel() for part in pair] for pair in planes]
            there, made = np.array(held, np.float32).transpose(1, 0, 2)
            found.append(_Response(there, made))
    return found


def _made(kernels: network.Kernels, site: Site) -> Float32:
    return network.made(kernels, site.shown(site.deviations[0]))
