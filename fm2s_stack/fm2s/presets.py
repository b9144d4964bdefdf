"""The published presets (arXiv 2412.10031, tables of the supplement), and presets from files."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path

from fm2s_stack.errors import UsageError
from fm2s_stack.settings import Preset

_AVERAGES = (1, 2, 4, 8, 16)

#: modality: (lambda, stride, filter, k_g, k_p, lambda_p), the last three by captures averaged
_TABLE = {
    "confocal": (
        2, 75, 3,
        (200, 125, 70, 10, 5), (30, 95, 195, 240, 650), (70, 285, 485, 650, 1400),
    ),
    "twophoton": (
        2, 75, 3,
        (175, 150, 90, 20, 15), (30, 85, 300, 185, 850), (60, 300, 480, 600, 3800),
    ),
    "widefield": (
        1, 75, 11,
        (220, 220, 60, 20, 1), (45, 100, 650, 600, 1500), (2000, 2500, 3500, 4000, 4800),
    ),
}  # fmt: skip


def published_presets() -> dict[str, Preset]:
    """The 16 presets by name; a modality without ``-avgN`` is a single capture."""
    presets = {"srdtrans": Preset("srdtrans", 6, 5, 3, 60, 30, 150)}
    for modality, (amplification, stride, window, k_g, k_p, lambda_p) in _TABLE.items():
        for i, average in enumerate(_AVERAGES):
            name = modality if average == 1 else f"{modality}-avg{average}"
            presets[name] = Preset(name, amplification, stride, window, k_g[i], k_p[i], lambda_p[i])
    return presets


def find_preset(name: str) -> Preset:
    """A published preset by its name, or one read from a TOML file.

    Parameters
    ----------
    name
        ``srdtrans``, ``confocal``, ``twophoton-avg4``, ...; or a path ending in ``.toml``
        whose keys are the fields of `Preset` (``name`` optional).

    Raises
    ------
    UsageError
        If there is no such preset, or the file lacks a number or has one out of range.
    """
    if name.endswith(".toml"):
        return _from_toml(Path(name))
    presets = published_presets()
    known = presets.get(name.removesuffix("-avg1"))
    if known is None:
        raise UsageError(f"no preset {name!r}; give one of {', '.join(presets)}, or a .toml file")
    return known


def override(preset: Preset, numbers: Mapping[str, float | None]) -> Preset:
    """The preset with some numbers replaced; those that are None are kept.

    Raises
    ------
    UsageError
        If a number is out of its range.
    """
    changes = {key: value for key, value in numbers.items() if value is not None}
    if not changes:
        return preset
    return _checked(replace(preset, name=f"{preset.name}*", **changes))  # type: ignore[arg-type]


def _from_toml(path: Path) -> Preset:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"preset {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"preset {path}: is not TOML ({error})") from error
    wanted = {field.name for field in fields(Preset)} - {"name"}
    missing, unknown = wanted - values.keys(), values.keys() - wanted - {"name"}
    if missing or unknown:
        what = (
            f"lacks {', '.join(sorted(missing))}"
            if missing
            else f"has {', '.join(sorted(unknown))}"
        )
        raise UsageError(f"preset {path}: {what}; the keys are {', '.join(sorted(wanted))}")
    return _checked(Preset(**{"name": path.stem, **values}))


def _checked(preset: Preset) -> Preset:
    for key, value in asdict(preset).items():
        if key == "name":
            continue
        whole = key in ("amplification", "stride", "filter")
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < (1 if whole else 0):
            raise UsageError(
                f"preset {preset.name}: {key} is {value!r}; expected "
                + ("a whole number of 1 or more" if whole else "a number of 0 or more")
            )
    if preset.filter % 2 == 0:
        raise UsageError(f"preset {preset.name}: filter is {preset.filter}; expected an odd number")
    if not preset.k_p or not preset.lambda_p:
        raise UsageError(f"preset {preset.name}: k_p and lambda_p are photons, more than 0")
    return preset
