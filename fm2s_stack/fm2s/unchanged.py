"""Pixels that carry no light, as they come back from a denoiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

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
    result[left_out] = as_type(plane[inside][left_out], result.dtype, name)[0]


def as_type(
    pixels: NDArray[np.generic], dtype: DTypeLike, name: str
) -> tuple[NDArray[np.generic], int]:
    """The same grey levels in another pixel type, and how many were clipped to its range.

    Parameters
    ----------
    pixels
        Any shape. NaN and infinity stay, where the type has them.
    dtype
        Pixel type wanted; to integers grey levels are rounded.
    name
        Of the plane, for the error.

    Raises
    ------
    NonFinitePixels
        If there is NaN or infinity that the type cannot hold.
    """
    wanted = np.dtype(dtype)
    if wanted == pixels.dtype:
        return pixels, 0
    finite = np.isfinite(pixels)
    if finite.all():
        return clipped_to(pixels.astype(np.float64), wanted)
    if wanted.kind != "f":
        raise NonFinitePixels(
            f"{name} has NaN or infinite pixels, which {wanted} cannot hold; give --dtype float32"
        )
    result = np.where(finite, 0, pixels).astype(wanted)
    result[finite], clipped = clipped_to(pixels[finite].astype(np.float64), wanted)
    return result, clipped
