"""What is decided of a fit by the stack: the mode, the neighbours, and what follows from them."""

from __future__ import annotations

from dataclasses import replace

from fm2s_stack.errors import UsageError
from fm2s_stack.image import StackAxis
from fm2s_stack.settings import (
    CROP,
    MOST_NEIGHBOURS,
    Auto,
    FitSettings,
    RunSettings,
    WriteSettings,
)
from fm2s_stack.stack.base import Stack

LEAST_PLANES = 16  #: of a background: of fewer its noise would show
STUDIED_PIXELS = 2**24  #: of the planes at one position that have a background, at most
FIT_PIXELS = 2**25  #: pixels of the training planes together, so that huge planes fit
NEIGHBOURS = 2  #: of a plane to each side where they are not told: more of them gain half a
#: decibel, and let twice as much of an event be seen before it begins
#: along the stack axis, from which on neighbours are taken where they are not told: with 3 the
#: network learns too little at few photons, and planes by themselves come out 1.4 dB better
NEAR_PLANES = 2 * NEIGHBOURS + 1


def decide_mode(stack: Stack, fit: FitSettings, along: StackAxis | None = None) -> FitSettings:
    """The settings with the mode filled in: ``frame`` for a single plane, else ``stack``.

    A single plane too large to be trained on as a whole is a stack of its parts, and so is
    one whose noise is measured. Of ``-c auto`` the number of neighbours is filled in, too.

    Parameters
    ----------
    stack
        From `open_stack`.
    fit
        As asked for, or decided before.
    along
        The stack axis; None: the default one.

    Raises
    ------
    UsageError
        If a number is out of its range.
    """
    if fit.mode == "every" and fit.every < 1:
        raise UsageError(f"--fit-every {fit.every}: expected 1 plane or more")
    if fit.crop is not None and fit.crop < 16:
        raise UsageError(f"--fit-crop {fit.crop}: expected 16 pixels or more, or full")
    if fit.draws < 1:
        raise UsageError(f"--steps {fit.draws}: expected 1 or more")
    if isinstance(fit.preset, Auto):
        return _decide_auto(stack, fit, fit.preset, along or stack.image.default_along())
    if fit.mode is not None:
        return fit
    t, _, z, rows, columns = stack.image.shape
    alone = t * z == 1 and rows * columns <= FIT_PIXELS
    return replace(fit, mode="frame" if alone else "stack")


def _decide_auto(stack: Stack, fit: FitSettings, auto: Auto, along: StackAxis) -> FitSettings:
    """The settings of ``-c auto`` with the mode and the number of neighbours filled in."""
    neighbours, alone = _decide_neighbours(stack, fit, auto, along)
    if fit.crop is None:
        raise UsageError("--fit-crop full: -c auto trains on crops; expected a number of pixels")
    if alone and fit.crop != CROP:
        raise UsageError(
            f"--fit-crop {fit.crop}: where planes are denoised by themselves nothing is trained on "
            "crops; leave it out"
        )
    decided = replace(auto, neighbours=neighbours, alone=alone)
    return replace(fit, mode=fit.mode or "stack", preset=decided)


def _decide_neighbours(
    stack: Stack, fit: FitSettings, auto: Auto, along: StackAxis
) -> tuple[int, bool]:
    """Planes to each side; and whether each plane is denoised as if it were the only one."""
    asked = auto.neighbours
    length = len(stack.kept) if along == "t" else stack.image.shape[2]
    if asked is not None and not 0 <= asked <= MOST_NEIGHBOURS:
        raise UsageError(f"--neighbours {asked}: expected 0 to {MOST_NEIGHBOURS}")
    if fit.mode == "frame":
        reason = "--fit frame fits each plane by itself"
    elif length == 1:
        reason = f"{stack.path} has one plane{' left' if stack.excluded else ''}"
    elif asked == 0:
        reason = "--neighbours 0"
    elif asked is None and length < NEAR_PLANES:
        reason = f"{stack.path} has {length} planes, too few to learn from neighbours"
    else:
        return NEIGHBOURS if asked is None else asked, False
    if asked:
        raise UsageError(f"--neighbours {asked}: {reason}; expected 0, or leave it out")
    if auto.causal:
        raise UsageError(f"--causal: {reason}, so there are no earlier ones; leave it out")
    return 0, fit.mode == "frame" or not has_background(stack, along)


def has_background(stack: Stack, along: StackAxis) -> bool:
    """Whether planes along the stack axis can have a background in common."""
    _, _, slices, rows, columns = stack.image.shape
    enough = along == "t" and len(stack.kept) >= LEAST_PLANES
    return enough and slices * rows * columns <= STUDIED_PIXELS


def settle_device(fit: FitSettings, run: RunSettings) -> RunSettings:
    """The settings with the CPU where nothing else can compute: planes denoised by themselves.

    Parameters
    ----------
    fit
        With the neighbours decided.
    run
        As asked for.
    """
    return replace(run, device="cpu") if fit.is_planewise else run


def require_precision(fit: FitSettings, write: WriteSettings) -> None:
    """Refuse an arithmetic that is not there.

    Raises
    ------
    UsageError
        If planes are denoised by themselves, which is done in float32.
    """
    if fit.is_planewise and write.precision != "float32":
        raise UsageError(
            f"--precision {write.precision}: planes are denoised by themselves with -c auto, in "
            "float32; leave it out"
        )
