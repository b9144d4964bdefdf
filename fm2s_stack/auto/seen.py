"""A plane and its neighbours, as they were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.reach import Window

Planes = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Seen:
    """A plane and its neighbours, as they were read."""

    planes: Planes  #: grey levels in the order of `Reach.window`, then those of its past, shape
    #: (planes, y, x)
    light: tuple[NDArray[np.bool_] | None, ...]  #: which pixels of each carry light; None: all
    missing: float = 0.0  #: as `Window.missing`
    absent: tuple[int, ...] = ()  #: as `Window.absent`
    past: int = 0  #: how many of the planes are of `Window.past`

    @classmethod
    def of(
        cls,
        window: Window,
        planes: Planes,
        light: Sequence[NDArray[np.bool_] | None],
    ) -> Seen:
        """A window of planes (n, y, x), of which `light` tells which pixels carry light."""
        numbers = [*window.planes, *window.past]
        lit = tuple(light[n] for n in numbers)
        return cls(planes[numbers], lit, window.missing, window.absent, len(window.past))
