"""The noise of a stack, measured on frames spread over it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NoiseUnknown, StackError
from fm2s_stack.job.sampling import spread_places
from fm2s_stack.noise_model import NoiseModel, measure_image, measure_motion, measure_movie
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.reading import Place, is_gone, read_part

PAIRS = 32  #: of consecutive frames that are looked at, at most
PLANES = 16  #: that are looked at where there are no consecutive frames, at most
SIDE = 1024  #: of the part in the middle that is looked at in larger planes, pixels
PIXELS = 2**23  #: of one frame of each pair together, at most


def measure_noise(
    stack: Stack, c: int, *, offset: float | None = None, progress: Progress | None = None
) -> NoiseModel:
    """Measure the noise of one channel.

    From the differences of up to 32 pairs of consecutive frames spread over the recording; where
    no two frames follow each other, from up to 16 planes by themselves. Of planes larger than
    1024 x 1024 pixels the middle is read. Pairs with a plane that cannot be read are left out,
    with a note. Whether the field moves is looked at in the same pairs, and said in the notes of
    the model.

    Parameters
    ----------
    stack
        From `open_stack`.
    c
        Channel, an index into the stack.
    offset
        Grey level of darkness, where metadata tells it.
    progress
        Told of planes that cannot be read; None: silent.

    Raises
    ------
    NoiseUnknown
        If the pixels do not tell their noise, naming the channel.
    StackError
        If nothing can be read.
    """
    told = progress or Silent()
    starts = _pair_starts(stack)
    try:
        if starts:
            pairs, slices = _read(stack, c, _pair_places(stack, starts), 2, told)
            model = measure_movie(pairs, offset=offset)
            return replace(model, notes=(*model.notes, *measure_motion(pairs, slices).notes))
        shape = stack.image.shape
        places = spread_places((0, shape[0]), (0, shape[2]), PLANES)
        planes, _ = _read(stack, c, places, 1, told)
        return measure_image(planes[:, 0], offset=offset)
    except NoiseUnknown as error:
        of = ", ".join(filter(None, [stack.path, stack.name_channel(c)]))
        raise NoiseUnknown(f"{of}: {error}") from None


def _pair_starts(stack: Stack) -> list[int]:
    """First frames of pairs within a file or trial; no frame is in two of them."""
    return [t for a, b in stack.trials for t in range(a, b - 1, 2)]


def _pair_places(stack: Stack, starts: list[int]) -> list[tuple[int, int]]:
    _, _, slices, rows, columns = stack.image.shape
    seen = min(rows, SIDE) * min(columns, SIDE)
    count = min(PAIRS, max(2, PIXELS // seen))
    return [(starts[i], z) for i, z in spread_places((0, len(starts)), (0, slices), count)]


def _read(
    stack: Stack, c: int, places: list[tuple[int, int]], frames: int, told: Progress
) -> tuple[NDArray[np.generic], NDArray[np.intp]]:
    """Planes at each place and those that follow, shape (places, frames, y, x); the slices."""
    read, slices = [], []
    for t, z in places:
        told.advance(0)  # slow storage: let it be stopped between two planes
        try:
            read.append(_planes(stack, [(t + i, c, z) for i in range(frames)]))
            slices.append(z)
        except (StackError, OSError) as error:
            if is_gone(error):
                raise
            told.note(f"{stack.name_plane(t, c, z)} is left out of measuring the noise: {error}")
    if not read:
        raise StackError(f"{stack.path}: none of the planes to measure noise on can be read")
    return np.stack(read), np.array(slices, np.intp)


def _planes(stack: Stack, places: list[Place]) -> NDArray[np.generic]:
    # Plane by plane: the blocks of the lazy array hold many more than are looked at.
    y, x = (_middle(side) for side in stack.image.shape[3:])
    return np.stack([read_part(stack, place, y, x) for place in places])


def _middle(side: int) -> tuple[int, int]:
    start = max(0, (side - SIDE) // 2)
    return start, start + min(side, SIDE)
