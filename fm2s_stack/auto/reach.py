"""Which planes a plane is denoised from. Pure integers."""

from __future__ import annotations

from dataclasses import dataclass

Bounds = tuple[int, int]  #: first, and one past the last


@dataclass(frozen=True)
class Window:
    """The planes that one plane is denoised from."""

    planes: tuple[int, ...]  #: along the stack axis, the plane itself first, then by distance
    missing: float = 0.0  #: part of the neighbours that others stand in for, or none, 0 to 1
    absent: tuple[int, ...] = ()  #: numbers in `planes` of those that none stands in for; the
    #: plane itself is named there, and must not be seen twice


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
    def steps(self) -> tuple[int, ...]:
        """Distances of the planes of a whole window, the nearest first."""
        steps = [step for step in range(-self.before, self.after + 1) if step]
        return (0, *sorted(steps, key=lambda step: (abs(step), step)))

    def window(self, position: int, segment: Bounds) -> Window:
        """The window of a plane within a run of planes that belong together.

        Where planes lack on one side, the next nearest of the other side stand in for them, so
        that first and last planes are denoised from as many as the others. Where there are too
        few, or a denoiser looks back only, some are absent.

        Parameters
        ----------
        position
            Of the plane.
        segment
            First plane of the run, and one past its last; `position` is among them.
        """
        wanted = [position + step for step in self.steps]
        lacking = [plane for plane in wanted if not segment[0] <= plane < segment[1]]
        if not lacking:
            return Window(tuple(wanted))
        spare = self._spare(position, segment, len(lacking))
        chosen, absent = [], []
        for number, plane in enumerate(wanted):
            if segment[0] <= plane < segment[1]:
                chosen.append(plane)
            elif spare:
                chosen.append(spare.pop(0))
            else:
                chosen.append(position)
                absent.append(number)
        return Window(tuple(chosen), len(lacking) / (self.count - 1), tuple(absent))

    def _spare(self, position: int, segment: Bounds, count: int) -> list[int]:
        """Planes that stand in for those that lack, the nearest first; there may be too few."""
        if not self.after:
            return []  # further back lies nothing, if planes lack
        ahead = range(position + self.after + 1, segment[1])
        behind = range(segment[0], position - self.before)
        return sorted([*ahead, *behind], key=lambda plane: (abs(plane - position), plane))[:count]


def reach_of(neighbours: int, *, causal: bool) -> Reach:
    """The reach of so many planes to each side; or all of them before, where causal."""
    return Reach(2 * neighbours, 0) if causal else Reach(neighbours, neighbours)
