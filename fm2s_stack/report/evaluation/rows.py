"""The rows of an evaluation: what is measured, in which unit, which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, cast

import numpy as np

from fm2s_stack.metrics import Crosstalk, Estimate, IntensityBias
from fm2s_stack.report.evaluation.evaluate import Column

HIGHER, ZERO, ALL = "higher", "near 0", "near 100"
LEAST_LIGHT = 0.02  #: of the brightest range's light, below which a part of it says nothing


@dataclass(frozen=True)
class Row:
    """One number of every column."""

    key: str  #: in JSON
    text: str  #: in the table
    unit: str  #: dB, %, grey levels; empty for plain numbers
    better: str  #: which way is better
    values: tuple[float | None, ...]  #: one a column
    errors: tuple[float | None, ...]  #: standard errors, where known
    digits: int  #: after the point


class _Kind(NamedTuple):
    """How a row is taken from a column."""

    key: str
    text: str
    unit: str
    better: str
    digits: int
    path: str  # attributes of a column, or what `_bias` knows


_KINDS = (
    _Kind("si_psnr_db", "SI-PSNR, one match for the movie", "dB", HIGHER, 2, "measures.si_psnr"),
    _Kind("si_psnr_frames_db", "SI-PSNR, each frame matched by itself", "dB", HIGHER, 2,
          "measures.frames_si_psnr"),
    _Kind("psnr_db", "PSNR", "dB", HIGHER, 2, "measures.psnr"),
    _Kind("ssim", "SSIM", "", HIGHER, 4, "ssim"),
    _Kind("pixel_correlation", "correlation of single-pixel traces", "", HIGHER, 4,
          "measures.pixel_correlation"),
    _Kind("region_correlation", "correlation of region traces", "", HIGHER, 4,
          "measures.cells.correlation"),
    _Kind("event_peak_percent", "amplitude of events kept, peak", "%", ALL, 1,
          "measures.cells.peak"),
    _Kind("event_slope_percent", "amplitude of events kept, slope", "%", ALL, 1,
          "measures.cells.slope"),
    _Kind("leakage_percent", "leakage before onsets, of the peak", "%", ZERO, 1,
          "measures.cells.leakage.mean"),
    _Kind("crosstalk_percent", "crosstalk of adjacent cells", "%", ZERO, 1,
          "measures.cells.crosstalk"),
    _Kind("crosstalk_largest_percent", "  largest of a pair", "%", ZERO, 1,
          "measures.cells.crosstalk.largest"),
    _Kind("correlation_change", "change in correlation of cells, mean", "", ZERO, 4,
          "measures.cells.change.mean"),
    _Kind("correlation_change_size", "  mean size", "", ZERO, 4, "measures.cells.change.size"),
    _Kind("correlation_change_largest", "  largest of a pair", "", ZERO, 4,
          "measures.cells.change.largest"),
    _Kind("adjacent_correlation_change", "  mean of adjacent cells", "", ZERO, 4,
          "measures.cells.adjacent_change.mean"),
    _Kind("bias_light_percent", "mean bias, of the light", "%", ZERO, 2, "light overall"),
    _Kind("bias_light_largest_percent", "  largest of a range of intensity", "%", ZERO, 2,
          "light largest"),
    _Kind("bias_level_percent", "mean bias, of the grey level", "%", ZERO, 2, "level overall"),
    _Kind("bias_level_largest_percent", "  largest of a range of intensity", "%", ZERO, 2,
          "level largest"),
    _Kind("flicker", "flicker of frame means", "grey levels", "not above noisy", 3,
          "measures.flicker"),
    _Kind("first_frame_db", "first frame against the others", "dB", ZERO, 2,
          "measures.ends.first"),
    _Kind("last_frame_db", "last frame against the others", "dB", ZERO, 2, "measures.ends.last"),
    _Kind("saturated_kept_percent", "saturated pixels kept", "%", ALL, 1,
          "measures.saturation.part"),
    _Kind("true_saturated_kept_percent", "  where the truth is saturated", "%", ALL, 1,
          "measures.true_saturation.part"),
)  # fmt: skip


def rows_of(columns: Sequence[Column], dark: float | None) -> list[Row]:
    """The rows that at least one column has a number for.

    Parameters
    ----------
    columns
        In the order of the table.
    dark
        Grey level without light; None: not known.
    """
    rows = [_row(kind, columns, dark) for kind in _KINDS]
    return [row for row in rows if any(value is not None for value in row.values)]


def _row(kind: _Kind, columns: Sequence[Column], dark: float | None) -> Row:
    factor = 100.0 if kind.unit == "%" else 1.0
    found = [_found(kind.path, column, dark) for column in columns]
    values = tuple(None if value is None else factor * value for value, _ in found)
    errors = tuple(None if error is None else factor * error for _, error in found)
    return Row(kind.key, kind.text, kind.unit, kind.better, values, errors, kind.digits)


def _found(path: str, column: Column, dark: float | None) -> tuple[float | None, float | None]:
    """A number and its standard error, None where there is none."""
    if " " in path:
        return _bias(path, column.measures.bias, dark), None
    found: object = reduce(_attribute, path.split("."), cast("object", column))
    if isinstance(found, Estimate):
        return found.value, found.error
    if isinstance(found, Crosstalk):
        return found.mean, found.error
    return (found if isinstance(found, float) else None), None


def _attribute(of: object, name: str) -> object:
    return getattr(of, name, None)


def _bias(path: str, bias: IntensityBias | None, dark: float | None) -> float | None:
    of, which = path.split()
    zero = dark if of == "light" else 0.0
    if bias is None or zero is None:
        return None
    return bias.overall(zero) if which == "overall" else largest_bias(bias, zero)


def largest_bias(bias: IntensityBias, dark: float) -> float:
    """The largest relative bias of a range of intensity, with its sign.

    Ranges with less than a fiftieth of the light of the brightest are left out: next to
    darkness any rounding is a large part.
    """
    light = bias.truth - dark
    parts = bias.relative(dark)[light > LEAST_LIGHT * light.max()]
    return float(parts[np.abs(parts).argmax()]) if parts.size else float("nan")


def bias_rows(columns: Sequence[Column], dark: float | None) -> Iterator[tuple[str, list[float]]]:
    """Bounds of each range of the truth's intensity, and the bias of each column there, %."""
    biases = [column.measures.bias for column in columns if column.measures.bias is not None]
    for i in range(len(biases[0].low) if biases else 0):
        bounds = f"{biases[0].low[i]:.1f} to {biases[0].high[i]:.1f}"
        yield bounds, [100 * float(bias.relative(dark or 0.0)[i]) for bias in biases]
