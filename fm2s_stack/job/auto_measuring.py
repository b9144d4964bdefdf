"""What ``-c auto`` knows of a whole stack: its slow background and what changes together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Background, Means, Place, flat_background
from fm2s_stack.auto.component_search import ComponentSearch
from fm2s_stack.auto.components import Components, no_components
from fm2s_stack.auto.folds import Folds, no_folds, search_folds
from fm2s_stack.auto.still import without_noise
from fm2s_stack.image import StackAxis
from fm2s_stack.job.auto_sampling import read_planes
from fm2s_stack.job.deciding import LEAST_PLANES, has_background
from fm2s_stack.job.planning import COMPONENT_PIXELS, GROUP, LEAST_STUDIED, STUDIED_PLANES
from fm2s_stack.job.sampling import spread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.progress import Progress
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Box

KNOT_PLANES = 16  #: by which the brightness at a knot is known, at least
MOST_KNOTS = 32  #: at which it is known
PROBES = 24  #: planes by which the background is judged
STEP = 4  #: pixels between those by which it is judged, and brightness is known
BETTER = 0.99  #: part of the error of one grey level that a background must come down to


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of a channel as a whole."""

    background: Background
    components: Components = field(default_factory=no_components)
    folds: Folds = field(default_factory=no_folds)  #: components to train with


def study(
    stack: Stack,
    c: int,
    fit: FitSettings,
    along: StackAxis,
    noise: NoiseModel,
    told: Progress,
    *,
    to_train: bool = True,
) -> Study:
    """The background and the components of a channel.

    The background is flat where planes do not show one thing over time. Components are those of
    up to 512 planes; there are none where fewer than 96 can be held. Those to train with are
    left out where `to_train` is not set.

    Raises
    ------
    StackError
        If a plane cannot be read.
    """
    flat = flat_background(noise.mean_level)
    if not has_background(stack, along):
        return Study(flat)
    read, pulse = _read(stack, c, fit, told), partial(told.advance, 0)
    background = read.means.background()
    if not _predicts(background, read.probes, read.count, noise):
        return Study(flat)
    # Counted without excluded frames, so that each knot is of as many.
    places = np.interp(background.positions, np.arange(len(stack.kept)), stack.kept)
    background = replace(background, positions=places + stack.t_start)
    background = without_noise(background, noise, read.count, pulse)
    if not read.groups:
        return Study(background)
    search = ComponentSearch(np.stack(read.groups), read.positions, background, noise, GROUP)
    found = search.found(pulse)
    if not to_train:
        return Study(background, found)
    return Study(background, found, search_folds(search, read.positions, pulse))


@dataclass(frozen=True, eq=False)
class _Read:
    """What was read of a channel."""

    count: int  #: frames
    means: Means  #: of them, by their number among those that are not excluded
    probes: list[tuple[int, NDArray[np.float32]]]  #: few pixels of a few, with that number
    groups: list[NDArray[np.float32]]  #: means of consecutive frames, shape (others, y, x)
    positions: list[float]  #: of each along the recording


def _read(stack: Stack, c: int, fit: FitSettings, told: Progress) -> _Read:
    """Read frames spread over a recording."""
    _, _, slices, rows, columns = stack.image.shape
    studied = _studied(len(stack.kept), max(STUDIED_PLANES // slices, LEAST_PLANES))
    groups = len(studied) // GROUP
    held = min(groups, COMPONENT_PIXELS // (slices * rows * columns))
    kept = set(spread(groups, held)) if held * GROUP >= LEAST_STUDIED else set()
    judged = set(spread(len(studied), PROBES))
    knots = min(MOST_KNOTS, max(len(studied) // KNOT_PLANES, 1))
    means = Means(len(stack.kept), knots, (slices, rows, columns), STEP)
    read = _Read(len(studied), means, [], [], [])
    for number, place in enumerate(studied):
        told.advance(0)
        t = stack.kept[place]
        box = Box((t, t + 1), c, (0, slices), (0, rows), (0, columns))
        own = read_planes(stack, box, fit, told)[0]
        means.add(place, own)
        if number in judged:
            read.probes.append((place, own[:, ::STEP, ::STEP].astype(np.float32)))
        group, step = divmod(number, GROUP)
        if group in kept:
            if step == 0:
                read.groups.append(np.zeros(own.shape, np.float32))
                read.positions.append(0.0)
            read.groups[-1] += own / np.float32(GROUP)
            read.positions[-1] += (t + stack.t_start) / GROUP
    return read


def _studied(frames: int, most: int) -> list[int]:
    """Numbers of frames that are read: all, or groups of consecutive ones."""
    if frames <= most:
        return list(range(frames))
    firsts = (GROUP * group for group in spread(frames // GROUP, most // GROUP))
    return [first + step for first in firsts for step in range(GROUP)]


def _predicts(
    background: Background,
    probes: list[tuple[int, NDArray[np.float32]]],
    count: int,
    noise: NoiseModel,
) -> bool:
    """Whether a background of so many planes tells more of a plane than one grey level does."""
    few = Background(background.mean[:, ::STEP, ::STEP], background.positions, background.lines)
    flat = flat_background(noise.mean_level)
    # A plane is a part of its own background: its error is too small by this.
    own = (count / (count - 1)) ** 2
    error = own * np.mean([_error(planes, few, t, noise) for t, planes in probes])
    return bool(error < BETTER * np.mean([_error(planes, flat, t, noise) for t, planes in probes]))


def _error(
    planes: NDArray[np.float32], background: Background, t: int, noise: NoiseModel
) -> np.floating:
    """Mean square of planes (others, y, x) around a background, in units of the noise."""
    whole = slice(0, planes.shape[1]), slice(0, planes.shape[2])
    there = np.stack([background.at(Place(t, other), *whole) for other in range(len(planes))])
    return np.mean((planes - there) ** 2 / noise.variance(there))
