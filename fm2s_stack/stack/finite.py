"""NaN and infinity in the data, named by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NonFinitePixels
from fm2s_stack.stack.base import Stack


def require_finite(stack: Stack, planes: NDArray[np.generic], t: int, c: int, z: int) -> None:
    """Refuse NaN and infinity, but for excluded frames, whose pixels are looked at by nobody.

    Parameters
    ----------
    stack
        Where the planes come from.
    planes
        Pixels, shape (t, c, z, y, x).
    t, c, z
        Indices into `stack` of the first plane.

    Raises
    ------
    NonFinitePixels
        Naming the first frame that has one, by its index in the source.
    """
    if planes.dtype.kind != "f":
        return
    bad = ~np.isfinite(planes).all(axis=(3, 4))
    bad[[t + i in stack.excluded for i in range(len(planes))]] = False
    if not bad.any():
        return
    i, j, k = np.argwhere(bad)[0].tolist()
    raise NonFinitePixels(
        f"{stack.path}: {stack.name_plane(t + i, c + j, z + k)} has NaN or infinite pixels; "
        "expected finite ones; --nan keep leaves them and constant padding as they are"
    )
