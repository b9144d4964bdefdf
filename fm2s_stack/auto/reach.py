"""Which planes a plane is denoised from. Pure integers."""

from __future__ import annotations

from dataclasses import dataclass

Bounds = tuple[int, int]  #: first, and one past the last


@dataclass(frozen=True)
class Window:
    """The planes that one plane is denoised from."""

    planes: tuple[int, ...]  #: along the stack axis, the plane itself first, then by distance
    missing: float  #: part of the neighbours that others stand in for, 0 to 1


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
        that first and last planes are denoised from as many as the others. A denoiser that looks
        back only takes what there is several times.

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
            return Window(tuple(wanted), 0.0)
        spare = self._spare(position, segment, len(lacking))
        chosen = [plane if segment[0] <= plane < segment[1] else spare.pop(0) for plane in wanted]
        return Window(tuple(chosen), len(lacking) / (self.count - 1))

    def _spare(self, position: int, segment: Bounds, count: int) -> list[int]:
        """Planes that stand in for those that lack, the nearest first."""
        last = segment[1] if self.after else position + 1
        ahead, behind = (
            range(position + self.after + 1, last),
            range(position - self.before - 1, segment[0] - 1, -1),
        )
        beyond = sorted([*ahead, *behind], key=lambda plane: (abs(plane - position), plane))
        own = range(max(segment[0], position - self.before), min(last, position + self.after + 1))
        again = sorted(own, key=lambda plane: (plane == position, abs(plane - position), plane))
        return (beyond + again * count)[:count]

    def needed(self, positions: Bounds, segment: Bounds) -> Bounds:
        """The planes that the windows of a run of positions are made of, from first to last."""
        planes = [p for at in range(*positions) for p in self.window(at, segment).planes]
        return min(planes), max(planes) + 1


def reach_of(neighbours: int, *, causal: bool) -> Reach:
    """The reach of so many planes to each side; or all of them before, where causal."""
    return Reach(2 * neighbours, 0) if causal else Reach(neighbours, neighbours)
