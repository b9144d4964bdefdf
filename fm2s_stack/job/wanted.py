"""What a run is asked to make, with every choice settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.image import Image, StackAxis
from fm2s_stack.job.borrow import borrow, require_axis
from fm2s_stack.job.deciding import decide_mode
from fm2s_stack.job.planning import output_dtype, stack_axis
from fm2s_stack.job.target import Target, find_target
from fm2s_stack.job.terms import Terms, job_terms, token_of
from fm2s_stack.settings import Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.stack.base import Stack
from fm2s_stack.store.journal import Journal, journal_folder
from fm2s_stack.store.weights import weights_sha256


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a run is asked to make."""

    stack: Stack  #: the input
    target: Target  #: where the result goes
    image: Image  #: axes, shape, dtype of the output
    along: StackAxis  #: the stack axis
    fit: FitSettings  #: with the mode decided
    write: WriteSettings  #: what the output looks like
    run: RunSettings  #: where and how it is computed
    borrowed: tuple[AnyDenoiser, ...] | None  #: networks of another output; None: to be trained
    fit_from: Path | None  #: that output
    command: tuple[str, ...]  #: command line, for the provenance
    terms: Terms  #: what only a run with the same may continue
    is_confirmed: bool = False  #: whether the input was compared where it is read again

    @property
    def folder(self) -> Path:
        """The journal's, beside the output."""
        return journal_folder(self.target.zarr)

    @property
    def fits(self) -> Journal:
        """The journal of networks, before the output has any."""
        return Journal(str(self.folder), token_of(self.terms))


def settle(
    stack: Stack,
    output: str | Path,
    fit: FitSettings | str | None,
    write: WriteSettings,
    run: RunSettings,
    fit_from: str | Path | None,
    command: Sequence[str] = (),
) -> Wanted:
    """Settle every choice of a run; refuse what cannot be, before any work.

    Parameters
    ----------
    stack, output, fit, write, run, fit_from, command
        As for `fm2s_stack.pipeline.denoise_stack`.

    Raises
    ------
    UsageError
        If settings contradict each other or the stack.
    OutputError
        If the output cannot be written there, or there are no networks at `fit_from`.
    """
    borrowed = None if fit_from is None else borrow(stack, fit_from)
    along = stack_axis(stack, run, write)
    settings = settings_of(stack, fit, borrowed, along)
    if borrowed is not None and fit_from is not None:
        require_axis(borrowed, fit_from, along)
    target = find_target(output, overwrite=write.overwrite)
    image = stack.image.with_dtype(output_dtype(stack, write))
    target.check(stack.path, image)
    lent = None if borrowed is None else _sha256(borrowed)
    return Wanted(
        stack=stack,
        target=target,
        image=image,
        along=along,
        fit=settings,
        write=write,
        run=run,
        borrowed=borrowed,
        fit_from=None if fit_from is None else Path(fit_from),
        command=tuple(command),
        terms=job_terms(stack, settings, write, image, along, fit_from=lent),
    )


def settings_of(
    stack: Stack,
    fit: FitSettings | str | None,
    borrowed: tuple[AnyDenoiser, ...] | None,
    along: StackAxis,
) -> FitSettings:
    """The settings of a fit with the mode decided.

    Raises
    ------
    UsageError
        If a number is out of its range, or settings do not suit the stack.
    """
    if isinstance(fit, str):
        fit = FitSettings(Auto() if fit == Auto.name else find_preset(fit))
    if borrowed is not None:
        kept = fit or FitSettings(borrowed[0].preset, nan=borrowed[0].nan)
        return FitSettings(
            borrowed[0].preset, mode="stack", nan=kept.nan, on_bad_frame=kept.on_bad_frame
        )
    return decide_mode(stack, fit or FitSettings(), along)


def _sha256(denoisers: Sequence[AnyDenoiser]) -> str:
    """Of networks, their places along the stack, and the intensity maps they belong to."""
    parts: list[np.ndarray] = []
    for denoiser in denoisers:
        told = denoiser.intensity
        parts += [denoiser.weights.ravel(), np.asarray(denoiser.positions, np.float32)]
        parts.append(np.array([told.low, told.high, told.clamp, denoiser.channel], np.float32))
    return weights_sha256(np.concatenate(parts))
