"""The noise of a recording in words and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fm2s_stack.noise_model import NoiseModel


def describe_noise(model: NoiseModel) -> dict[str, Any]:
    """A noise model as JSON holds it, with what follows from it."""
    return {
        **model.as_json(),
        "correlation_rows": list(model.correlation_rows),
        "correlation_columns": list(model.correlation_columns),
        "photons_at_mean_level": model.photons,
    }


def noise_lines(model: NoiseModel) -> list[str]:
    """A noise model in words."""
    deviation = math.sqrt(float(model.variance(model.mean_level)))
    lines = [
        f"measured  by {model.method}, from {model.frames} frames",
        f"gain      {_gain(model)}",
        f"intercept {plus_minus(model.intercept, model.intercept_error)} "
        "(variance of the line at grey level 0)",
        f"at mean   level {model.mean_level:.4g}, standard deviation {deviation:.3g}"
        f"{_photons(model)}",
        f"neighbours are correlated {_list(model.correlation_rows)} along rows, "
        f"{_list(model.correlation_columns)} along columns, 1 to "
        f"{len(model.correlation_rows)} pixels apart, ± {model.correlation_error:.2f}",
        f"darkness  {_darkness(model)}",
    ]
    if model.saturation is not None:
        lines.append(f"clipped   at level {model.saturation:.6g}")
    return lines + [f"note      {note}" for note in model.notes]


def _gain(model: NoiseModel) -> str:
    if not model.gain:
        return "0: one variance at all levels"
    told = plus_minus(model.gain, model.gain_error)
    return f"{told} (variance per grey level: the grey levels of a photon)"


def plus_minus(value: float, error: float) -> str:
    """A value with its error, both to two digits of the error: ``39.6 ± 1.2``."""
    if not error > 0 or not math.isfinite(error):
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(error))
    if digits > 6 or digits < -6:
        return f"{value:.4g} ± {error:.2g}"
    places = max(digits, 0)
    return f"{round(value, digits):.{places}f} ± {round(error, digits):.{places}f}"


def _photons(model: NoiseModel) -> str:
    photons = model.photons
    if photons is None:
        return ""
    bound = "" if model.offset is not None else "at most "
    return f": {bound}{photons:.3g} photons"


def _darkness(model: NoiseModel) -> str:
    if model.offset is None:
        return "offset and read noise unknown: nothing tells them apart"
    noise = "unknown" if model.read_noise is None else f"{model.read_noise:.3g}"
    return f"at level {model.offset:.5g}, read noise {noise}, from {model.evidence}"


def _list(values: tuple[float, ...]) -> str:
    # Adding 0 takes the sign from a -0.0.
    return ", ".join(f"{round(value, 2) + 0.0:.2f}" for value in values)
