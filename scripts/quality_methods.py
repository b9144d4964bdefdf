"""The methods that are compared, in the order of the tables."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import quality_filters as filters
from quality_filters import Output
from quality_program import denoised
from quality_recordings import Kind, Recording

from fm2s_stack.errors import UsageError
from fm2s_stack.settings import PIXEL_VERSION

EVERY: tuple[Kind, ...] = ("movie", "stack", "image")
SEVERAL: tuple[Kind, ...] = ("movie", "stack")
MOVIE: tuple[Kind, ...] = ("movie",)

AUTO, NEIGHBOURS, CAUSAL = "auto", "neighbours", "causal"


@dataclass(frozen=True)
class Method:
    """One way to denoise a recording."""

    key: str  #: as given to ``--methods``
    title: str  #: in tables
    kinds: tuple[Kind, ...]  #: of recordings that it is for
    run: Callable[[Recording], Output]  #: what it does
    version: str | None = None  #: of what its figures follow from; None: they are never kept
    is_plain: bool = False  #: whether it is one of the others, that users have already
    preset: str | None = None  #: the published preset that it is, of ours

    def suits(self, recording: Recording) -> bool:
        """Whether it is meant for a recording; images have the preset of their microscope."""
        if self.preset is not None and recording.kind == "image":
            return self.preset == recording.preset
        if self.preset is not None and self.preset not in ("srdtrans", "twophoton"):
            return False
        return recording.kind in self.kinds


def _plain(
    key: str, title: str, kinds: tuple[Kind, ...], run: Callable[[Recording], Output]
) -> Method:
    return Method(key, title, kinds, run, "filter", is_plain=key != "raw")


def _preset(name: str, steps: tuple[str, ...]) -> Method:
    words = ("-c", name, *steps)
    version = f"pixels {PIXEL_VERSION} {words}"
    return Method(name, name, EVERY, partial(denoised, words=words), version, preset=name)


def _program(key: str, title: str, kinds: tuple[Kind, ...], words: Sequence[str]) -> Method:
    return Method(key, title, kinds, partial(denoised, words=tuple(words)))


def methods(programs: Sequence[str] = (), steps: int | None = None) -> dict[str, Method]:
    """All methods by key.

    Parameters
    ----------
    programs
        ``KEY=OPTIONS`` of `denoise`, added; one with the key of another takes its place.
    steps
        Noise draws of every fit; None: as the program has it.

    Raises
    ------
    UsageError
        If one of `programs` is not of that form.
    """
    draws = () if steps is None else ("--steps", str(steps))
    known = {method.key: method for method in _known(draws)}
    for text in programs:
        key, found, words = text.partition("=")
        if not (key and found and words.strip()):
            raise UsageError(f"--program {text!r}: expected KEY=OPTIONS, such as 'mine=-c my.toml'")
        added = _program(key, key, EVERY, (*shlex.split(words), *draws))
        known[key] = replace(known[key], run=added.run, version=None) if key in known else added
    return known


def _known(draws: tuple[str, ...]) -> tuple[Method, ...]:
    return (
        _plain("raw", "raw", EVERY, filters.raw),
        _plain("median2d", "median 3x3", EVERY, filters.median_2d),
        _plain("median3d", "median 3x3x3", SEVERAL, filters.median_3d),
        _plain("gauss2d", "best 2-D Gaussian", EVERY, filters.gaussian_2d),
        _plain("gauss3d", "best 3-D Gaussian", SEVERAL, filters.gaussian_3d),
        _plain("gauss3d-traces", "3-D Gaussian for traces", MOVIE, filters.gaussian_traces),
        _plain("nlm", "non-local means", EVERY, filters.non_local_means),
        _plain("bm3d", "BM3D", EVERY, filters.block_matching),
        *(_preset(name, draws) for name in ("srdtrans", "twophoton", "confocal", "widefield")),
        _program(AUTO, "auto", EVERY, ("-c", "auto", "--neighbours", "0", *draws)),
        _program(NEIGHBOURS, "auto, neighbours", SEVERAL, ("-c", "auto", *draws)),
        _program(CAUSAL, "auto, causal", MOVIE, ("-c", "auto", "--causal", *draws)),
    )
