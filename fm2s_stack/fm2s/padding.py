"""Pixels that carry no light: NaN, infinity, and constant padding at a plane's edges.

Registration leaves borders of one value, and deskewing leaves wedges of it. With
``--nan keep`` such pixels stay out of the fit and the intensity map, and come back
unchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.progress import Pulse, unheard

WINDOW = 7  #: side of the smallest constant square taken for padding, pixels


def valid_pixels(plane: NDArray[np.generic], pulse: Pulse = unheard) -> NDArray[np.bool_]:
    """Which pixels of a plane carry light; shape (y, x).

    Padding is what touches the plane's edge, has the value of a corner, and is either whole
    rows or columns at the edge or thick enough to hold a 7 x 7 square: the zeros of a dim
    photon-counting image are not. `pulse` is called several times for each value of the
    corners, whose search takes ten seconds in a huge plane.
    """
    finite = np.isfinite(plane) if plane.dtype.kind == "f" else np.ones(plane.shape, bool)
    valid = finite.copy()
    corners = {v.item() for v in plane[[0, 0, -1, -1], [0, -1, 0, -1]] if np.isfinite(v)}
    for value in corners:
        valid &= ~_padding_of(np.equal(plane, value), pulse)
    # A plane that is one value throughout is an image of nothing, not padding.
    return valid if valid.any() else finite


def fill_invalid(plane: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The plane with each invalid pixel replaced by the nearest valid one."""
    if valid.all():
        return plane
    if not valid.any():
        return np.zeros_like(plane)
    rows, columns = ndimage.distance_transform_edt(
        ~valid, return_distances=False, return_indices=True
    )
    return np.ascontiguousarray(plane[rows, columns])


def _padding_of(equal: NDArray[np.bool_], pulse: Pulse) -> NDArray[np.bool_]:
    pulse()
    thick = ndimage.binary_opening(equal, np.ones((WINDOW, WINDOW), bool))
    core = thick | _whole_lines(equal) | _whole_lines(equal.T).T
    pulse()
    labels, _ = ndimage.label(core)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    core = np.isin(labels, np.unique(edge[edge > 0]))
    if not core.any():
        return core
    # A slanted border leaves stairs and a tip thinner than the square: grow into them.
    pulse()
    grown = ndimage.binary_dilation(core, iterations=WINDOW - 1, mask=equal)
    pulse()
    return np.asarray(ndimage.binary_propagation(grown, mask=grown | _edge_runs(equal)))


def _edge_runs(equal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels joined to the left or right edge, or top or bottom, by a straight equal run."""
    runs = np.zeros_like(equal)
    for axis in (0, 1):
        runs |= np.logical_and.accumulate(equal, axis)
        runs |= np.flip(np.logical_and.accumulate(np.flip(equal, axis), axis), axis)
    return runs


def _whole_lines(equal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    full = np.asarray(equal.all(axis=1))
    kept = np.logical_and.accumulate(full) | np.logical_and.accumulate(full[::-1])[::-1]
    return np.broadcast_to(np.reshape(kept, (-1, 1)), equal.shape)
