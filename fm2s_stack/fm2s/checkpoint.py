"""Keeping a long fit's state, so that a stop or a kill loses about a minute of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s.trainer import EachDraw, State, Trainer
from fm2s_stack.progress import Pulse, unheard
from fm2s_stack.settings import PIXEL_VERSION, FitSettings

FORMAT = 2  #: of `Trainer.state`; raised when its arrays change their names or meaning
PERIOD = 60.0  #: seconds of training between two checkpoints
WORTH_KEEPING = 5.0  #: seconds of training that are kept when a fit stops or ends


class Checkpoint(Protocol):
    """Where the state of one fit is kept; `store/checkpoints.py` has one in a file."""

    def load(self, key: str) -> State | None:
        """The arrays last saved under this very key; None if there are none, or damaged."""

    def save(self, key: str, state: State) -> None:
        """Keep the arrays, in place of any kept before."""


def training_key(
    planes: Sequence[NDArray[np.float32]],
    valid: Sequence[NDArray[np.bool_] | None],
    settings: FitSettings,
    seeds: Sequence[int],
    device: str,
) -> str:
    """A text that is the same only for fits that go through the same states.

    Parameters
    ----------
    planes, valid
        What each network is trained on, shape (n, y, x).
    settings, seeds
        As for `fit_networks`.
    device
        ``cpu`` or ``cuda:N``: only the kind counts, whose random streams agree.
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in (*planes, *valid):
        if array is None:
            digest.update(b"all")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    told = (
        FORMAT, PIXEL_VERSION, str(torch.__version__), device.partition(":")[0], tuple(seeds),
        settings.preset, settings.crop, settings.draws, digest.hexdigest(),
    )  # fmt: skip
    return repr(told)


def run_with_checkpoint(
    trainer: Trainer,
    checkpoint: Checkpoint,
    key: str,
    told: EachDraw | None = None,
    pulse: Pulse = unheard,
) -> None:
    """Train to the end from the state that was kept, if any, and keep it once a minute.

    It is kept at the end too, so that of many fits those that were finished are not made
    again. What took less than seconds is never kept.

    Raises
    ------
    StoppedEarly
        From `pulse` or `told`; the state was kept.
    """
    found = checkpoint.load(key)
    if found is not None:
        trainer.restore(found)
    saved = time.monotonic()

    def keep(after: float) -> None:
        nonlocal saved
        if time.monotonic() - saved >= after:
            checkpoint.save(key, trainer.state())
            saved = time.monotonic()

    def each_step() -> None:
        pulse()
        keep(PERIOD)

    try:
        trainer.run(told, each_step)
    except StoppedEarly:
        keep(WORTH_KEEPING)
        raise
    keep(WORTH_KEEPING)
