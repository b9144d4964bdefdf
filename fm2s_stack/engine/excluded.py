"""Excluded frames of a run of planes: which planes are left to denoise, and their copies."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.engine.job import Job
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.fm2s.unchanged import as_type
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Progress
from fm2s_stack.stack.base import Stack


def kept_planes(stack: Stack, run: Unit) -> tuple[int, ...]:
    """Numbers of a run's planes, in C order, that are of no excluded frame."""
    slices = run.shape[2]
    kept = [t for a, b in stack.excluded.gaps(*run.t) for t in range(a, b)]
    return tuple((t - run.t[0]) * slices + z for t in kept for z in range(slices))


def copy_excluded(
    job: Job,
    run: Unit,
    read: Unit,
    planes: NDArray[np.generic],
    core: Core,
    result: NDArray[np.generic],
    progress: Progress,
) -> int:
    """Copy the excluded frames of a run as they are; how many pixels were clipped.

    Parameters
    ----------
    job, run
        Of which planes.
    read, planes
        What was read for it, shape (t, z, y, x).
    core
        Rows and columns of `planes` that are the run's own.
    result
        Of the run, shape (n, rows, columns), of the pixel type that is wanted.
    progress
        Told of each.

    Raises
    ------
    NonFinitePixels
        If one has NaN and the result's type cannot hold it.
    """
    clipped, inside = 0, (slice(*core[0]), slice(*core[1]))
    for number, (t, z) in enumerate(product(range(*run.t), range(*run.z))):
        if t not in job.stack.excluded:
            continue
        own = planes[t - read.t[0], z - read.z[0]][inside]
        name = f"{job.stack.path}: {job.stack.name_plane(t, run.c, z)}"
        result[number], outside = as_type(own, result.dtype, name)
        clipped += outside
        progress.advance(1)
    return clipped
