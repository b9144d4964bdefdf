"""`Job`: all that a unit needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.left_alone import LeftAlone
from fm2s_stack.auto.planewise import PlanewiseDenoiser
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.image import StackAxis
from fm2s_stack.settings import FitSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.checkpoints import FitCheckpoints
from fm2s_stack.store.journal import Journal
from fm2s_stack.store.lock import Claim
from fm2s_stack.store.omezarr import OutputLayout

AnyDenoiser = Denoiser | NeighbourDenoiser | PlanewiseDenoiser | LeftAlone


@dataclass(frozen=True, eq=False)
class Job:
    """All that a unit needs; pickles."""

    stack: Stack  #: where planes come from
    layout: OutputLayout  #: where they go
    along: StackAxis  #: the stack axis
    fit: FitSettings  #: with the mode decided
    denoisers: tuple[AnyDenoiser, ...]  #: one a channel; without networks in mode ``frame``
    journal: Journal  #: where finished units are recorded
    claim: Claim | None = None  #: on the output, asked for before anything is written


def checkpoints_of(journal: Journal) -> FitCheckpoints:
    """Where fits that take long keep their state until their unit is journaled."""
    return FitCheckpoints(Path(journal.folder) / "fits", journal.token)
