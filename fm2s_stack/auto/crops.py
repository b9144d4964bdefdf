"""Crops of a recording with noise added to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.auto import network
from fm2s_stack.auto.channels import Scale, channels_of, mean_of
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.auto.cut import Cut, cut, mirrored, widened, within
from fm2s_stack.auto.lesson import Lesson
from fm2s_stack.auto.level import Project, expected_deviations
from fm2s_stack.auto.reach import Reach, Window
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.stack.frame_ranges import Bounds

Float32 = NDArray[np.float32]
Made = Callable[[Float32], Float32]  #: what a network makes, shape (y, x), of its channels

TURNED = 0.25  #: part of the crops whose windows are cut short, as those of first and last planes
FLIPS = ((), (-1,), (-2,), (-1, -2))


@dataclass(frozen=True, eq=False)
class Crop:
    """An input and what it shall become."""

    inputs: Tensor  #: channels of the window, recorrupted, shape (channels, y, x) with the halo
    target: Tensor  #: the plane, recorrupted the other way, shape (y, x)
    near: Tensor  #: mean of the planes beside it, which have other noise, shape (y, x)


@dataclass(frozen=True, eq=False)
class _Site:
    """A place of a recording, and what was read around it: whole blocks of components."""

    y: Cut  #: rows of the crop with its halo
    x: Cut  #: its columns
    inner: tuple[slice, slice]  #: where what these read lies in what was read
    window: Window  #: the planes
    deviations: Float32  #: of them in units of the noise, shape (planes, y, x)
    past: Float32  #: mean of those of its past, shape (y, x)
    scale: Scale  #: of what was read
    project: Project  #: on the components there
    near: Float32  #: mean deviations of the planes beside it, shape (y, x)
    expected: Float32  #: deviations of the plane, as far as those tell, shape (y, x)

    def shown(self, own: Float32) -> Float32:
        """Channels of the crop with its halo where the plane is like this, of what was read."""
        near = np.concatenate([own[None], self.deviations[1:]])[:, *self.inner]
        projected = [self.project(plane)[self.inner] for plane in (own, self.past)]
        part = self.scale.part(self.inner)
        return mirrored(channels_of(near, part, self.window.missing, projected), self.y, self.x)

    def own(self, pixels: Float32) -> Float32:
        """The crop without halo, of what was read."""
        return pixels[self._core]

    def with_made(self, expected: Float32, made: Made) -> Float32:
        """Expected deviations of what was read, within the crop those that a network makes."""
        better = expected.copy()
        better[self._core] = made(self.shown(self.deviations[0]))
        return better

    @property
    def _core(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the crop in what was read."""
        core = slice(network.HALO, -network.HALO)
        y, x = (
            own.order[core] + part.start
            for own, part in zip((self.y, self.x), self.inner, strict=True)
        )
        return np.ix_(y, x)


def draw_crop(
    lesson: Lesson,
    recorruption: Recorruption,
    random: np.random.Generator,
    strength: float = 1.0,
    made: Made | None = None,
) -> Crop:
    """A crop at a random place, recorrupted.

    Parameters
    ----------
    lesson
        What to take it from.
    recorruption
        The noise to add.
    random
        Where random numbers come from.
    strength
        What the added noise is multiplied with in the input, and divided by in the target: their
        errors are independent whatever it is (Pang et al. 2021, eq. 5).
    made
        What tells the level by which noise is drawn: a trained network. None: the neighbours.
    """
    site = _pick(lesson, random)
    expected = site.expected if made is None else site.with_made(site.expected, made)
    level = site.scale.levels(expected).astype(np.float32)
    noise = recorruption.draw(level, random) / site.scale.deviation
    inputs = site.shown(site.deviations[0] + noise * np.float32(strength))
    target = site.own(site.deviations[0] - noise / np.float32(strength))
    flip = FLIPS[random.integers(len(FLIPS))]
    return Crop(*(_flipped(pixels, flip) for pixels in (inputs, target, site.own(site.near))))


def _pick(lesson: Lesson, random: np.random.Generator) -> _Site:
    run = lesson.runs[random.integers(len(lesson.runs))]
    at = int(run.steps[random.integers(len(run.planes))])
    window = run.window(lesson.reach, at, _segment(lesson.reach, run.length, at, random))
    y, x = (
        cut(_place(size, lesson.crop, random), size, network.HALO, network.SQUARE)
        for size in run.planes.shape[1:]
    )
    here = run.place_of(at)
    wide = [widened(c.read, n, BLOCK) for c, n in zip((y, x), run.planes.shape[1:], strict=True)]
    scale = Scale.of(lesson.background.at(here, *wide), lesson.noise)
    deviations = scale.deviations(run.seen(window.planes, *wide))
    deviations[list(window.absent)] = 0
    origin = (here.origin[0] + wide[0].start, here.origin[1] + wide[1].start)
    components = lesson.folds.at(here.position)
    project = partial(components.project, other=here.other, origin=origin)
    # Planes that the network does not see may tell how bright it is there.
    near = window if lesson.reach.count > 1 else run.window(lesson.reach.looked_at, at)
    beside = [n for i, n in enumerate(near.planes[1:], 1) if i not in near.absent]
    others = scale.deviations(run.seen(beside, *wide)) if beside else deviations[:1]
    return _Site(
        y=y,
        x=x,
        inner=(within(y.read, wide[0]), within(x.read, wide[1])),
        window=window,
        deviations=deviations,
        past=mean_of(scale.deviations(run.seen(window.past, *wide))),
        scale=scale,
        project=project,
        near=mean_of(others),
        expected=expected_deviations(others, lesson.background.is_flat, lesson.noise, project),
    )


def _flipped(pixels: NDArray[np.float32], axes: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.flip(pixels, axes)))


def _segment(reach: Reach, planes: int, at: int, random: np.random.Generator) -> Bounds:
    """The run as it is, or cut short beside the plane, as for first and last planes."""
    if random.random() >= TURNED or planes <= reach.count:
        return 0, planes
    kept = int(random.integers(max(reach.before, reach.after, 1)))
    if reach.after and random.random() < 0.5:
        return 0, min(max(at + 1 + kept, reach.count), planes)
    return max(min(at - kept, planes - reach.count), 0), planes


def _place(length: int, crop: int, random: np.random.Generator) -> Bounds:
    """A run of `crop` pixels, or of all, at an even place."""
    size = min(crop, length)
    start = int(random.integers((length - size) // network.SQUARE + 1)) * network.SQUARE
    return start, start + size
