"""Settings tried on a part of a recording: short fits, their results, and the best of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.auto.background import Place
from fm2s_stack.auto.denoiser import NeighbourDenoiser
from fm2s_stack.auto.seen import Seen
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices, usable_threads
from fm2s_stack.engine.job import AnyDenoiser
from fm2s_stack.errors import NoiseUnknown, UsageError
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.job.noise import measure_noise
from fm2s_stack.job.wanted import settings_of
from fm2s_stack.metrics import WithoutTruth, trust_line, without_truth
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.pipeline import fit_stack
from fm2s_stack.preview.part import Bounds, Part, choose_part
from fm2s_stack.preview.risk import Recorrupted
from fm2s_stack.preview.setting import MOST_SETTINGS, Setting
from fm2s_stack.progress import Progress, Silent
from fm2s_stack.settings import Auto, RunSettings
from fm2s_stack.stack.base import Stack

Float32 = NDArray[np.float32]
Pixels = NDArray[np.generic]

NONE = "no setting is chosen"


@dataclass(frozen=True, eq=False)
class Tried:
    """What one setting made of the part."""

    name: str  #: as given to ``-c``
    plane: Float32  #: the plane that is shown, denoised, grey levels, shape (y, x)
    measures: WithoutTruth  #: of all planes
    trust: str  #: the same in a line
    excess: float | None  #: root mean square of what its error has beyond that of the best, grey
    #: levels; None where the noise is not known
    seconds: float  #: of fit and denoising


@dataclass(frozen=True, eq=False)
class Preview:
    """What settings make of a part of a recording."""

    path: str  #: the recording
    channel: str  #: in words; empty where it is the only one
    part: Part  #: what was looked at
    noise: NoiseModel | None  #: of it; None where it cannot be measured
    tried: tuple[Tried, ...]  #: in the order given
    chosen: Tried | None  #: the best one; None where the recording as it is is better, or nobody
    #: can tell
    reason: str  #: why, in words
    notes: tuple[str, ...]  #: what is to be said beside

    @property
    def raw(self) -> Float32:
        """The plane that is shown, as recorded, grey levels, shape (y, x)."""
        return np.asarray(self.part.pixels[self.part.shown], np.float32)


def preview_stack(
    stack: Stack,
    settings: Sequence[Setting],
    *,
    c: int = 0,
    frame: int | None = None,
    run: RunSettings = RunSettings(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Preview:
    """Try settings on a part of a recording.

    The best is the one whose result is nearest to the truth, by `fm2s_stack.preview.risk`: what
    it measures is the mean square error and a constant that no setting changes. If the recording
    as it is is nearer than all of them, none is chosen.

    Parameters
    ----------
    stack
        From `open_stack`.
    settings
        To try, 1 to 6; where the noise cannot be measured ``auto`` is left out.
    c
        Channel, an index into the stack.
    frame
        Source index of the plane to show, along the stack axis; None: the middle one.
    run
        Where to compute.
    progress
        Told what happens; None: silent.

    Raises
    ------
    UsageError
        If there is no such frame, or a setting does not suit the recording.
    NoiseUnknown
        If nothing but ``auto`` is to be tried and the pixels do not tell their noise.
    StackError
        If a plane cannot be read, or has NaN.
    """
    if not 1 <= len(settings) <= MOST_SETTINGS:
        raise UsageError(f"{len(settings)} settings to try: expected 1 to {MOST_SETTINGS}")
    told = progress or Silent()
    part = choose_part(stack, c, settings[0].fit, told, frame)
    for setting in settings:
        # Refuse what does not suit, before any work.
        settings_of(part.stack, setting.fit, None, part.stack.image.default_along())
    noise, notes = _noise(part, told)
    if noise is None:  # auto lives by it
        settings = [one for one in settings if not isinstance(one.fit.preset, Auto)]
        if not settings:
            raise NoiseUnknown(*notes)
    devices = DevicePool(find_devices(run.device), usable_threads(run.threads))
    recorrupted = None if noise is None else Recorrupted.of(part, noise, settings[0].fit.seed)
    tried, risks = [], []
    for setting in settings:
        told.note(f"trying {setting.name}")
        one, risk = _try(part, setting, recorrupted, devices, run)
        tried.append(one)
        risks.append(risk)
    chosen, reason, tried = _choose(tried, risks, recorrupted)
    name = stack.name_channel(c)
    return Preview(stack.path, name, part, noise, tuple(tried), chosen, reason, notes)


def _noise(part: Part, told: Progress) -> tuple[NoiseModel | None, tuple[str, ...]]:
    try:
        found = measure_noise(part.stack, 0, progress=told)
    except NoiseUnknown as error:
        return None, (str(error),)
    return found, found.notes


def _try(
    part: Part,
    setting: Setting,
    recorrupted: Recorrupted | None,
    devices: DevicePool,
    run: RunSettings,
) -> tuple[Tried, float]:
    began = time.perf_counter()
    (denoiser,) = fit_stack(part.stack, setting.fit, run=run)
    result = _denoised(denoiser, part.pixels, part.runs, devices)
    risk = np.nan
    if recorrupted is not None:
        again = _denoised(denoiser, recorrupted.pixels, recorrupted.runs, devices)
        risk = recorrupted.risk(again)
    measures = without_truth(_without_nan(part.pixels), _without_nan(result))
    seconds = time.perf_counter() - began
    plane, trust = result[part.shown], trust_line(measures)
    return Tried(setting.name, plane, measures, trust, None, seconds), float(risk)


def _without_nan(planes: Pixels) -> Float32:
    return np.nan_to_num(planes.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _denoised(
    denoiser: AnyDenoiser, pixels: Pixels, runs: Sequence[Bounds], devices: DevicePool
) -> Float32:
    """Planes in runs, denoised; fractions are kept."""
    result = np.empty(pixels.shape, np.float32)
    if not isinstance(denoiser, NeighbourDenoiser):
        how = {"device": devices.device} if isinstance(denoiser, Denoiser) else {}

        def alone(number: int) -> None:
            own = slice(number, number + 1)
            result[own] = denoiser(pixels[own], np.zeros(1), dtype=np.float32, **how)

        devices.each(alone, len(pixels))
        return result
    segments = [run for run in runs for _ in range(*run)]
    light = [denoiser.light_of(plane, n) for n, plane in enumerate(pixels)]
    core = ((0, pixels.shape[1]), (0, pixels.shape[2]))

    def near(number: int) -> None:
        seen = Seen.of(denoiser.reach.window(number, segments[number]), pixels, light)
        denoiser.fill(seen, Place(number), core, result[number], devices.device)

    devices.each(near, len(pixels))
    return result


def _choose(
    tried: list[Tried], risks: list[float], recorrupted: Recorrupted | None
) -> tuple[Tried | None, str, list[Tried]]:
    """The best, why, and all of them with what they have beyond it."""
    if recorrupted is None:
        return (
            None,
            "no setting is chosen: the noise is not known, by which they are compared",
            tried,
        )
    best = int(np.argmin(risks))
    excess = [float(np.sqrt(max(risk - risks[best], 0.0))) for risk in risks]
    tried = [replace(one, excess=more) for one, more in zip(tried, excess, strict=True)]
    if recorrupted.risk(recorrupted.pixels) <= risks[best]:
        return None, f"{NONE}: the recording as it is is nearer to the truth", tried
    chosen = tried[best]
    rest = [one for one in tried if one is not chosen]
    beyond = ", ".join(f"{one.name} {one.excess:.3g}" for one in rest)
    why = (
        f"its estimated error is the least; beyond it, in grey levels: {beyond}"
        if rest
        else (
            "it is the only one that was tried, and nearer to the truth than the recording as it is"
        )
    )
    return chosen, f"{chosen.name} is chosen: {why}", tried
