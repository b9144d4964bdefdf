"""Components told without the planes they are used on.

A component holds some of the noise of the planes it was told from. A network that is trained on
those planes would find its target's noise in what it is shown, and learn to keep it. Each part of
a recording is therefore trained on with components of the other parts alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.component_search import ComponentSearch
from fm2s_stack.auto.components import Components, no_components
from fm2s_stack.progress import Pulse, unheard

FOLDS = 4  #: sets of components
PARTS = 8  #: runs of the recording, which belong to the sets in turn


@dataclass(frozen=True, eq=False)
class Folds:
    """Components for training on each part of a recording."""

    starts: tuple[float, ...]  #: where each part begins along the stack axis, ascending
    components: tuple[Components, ...]  #: of the parts, in turn

    def at(self, position: float) -> Components:
        """Those that the planes around a position took no part in."""
        part = max(bisect_right(self.starts, position) - 1, 0)
        return self.components[part % len(self.components)]


def no_folds() -> Folds:
    """Those of a recording that is too short to tell any."""
    return Folds((0.0,), (no_components(),))


def search_folds(
    search: ComponentSearch, positions: Sequence[float], pulse: Pulse = unheard
) -> Folds:
    """Search the components of each part in all others.

    Parameters
    ----------
    search
        Of the whole recording.
    positions
        Of its planes along the stack axis, ascending.
    pulse
        Called before each block.
    """
    parts = np.arange(len(positions)) * PARTS // len(positions)
    starts = [positions[int(np.argmax(parts == part))] for part in range(PARTS)]
    found = [search.found(pulse, _without(parts, fold)) for fold in range(FOLDS)]
    return Folds(tuple(starts), tuple(found))


def _without(parts: NDArray[np.intp], fold: int) -> NDArray[np.bool_]:
    return np.asarray(parts % FOLDS != fold)
