"""Reading boxes of a stack: all at once, or plane by plane, each read tried twice."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackError
from fm2s_stack.image import Shape5
from fm2s_stack.stack.base import Stack

RETRY_SECONDS = 0.2  #: until a read that the system refused is tried again

Place = tuple[int, int, int]  #: frame, channel, slice
Bounds = tuple[int, int]  #: first, and one past the last

_GONE = frozenset((
    "EACCES", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "EMFILE",
    "ENETDOWN", "ENETUNREACH", "ENFILE", "ENODEV", "ENOENT", "ENOMEM", "ENOTCONN", "ENOTDIR",
    "ENXIO", "EPERM", "ESHUTDOWN", "ESTALE", "ETIMEDOUT",
))  # fmt: skip


@dataclass(frozen=True)
class Box:
    """Planes of one channel, or the same part of each; indices into a stack."""

    t: Bounds  #: frames
    c: int  #: channel
    z: Bounds  #: slices
    y: Bounds  #: rows
    x: Bounds  #: columns

    @property
    def shape(self) -> Shape5:
        """Lengths along tczyx."""
        (t0, t1), (z0, z1), (y0, y1), (x0, x1) = self.t, self.z, self.y, self.x
        return (t1 - t0, 1, z1 - z0, y1 - y0, x1 - x0)

    @property
    def places(self) -> Iterator[Place]:
        """Each plane, in C order."""
        return product(range(*self.t), [self.c], range(*self.z))


def read_blocks(stack: Stack, box: Box) -> NDArray[np.generic]:
    """Pixels of a box through the stack's Dask array, shape (t, 1, z, y, x).

    A read that fails is tried once more, `RETRY_SECONDS` later if the system refused it:
    network file systems have hiccups.

    Raises
    ------
    StackError
        If a block that the box touches cannot be read.
    """
    ranges = (box.t, (box.c, box.c + 1), box.z, box.y, box.x)
    lazy = stack.array[tuple(slice(*bounds) for bounds in ranges)]
    return _twice(lambda: np.asarray(lazy.compute(scheduler="synchronous")))


def read_part(stack: Stack, place: Place, y: Bounds, x: Bounds) -> NDArray[np.generic]:
    """Pixels of a part of one plane, shape (y, x), tried twice as `read_blocks` does.

    Raises
    ------
    StackError
        If this plane cannot be read, whatever is wrong with others of its block.
    """
    source = source_place(stack, place)
    return _twice(lambda: stack.planes.read(*source, slice(*y), slice(*x)))


def source_place(stack: Stack, place: Place) -> Place:
    """Source indices of a plane of the stack."""
    t, c, z = place
    return stack.t_start + t, stack.channel_indices[c], stack.z_start + z


def stored_parts(stack: Stack) -> Iterator[tuple[Bounds, Bounds]]:
    """Rows and columns of each part that a whole plane is stored in."""
    rows, columns = (np.cumsum((0, *lengths)).tolist() for lengths in stack.array.chunks[3:])
    return product(pairwise(rows), pairwise(columns))


def touches_all_parts(stack: Stack, box: Box) -> bool:
    """Whether reading the box reads its planes wholly."""
    bounds = zip(stack.array.chunks[3:], (box.y, box.x), strict=True)
    return all(start < sizes[0] and stop > sum(sizes[:-1]) for sizes, (start, stop) in bounds)


def is_gone(error: Exception) -> bool:
    """Whether the system says that the input is gone or closed to us, not that it is damaged."""
    number = _system_error(error)
    return number is not None and errno.errorcode.get(number) in _GONE


def _twice(read: Callable[[], NDArray[np.generic]]) -> NDArray[np.generic]:
    try:
        return read()
    except (StackError, OSError) as error:
        if _system_error(error) is not None:
            time.sleep(RETRY_SECONDS)
    return read()


def _system_error(error: BaseException | None) -> int | None:
    """The number that the system gave in an error or in what caused it; None: it gave none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__
    return None
