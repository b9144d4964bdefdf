"""An evaluation as lines for people, and as numbers for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from fm2s_stack.report.evaluation.evaluate import Column, Evaluation
from fm2s_stack.report.evaluation.rows import Row, bias_rows, rows_of

NARROWEST = 12  # characters of a column


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """What an evaluation found, as a table with a few lines around it.

    Parameters
    ----------
    evaluation
        Of `evaluate`.
    """
    columns = list(evaluation.columns.values())
    rows = rows_of(columns, evaluation.dark)
    cells = [[_cell(row, i) for i in range(len(columns))] for row in rows]
    labels = [f"{row.text}, {row.unit}" if row.unit else row.text for row in rows]
    table = [["", *evaluation.columns, "better"]]
    table += [[a, *b, row.better] for a, b, row in zip(labels, cells, rows, strict=True)]
    lines = [*_head(evaluation), "", *_aligned(table)]
    lines += ["", *_aligned(_bias_table(evaluation, columns))]
    return [*lines, "", evaluation.trust_line] if evaluation.trust_line else lines


def evaluation_numbers(evaluation: Evaluation) -> dict[str, Any]:
    """All numbers of an evaluation, ready for JSON; None for what is not a number.

    Parameters
    ----------
    evaluation
        Of `evaluate`.
    """
    found = {
        name: _column_numbers(column, evaluation.dark)
        for name, column in evaluation.columns.items()
    }
    told = {key: value for key, value in vars(evaluation).items() if key not in ("columns",)}
    numbers: dict[str, Any] = _plain({**told, "columns": found})
    return numbers


def _column_numbers(column: Column, dark: float | None) -> dict[str, Any]:
    measures = {key: value for key, value in vars(column.measures).items() if key != "moments"}
    table = {row.key: row.values[0] for row in rows_of([column], dark)}
    return {"path": column.path, **table, "measures": {"ssim": column.ssim, **measures}}


def _head(evaluation: Evaluation) -> Iterator[str]:
    t, z, y, x = evaluation.shape
    planes = " of ".join(filter(None, [f"{t} frames" * (t > 1), f"{z} slices" * (z > 1)]))
    first = next(iter(evaluation.columns.values())).measures.moments
    yield (
        f"{evaluation.truth}: {planes or 'one plane'} of {y}x{x} pixels, "
        f"{first.lowest.min():.5g} to {first.highest.max():.5g} grey levels"
        + (f", darkness {evaluation.dark:g}" if evaluation.dark is not None else "")
        + (f", saturation {evaluation.saturated:g}" if evaluation.saturated is not None else "")
    )
    if evaluation.regions:
        yield (
            f"cells: {evaluation.regions}, adjacent pairs of them: {evaluation.adjacent}; "
            f"events: {evaluation.events}, after calm: {evaluation.isolated}"
        )
    yield from evaluation.notes


def _bias_table(evaluation: Evaluation, columns: list[Column]) -> list[list[str]]:
    what = "of the light" if evaluation.dark is not None else "of the grey level"
    head = [f"mean bias, % {what}, where the truth is", *evaluation.columns, ""]
    rows = [
        [f"  {bounds}", *(f"{value:+.2f}" for value in values), ""]
        for bounds, values in bias_rows(columns, evaluation.dark)
    ]
    return [head, *rows]


def _cell(row: Row, index: int) -> str:
    value, error = row.values[index], row.errors[index]
    if value is None:
        return "-"
    sign = "+" if row.better == "near 0" else ""
    text = f"{value:{sign}.{row.digits}f}"
    return text if error is None else f"{text} ± {error:.{row.digits}f}"


def _aligned(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    middle = [max(NARROWEST, width) for width in widths[1:-1]]
    return [
        "  ".join(
            [
                row[0].ljust(max(widths[0], 40)),
                *(cell.rjust(width) for cell, width in zip(row[1:-1], middle, strict=True)),
                row[-1],
            ]
        ).rstrip()
        for row in table
    ]


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Dataclasses, arrays and tuples as JSON knows them; what is not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
