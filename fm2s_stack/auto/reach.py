"""Which planes a plane is denoised from. Pure integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fm2s_stack.stack.frame_ranges import NO_FRAMES, Bounds, FrameRanges

PAST = 4  #: planes before one that tell what happens slowly there
FURTHEST = 2  #: times the neighbours of a whole window: the distance of the furthest stand-in


@dataclass(frozen=True)
class Window:
    """The planes that one plane is denoised from."""

    planes: tuple[int, ...]  #: along the stack axis, the plane itself first, then by distance
    missing: float = 0.0  #: part of the neighbours that others stand in for, or none, 0 to 1
    absent: tuple[int, ...] = ()  #: numbers in `planes` of those that none stands in for; the
    #: plane itself is named there, and must not be seen twice
    past: tuple[int, ...] = ()  #: the last planes before it that there are

    def moved(self, by: int) -> Window:
        """The same window of planes that are numbered from elsewhere."""
        planes, past = (tuple(plane + by for plane in own) for own in (self.planes, self.past))
        return replace(self, planes=planes, past=past)


@dataclass(frozen=True)
class Reach:
    """How many planes before and after a plane belong to its window."""

    before: int
    after: int

    @property
    def count(self) -> int:
        """Planes of a window."""
        return 1 + self.before + self.after

    @property
    def looked_at(self) -> Reach:
        """The planes that tell of a plane while it is measured and trained on: some in any case."""
        return self if self.count > 1 else Reach(2, 2)

    @property
    def steps(self) -> tuple[int, ...]:
        """Distances of the planes of a whole window, the nearest first."""
        steps = [step for step in range(-self.before, self.after + 1) if step]
        return (0, *sorted(steps, key=lambda step: (abs(step), step)))

    def window(self, position: int, segment: Bounds, excluded: FrameRanges = NO_FRAMES) -> Window:
        """The window of a plane within a run of planes that belong together.

        Where planes lack, the next nearest stand in for them, so that first and last planes are
        denoised from as many as the others. Where there are too few, some are absent.

        Parameters
        ----------
        position
            Of the plane.
        segment
            First plane of the run, and one past its last; `position` is among them.
        excluded
            Planes that lack as if they lay beyond the run; not `position`.
        """
        wanted = [position + step for step in self.steps]
        there = _usable((p for p in wanted if segment[0] <= p < segment[1]), excluded)
        lacking = self.count - len(there)
        past = self._past(position, segment, excluded)
        if not lacking:
            return Window(tuple(wanted), past=past)
        near = [*there[1:], *self._spare(position, segment, excluded)[:lacking]]
        # The nearest first, as in whole windows, so that each place says much the same.
        chosen = (position, *sorted(near, key=lambda plane: (abs(plane - position), plane)))
        absent = tuple(range(len(chosen), self.count))
        planes = (*chosen, *[position] * len(absent))
        return Window(planes, lacking / (self.count - 1), absent, past)

    def _past(self, position: int, segment: Bounds, excluded: FrameRanges) -> tuple[int, ...]:
        """Planes before one; if there are none, those after it, unless only earlier ones count."""
        if self.count == 1:
            return ()
        before = _usable(range(max(position - PAST, segment[0]), position), excluded)
        if before or not self.after:
            return tuple(before)
        return tuple(_usable(range(position + 1, min(position + 1 + PAST, segment[1])), excluded))

    def _spare(self, position: int, segment: Bounds, excluded: FrameRanges) -> list[int]:
        """Planes that may stand in for those that lack, the nearest first.

        Beyond `FURTHEST` there is none: what happened so long before or after says little, and
        what is read for a plane would have no bound.
        """
        far = FURTHEST * (self.count - 1)
        last = min(position + far + 1, segment[1]) if self.after else position
        ahead = range(position + self.after + 1, last)
        behind = range(max(position - far, segment[0]), position - self.before)
        return sorted(
            _usable([*ahead, *behind], excluded), key=lambda plane: (abs(plane - position), plane)
        )


def _usable(planes: Iterable[int], excluded: FrameRanges) -> list[int]:
    return [plane for plane in planes if plane not in excluded]


def reach_of(neighbours: int, *, causal: bool) -> Reach:
    """The reach of so many planes to each side; or all of them before, where causal."""
    return Reach(2 * neighbours, 0) if causal else Reach(neighbours, neighbours)
