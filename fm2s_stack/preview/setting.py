"""What a preview tries: names as given to ``-c``, and how short their fits are."""

from __future__ import annotations

from dataclasses import dataclass

from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import DEFAULT_SEED, Auto, FitSettings, NanPolicy, Preset

AUTO_STEPS = 100  #: of the 450 of a run: a few tenths of a decibel less
PRESET_DRAWS = 100  #: of the 450 of a run
MOST_SETTINGS = 6  #: columns that are still legible

DEFAULTS = (Auto.name, "srdtrans")  #: what is tried where nothing is named


@dataclass(frozen=True)
class Setting:
    """Something to try."""

    name: str  #: as given to ``-c``
    fit: FitSettings  #: a short fit of it


def find_setting(name: str, seed: int = DEFAULT_SEED, nan: NanPolicy = "refuse") -> Setting:
    """The setting of a name: ``auto``, a preset, or a .toml file.

    Raises
    ------
    UsageError
        If there is no such preset.
    """
    preset: Auto | Preset = Auto() if name == Auto.name else find_preset(name)
    draws = AUTO_STEPS if isinstance(preset, Auto) else PRESET_DRAWS
    return Setting(name, FitSettings(preset, draws=draws, seed=seed, nan=nan))


def default_settings(seed: int = DEFAULT_SEED, nan: NanPolicy = "refuse") -> tuple[Setting, ...]:
    """What is tried where nothing is named."""
    return tuple(find_setting(name, seed, nan) for name in DEFAULTS)
