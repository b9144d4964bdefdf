"""Pixels that carry no light, as they come back from a denoiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import NonFinitePixels
from fm2s_stack.fm2s.intensity import clipped_to
from fm2s_stack.fm2s.padding import valid_pixels
from fm2s_stack.fm2s.tiles import Core
from fm2s_stack.progress import Pulse
from fm2s_stack.settings import NanPolicy


def light_of(
    plane: NDArray[np.generic], policy: NanPolicy, name: str, pulse: Pulse
) -> NDArray[np.bool_] | None:
    """Which pixels of a plane carry light; None: all.

    Parameters
    ----------
    plane
        Grey levels, shape (y, x).
    policy
        ``keep`` finds those that carry none.
    name
        Of the plane, for the error.
    pulse
        Called several times.

    Raises
    ------
    NonFinitePixels
        If some are NaN or infinite and the policy is ``refuse``.
    """
    if policy == "keep":
        valid = valid_pixels(plane, pulse)
        return None if valid.all() else valid
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise NonFinitePixels(
            f"{name} has NaN or infinite pixels; keep them as they are with --nan keep"
        )
    return None


def put_back(
    plane: NDArray[np.generic],
    valid: NDArray[np.bool_],
    core: Core,
    result: NDArray[np.generic],
    name: str,
) -> None:
    """Give the pixels of a result that carry no light their own values again.

    Those beyond an integer type are clipped.

    Raises
    ------
    NonFinitePixels
        If the result's type cannot hold NaN.
    """
    inside = (slice(*core[0]), slice(*core[1]))
    left_out = ~valid[inside]
    pixels, dtype = plane[inside][left_out], result.dtype
    if dtype.kind == "f" or dtype == pixels.dtype:
        result[left_out] = pixels.astype(dtype)
        return
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise NonFinitePixels(
            f"{name} has NaN or infinite pixels, which {dtype} cannot hold; give --dtype float32"
        )
    result[left_out] = clipped_to(pixels.astype(np.float64), dtype)[0]
