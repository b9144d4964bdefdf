"""Computing the parts of something, side by side or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class SideBySide(Protocol):
    """Calls a function with 0 to n - 1, in threads or one after the other."""

    def __call__(self, compute: Callable[[int], Tensor], count: int, /) -> list[Tensor]:
        """What the function returned, in order."""


def in_turn(compute: Callable[[int], Tensor], count: int) -> list[Tensor]:
    """One call after the other."""
    return [compute(i) for i in range(count)]
