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

FramesAt = tuple[tuple[int, ...], int]  #: frames, and the slice

PAIRS = 32  #: of consecutive frames that are looked at, at most
PLANES = 16  #: that are looked at where there are no consecutive frames, at most
SIDE = 1024  #: of the part in the middle that is looked at in larger planes, pixels
PIXELS = 2**23  #: of one frame of each pair together, at most


def measure_noise(
    stack: Stack, c: int, *, offset: float | None = None, progress: Progress | None = None
) -> NoiseModel:
    """Measure the noise of one channel.

    From the differences of up to 32 pairs of consecutive frames spread over the recording; where
    no two frames follow each other, from up to 16 planes by themselves. Excluded frames are
    passed over; where one lies between any two others, these make pairs all the same. Of planes
    larger than 1024 x 1024 pixels the middle is read. Pairs with a plane that cannot be read are
    left out, with a note. Whether the field moves is looked at in the same pairs, and said in
    the notes of the model.

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
    pairs = _pairs(stack)
    try:
        if pairs:
            read, slices = _read(stack, c, _pair_places(stack, pairs), told)
            model = measure_movie(read, offset=offset)
            return replace(model, notes=(*model.notes, *measure_motion(read, slices).notes))
        kept = stack.kept
        places = spread_places((0, len(kept)), (0, stack.image.shape[2]), PLANES)
        alone: list[FramesAt] = [((kept[i],), z) for i, z in places]
        return measure_image(_read(stack, c, alone, told)[0][:, 0], offset=offset)
    except NoiseUnknown as error:
        of = ", ".join(filter(None, [stack.path, stack.name_channel(c)]))
        raise NoiseUnknown(f"{of}: {error}") from None


def _pairs(stack: Stack) -> list[tuple[int, int]]:
    """Frames of a file or trial that follow each other; no frame is in two pairs.

    Where an excluded frame lies between any two others, as where every other one is lit for
    stimulation, the next that is left follows.
    """
    trials = [list(stack.excluded.gaps(*trial)) for trial in stack.trials]
    pairs = [(t, t + 1) for runs in trials for a, b in runs for t in range(a, b - 1, 2)]
    if pairs:
        return pairs
    kept = [[t for run in runs for t in range(*run)] for runs in trials]
    return [pair for frames in kept for pair in zip(frames[::2], frames[1::2], strict=False)]


def _pair_places(stack: Stack, pairs: list[tuple[int, int]]) -> list[FramesAt]:
    _, _, slices, rows, columns = stack.image.shape
    seen = min(rows, SIDE) * min(columns, SIDE)
    count = min(PAIRS, max(2, PIXELS // seen))
    return [(pairs[i], z) for i, z in spread_places((0, len(pairs)), (0, slices), count)]


def _read(
    stack: Stack, c: int, places: list[FramesAt], told: Progress
) -> tuple[NDArray[np.generic], NDArray[np.intp]]:
    """Planes of the frames at each place, shape (places, frames, y, x); the slices."""
    read, slices = [], []
    for frames, z in places:
        told.advance(0)  # slow storage: let it be stopped between two planes
        try:
            read.append(_planes(stack, [(t, c, z) for t in frames]))
            slices.append(z)
        except (StackError, OSError) as error:
            if is_gone(error):
                raise
            name = stack.name_plane(frames[0], c, z)
            told.note(f"{name} is left out of measuring the noise: {error}")
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
