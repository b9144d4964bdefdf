"""Networks of another output for a stack: ``--fit-from``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.errors import UsageError
from fm2s_stack.image import StackAxis
from fm2s_stack.job.reload import load_denoisers
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.attributes import read_attributes


def borrow(stack: Stack, path: str | Path) -> tuple[AnyDenoiser, ...]:
    """The denoisers of another output, one for each channel of a stack.

    Channels are matched by their index in the source. A source of one channel may use the
    networks of an output of one channel, whichever it was.

    Raises
    ------
    UsageError
        If the output lacks a channel, or was made of pixels on another scale.
    OutputError
        If there is no complete output at the path.
    """
    found = load_denoisers(path)
    _require_same_depth(stack, found[0], path)
    wanted = stack.channel_indices
    if len(found) == 1 and wanted == (0,):
        return (replace(found[0], channel=0),)
    by_channel = {denoiser.channel: denoiser for denoiser in found}
    missing = [c for c in wanted if c not in by_channel]
    if missing:
        raise UsageError(
            f"--fit-from {path}: has networks for channels {sorted(by_channel)}, none for "
            f"channel {missing[0]}; select channels that both have"
        )
    return tuple(by_channel[c] for c in wanted)


def require_axis(denoisers: Sequence[AnyDenoiser], path: str | Path, along: StackAxis) -> None:
    """Refuse windows along one axis for a stack along the other.

    Raises
    ------
    UsageError
        If there are several windows and their axis is not `along`.
    """
    made = read_attributes(path)["settings"]["run"]["along"]
    if made != along and any(len(denoiser.weights) > 1 for denoiser in denoisers):
        raise UsageError(
            f"--fit-from {path}: its networks are windows along {made}, this stack runs along "
            f"{along}; expected the same axis, or an output of --fit stack"
        )


def _require_same_depth(stack: Stack, denoiser: AnyDenoiser, path: str | Path) -> None:
    """Refuse an 8-bit map for other data, which it would hold within 0 to 255, and back."""
    is_eight_bit = stack.image.dtype == "uint8"
    if denoiser.intensity.clamp != is_eight_bit:
        made = "uint8" if denoiser.intensity.clamp else "other than uint8"
        raise UsageError(
            f"--fit-from {path}: was made of pixels that are {made}, {stack.path} has "
            f"{stack.image.dtype}; expected the same scale of grey levels"
        )
