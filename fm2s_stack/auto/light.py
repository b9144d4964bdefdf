"""How much light a network loses, measured on the recording."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.auto import network
from fm2s_stack.auto.components import BLOCK
from fm2s_stack.auto.lesson import Lesson, stream_of
from fm2s_stack.auto.sharing import SideBySide, in_turn
from fm2s_stack.auto.sites import Site, draw_site
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.progress import Pulse, unheard

SITES = 384  #: that it is measured on
PARTS = 16  #: groups of them
SURE = 4.0  #: errors by which light must be lost to be sure
FIRST_STREAM = 300  #: of the random streams: far from those of the training


class Light(NamedTuple):
    """Light that is lost, deviations of the noise."""

    lost: float
    error: float  #: standard error of that

    @property
    def sure(self) -> float:
        """What is lost, or nothing where chance could be all there is to it."""
        return self.lost if abs(self.lost) > SURE * self.error else 0.0


def lost_light(
    lesson: Lesson,
    weights: NDArray[np.float32],
    heed: float,
    side_by_side: SideBySide = in_turn,
    pulse: Pulse = unheard,
) -> Light:
    """What must be added to results for their mean to be right.

    It is measured with the components that results are made with: these hold some noise of the
    planes they are used on, and heeding the planes brings it into the mean.

    Parameters
    ----------
    lesson
        What the network was trained with.
    weights
        Its parameters.
    heed
        What its results heed the planes themselves, as `Components.heeded`.
    side_by_side
        How groups of sites are computed.
    pulse
        Called before each; what it raises ends the measurement.
    """
    kernels, applied = network.layers(torch.from_numpy(weights), lesson.channels), lesson.applied

    def sums_of(part: int) -> torch.Tensor:
        pulse()
        stream = stream_of(applied, FIRST_STREAM + part)
        with one_thread():
            sites = (draw_site(applied, stream, BLOCK, turned=0) for _ in range(SITES // PARTS))
            lost = [_lost(kernels, heed, site) for site in sites]
            return torch.tensor(lost, dtype=torch.float64).sum(0)

    lost, unit = torch.stack(side_by_side(sums_of, PARTS)).numpy().T
    value = lost.sum() / unit.sum()
    # From how the parts depart from it.
    error = np.sqrt(np.square(lost - value * unit).sum()) / unit.sum()
    return Light(float(value), float(error))


def _lost(kernels: network.Kernels, heed: float, site: Site) -> tuple[float, float]:
    """Light that a site loses, and how much light one deviation everywhere is; grey levels."""
    own = site.deviations[0]
    made = network.made(kernels, site.shown(own))
    lost = site.own(own) - site.heeded(site.own(own), made, heed)
    unit = site.own(np.broadcast_to(site.scale.deviation, own.shape))
    return float(np.sum(lost * unit, dtype=np.float64)), float(np.sum(unit, dtype=np.float64))
