"""What a network is trained with: a recording's planes, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Background, Place
from fm2s_stack.auto.channels import channel_count
from fm2s_stack.auto.components import Components
from fm2s_stack.auto.folds import Folds, no_folds
from fm2s_stack.auto.reach import Reach, Window
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.stack.frame_ranges import NO_FRAMES, Bounds, FrameRanges


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
    folds: Folds = field(default_factory=no_folds)  #: components of the recording, to train with
    components: Components | None = None  #: those that results are made with; None: of `folds`

    @property
    def channels(self) -> int:
        """Of the network."""
        return channel_count(self.reach.count)

    @property
    def applied(self) -> Lesson:
        """The same with the components that results are made with, everywhere."""
        if self.components is None:
            return self
        return replace(self, folds=Folds((0.0,), (self.components,)))


def stream_of(lesson: Lesson, number: int) -> np.random.Generator:
    """Random numbers of one share of the work, from 0."""
    return np.random.default_rng((lesson.seed, number))
