"""What a network is trained with: a recording's planes, and crops with noise added to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.auto import network
from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.channels import Scale, channel_count, channels_of, mean_of
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.auto.cut import cut, mirrored, widened, within
from fm2s_stack.auto.folds import Folds, no_folds
from fm2s_stack.auto.level import level_of
from fm2s_stack.auto.reach import Reach, Window
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.stack.frame_ranges import NO_FRAMES, Bounds, FrameRanges

TURNED = 0.25  #: part of the crops whose windows are cut short, as those of first and last planes
FLIPS = ((), (-1,), (-2,), (-1, -2))


@dataclass(frozen=True, eq=False)
class Run:
    """Consecutive planes of a recording that a network is trained on, but for excluded ones."""

    place: Place  #: of the first plane of the run
    planes: NDArray[np.generic]  #: grey levels, shape (n, y, x): those that are not excluded
    excluded: FrameRanges = NO_FRAMES  #: steps from the first plane at which one is left out

    @property
    def length(self) -> int:
        """Steps from the first plane of the run to one past the last that is not excluded."""
        return int(self.steps[-1]) + 1

    @cached_property
    def steps(self) -> NDArray[np.intp]:
        """Of each of `planes`, from the first plane of the run."""
        runs = self.excluded.gaps(0, len(self.planes) + self.excluded.count)
        return np.concatenate([np.arange(*run) for run in runs])

    def place_of(self, step: int) -> Place:
        """Where the plane at a step is."""
        return replace(self.place, position=self.place.position + step)

    def seen(self, steps: Sequence[int], rows: slice, columns: slice) -> NDArray[np.generic]:
        """Rows and columns of the planes at steps, none of which is excluded."""
        return self.planes[self.numbers_of(steps), rows, columns]

    def numbers_of(self, steps: Sequence[int]) -> NDArray[np.intp]:
        """Which of `planes` are those at steps, none of which is excluded."""
        return np.searchsorted(self.steps, steps)

    def window(self, reach: Reach, step: int, segment: Bounds | None = None) -> Window:
        """The steps that a plane is made of, within a part of the run; None: all of it."""
        return reach.window(step, segment or (0, self.length), self.excluded)


@dataclass(frozen=True, eq=False)
class Lesson:
    """All that a network is trained with."""

    runs: tuple[Run, ...]  #: planes of the recording
    background: Background  #: of it
    noise: NoiseModel  #: of it
    skewness: Skewness  #: of its noise
    reach: Reach  #: planes of a window
    crop: int  #: side of the training crops, pixels, even
    steps: int  #: of Adam
    seed: int  #: of every random stream
    folds: Folds = field(default_factory=no_folds)  #: components of the recording

    @property
    def channels(self) -> int:
        """Of the network."""
        return channel_count(self.reach.count)


def stream_of(lesson: Lesson, number: int) -> np.random.Generator:
    """Random numbers of one share of the work, from 0."""
    return np.random.default_rng((lesson.seed, number))


@dataclass(frozen=True, eq=False)
class Crop:
    """An input and what it shall become."""

    inputs: Tensor  #: channels of the window, recorrupted, shape (channels, y, x) with the halo
    target: Tensor  #: the plane, recorrupted the other way, shape (y, x)


def draw_crop(
    lesson: Lesson, recorruption: Recorruption, random: np.random.Generator, strength: float = 1.0
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
    """
    run = lesson.runs[random.integers(len(lesson.runs))]
    at = int(run.steps[random.integers(len(run.planes))])
    segment = _segment(lesson.reach, run.length, at, random)
    window = run.window(lesson.reach, at, segment)
    y, x = (
        cut(_place(size, lesson.crop, random), size, network.HALO, network.SQUARE)
        for size in run.planes.shape[1:]
    )
    here = run.place_of(at)
    wide = [widened(c.read, n, BLOCK) for c, n in zip((y, x), run.planes.shape[1:], strict=True)]
    scale = Scale.of(lesson.background.at(here, *wide), lesson.noise)
    deviations = scale.deviations(run.seen(window.planes, *wide))
    deviations[list(window.absent)] = 0
    past = mean_of(scale.deviations(run.seen(window.past, *wide)))
    origin = (here.origin[0] + wide[0].start, here.origin[1] + wide[1].start)
    project = partial(lesson.folds.at(here.position).project, other=here.other, origin=origin)
    level = level_of(deviations, window.absent, scale, lesson.noise, project)
    noise = recorruption.draw(level, random) / scale.deviation
    target = deviations[0] - noise / np.float32(strength)
    deviations[0] += noise * np.float32(strength)
    inner = (within(y.read, wide[0]), within(x.read, wide[1]))
    projected = [project(plane)[inner] for plane in (deviations[0], past)]
    shown = channels_of(deviations[:, *inner], scale.part(inner), window.missing, projected)
    core = slice(network.HALO, -network.HALO)
    wanted = mirrored(target[inner], y, x)[core, core]
    flip = FLIPS[random.integers(len(FLIPS))]
    return Crop(_flipped(mirrored(shown, y, x), flip), _flipped(wanted, flip))


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
