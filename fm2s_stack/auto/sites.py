"""Places of a recording, and what a network is shown there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Place
from fm2s_stack.auto.channels import Scale, channels_of, mean_of
from fm2s_stack.auto.components import BLOCK, Components
from fm2s_stack.auto.cut import Cut, cut, mirrored, widened, within
from fm2s_stack.auto.lesson import Lesson, Run
from fm2s_stack.auto.level import expected_deviations
from fm2s_stack.auto.reach import Reach, Window
from fm2s_stack.stack.frame_ranges import Bounds

Float32 = NDArray[np.float32]
Made = Callable[[Float32], Float32]  #: what a network makes, shape (y, x), of its channels

TURNED = 0.25  #: part of the sites whose windows are cut short, as those of first and last planes


@dataclass(frozen=True, eq=False)
class Site:
    """A part of one plane, and what was read around it: whole blocks of components."""

    y: Cut  #: rows of the part with its halo
    x: Cut  #: its columns
    inner: tuple[slice, slice]  #: where what these read lies in what was read
    window: Window  #: the planes, numbered by their steps in the run
    place: Place  #: of what was read
    deviations: Float32  #: of the planes in units of the noise, shape (planes, y, x)
    past: Float32  #: mean of those of its past, shape (y, x)
    scale: Scale  #: of what was read
    components: Components  #: there
    near: Float32  #: mean deviations of the planes beside it, shape (y, x)
    expected: Float32  #: deviations of the plane, as far as those tell, shape (y, x)

    def shown(self, own: Float32) -> Float32:
        """Channels of the part with its halo where the plane is like this, of what was read."""
        near = np.concatenate([own[None], self.deviations[1:]])[:, *self.inner]
        projected = [self.project(plane)[self.inner] for plane in (own, self.past)]
        part = self.scale.part(self.inner)
        return mirrored(channels_of(near, part, self.window.missing, projected), self.y, self.x)

    def own(self, pixels: Float32) -> Float32:
        """The part without halo, of what was read."""
        return pixels[np.ix_(*self._core)]

    def project(self, plane: Float32) -> Float32:
        """What of deviations, of what was read, lies in the components."""
        return self.components.project(plane, self.place.other, self.place.origin)

    def with_made(self, expected: Float32, made: Made) -> Float32:
        """Expected deviations of what was read, within the part those that a network makes."""
        better = expected.copy()
        better[np.ix_(*self._core)] = made(self.shown(self.deviations[0]))
        return better

    def with_event(self, pattern: Float32, course: Callable[[int], float], since: int) -> Site:
        """The same with something that happens there.

        Parameters
        ----------
        pattern
            What is added, deviations of the part without halo, shape (y, x); fewer pixels only
            where the plane ends.
        course
            How much of it there is, by the planes since it was at its height.
        since
            Planes since then, of the site's own.
        """
        rows, columns = (own[:size] for own, size in zip(self._core, pattern.shape, strict=True))
        whole = np.zeros_like(self.near)
        whole[np.ix_(rows, columns)] = pattern
        at, absent = self.window.planes[0], self.window.absent
        parts = [course(since + plane - at) for plane in self.window.planes]
        parts = [0.0 if number in absent else part for number, part in enumerate(parts)]
        before = np.mean([course(since + plane - at) for plane in self.window.past] or [0.0])
        return replace(
            self,
            deviations=self.deviations + np.array(parts, np.float32)[:, None, None] * whole,
            past=self.past + np.float32(before) * whole,
        )

    def blocks(self) -> Iterator[tuple[tuple[slice, slice], Float32]]:
        """As `Components.blocks`, of the part without halo, which begins where a block does."""
        shape = (len(self._core[0]), len(self._core[1]))
        yield from self.components.blocks(shape, self.place.other, self._corner)

    def heeded(self, own: Float32, made: Float32, heed: float) -> Float32:
        """As `Components.heeded`, of the part without halo, which begins where a block does."""
        return self.components.heeded(own, made, heed, self.place.other, self._corner)

    @property
    def _core(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the part in what was read."""
        core = slice(network.HALO, -network.HALO)
        y, x = (
            own.order[core] + part.start
            for own, part in zip((self.y, self.x), self.inner, strict=True)
        )
        return y, x

    @property
    def _corner(self) -> tuple[int, int]:
        """Row and column of the plane at which the part begins."""
        (row, column), (y, x) = self.place.origin, self._core
        return row + int(y[0]), column + int(x[0])


def draw_site(
    lesson: Lesson,
    random: np.random.Generator,
    grid: int = network.SQUARE,
    turned: float = TURNED,
) -> Site:
    """A site at a random place, of about the size of a crop.

    Parameters
    ----------
    lesson
        What to take it from.
    random
        Where random numbers come from.
    grid
        Pixels whose multiples its rows and columns begin at, and its sides are; with more than
        two, sites at the end of a plane have what is left of it, too.
    turned
        Part of the sites whose windows are cut short.
    """
    run = lesson.runs[random.integers(len(lesson.runs))]
    at = int(run.steps[random.integers(len(run.planes))])
    segment = _segment(lesson.reach, run.length, at, random, turned)
    rows, columns = (_place(size, lesson.crop, grid, random) for size in run.planes.shape[1:])
    return site_at(lesson, run, at, (rows, columns), segment)


def site_at(
    lesson: Lesson, run: Run, at: int, part: tuple[Bounds, Bounds], segment: Bounds | None = None
) -> Site:
    """The site of one part of a plane.

    Parameters
    ----------
    lesson
        What it is of.
    run
        Of the lesson.
    at
        Step of the plane in the run.
    part
        Rows and columns.
    segment
        As for `Run.window`.
    """
    window = run.window(lesson.reach, at, segment)
    sides = run.planes.shape[1:]
    y, x = (
        cut(own, size, network.HALO, network.SQUARE) for own, size in zip(part, sides, strict=True)
    )
    here = run.place_of(at)
    wide = [widened(c.read, n, BLOCK) for c, n in zip((y, x), sides, strict=True)]
    scale = Scale.of(lesson.background.at(here, *wide), lesson.noise)
    deviations = scale.deviations(run.seen(window.planes, *wide))
    deviations[list(window.absent)] = 0
    origin = (here.origin[0] + wide[0].start, here.origin[1] + wide[1].start)
    place, components = replace(here, origin=origin), lesson.folds.at(here.position)
    # Planes that the network does not see may tell how bright it is there.
    near = window if lesson.reach.count > 1 else run.window(lesson.reach.looked_at, at)
    beside = [n for i, n in enumerate(near.planes[1:], 1) if i not in near.absent]
    others = scale.deviations(run.seen(beside, *wide)) if beside else deviations[:1]
    flat = lesson.background.is_flat
    return Site(
        y=y,
        x=x,
        inner=(within(y.read, wide[0]), within(x.read, wide[1])),
        window=window,
        place=place,
        deviations=deviations,
        past=mean_of(scale.deviations(run.seen(window.past, *wide))),
        scale=scale,
        components=components,
        near=mean_of(others),
        expected=expected_deviations(
            others, flat, lesson.noise, lambda plane: components.project(plane, here.other, origin)
        ),
    )


def _segment(
    reach: Reach, planes: int, at: int, random: np.random.Generator, turned: float
) -> Bounds:
    """The run as it is, or cut short beside the plane, as for first and last planes."""
    if random.random() >= turned or planes <= reach.count:
        return 0, planes
    kept = int(random.integers(max(reach.before, reach.after, 1)))
    if reach.after and random.random() < 0.5:
        return 0, min(max(at + 1 + kept, reach.count), planes)
    return max(min(at - kept, planes - reach.count), 0), planes


def _place(length: int, crop: int, grid: int, random: np.random.Generator) -> Bounds:
    """A run of `crop` pixels, or of all, at an even place."""
    size = min(max(crop // grid, 1) * grid, length)
    start = int(random.integers((length - size) // grid + 1)) * grid
    left = length - start - size
    return start, start + size + (left if network.SQUARE < grid > left else 0)
