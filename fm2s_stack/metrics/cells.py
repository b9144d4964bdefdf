"""What a result does to cells beside each other: correlation with the truth, crosstalk.

Everything here starts from region traces, shape (t, regions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.events import lively
from fm2s_stack.metrics.pairs import Float

Pair = tuple[int, int]

#: A neighbour whose trace the cell's own explains to this part of its power tells nothing.
TOO_ALIKE = 0.98
MOST_LAGS = 60  #: frames over which what a fit left may repeat itself


def region_correlation(results: Float, truths: Float) -> Float:
    """Correlation over time of each region's trace with the true one.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).

    Returns
    -------
    ndarray of float64, shape (regions,)
        NaN for regions whose truth never changes; 0 where only the result does not.
    """
    a, b = _centred(results), _centred(truths)
    of_a, of_b = (a**2).sum(axis=0), (b**2).sum(axis=0)
    scale = np.sqrt(of_a * of_b)
    live = np.ptp(truths, axis=0) > 0
    nothing = np.where(live, 0.0, np.nan)
    correlation: Float = np.divide(
        (a * b).sum(axis=0), scale, out=nothing, where=live & (scale > 0)
    )
    return correlation


@dataclass(frozen=True)
class Crosstalk:
    """What of adjacent cells is mixed into cells, as a part of the neighbour's trace."""

    mean: float  #: over pairs, each weighted by how surely it is known; 0.1: a tenth
    error: float  #: standard error of the mean
    largest: float  #: of the pairs known to 0.02 or better, the largest in size; else of all
    pairs: int  #: cell and neighbour, each way


def crosstalk(results: Float, truths: Float, pairs: Sequence[Pair]) -> Crosstalk:
    """Traces of neighbours in the traces of cells.

    The result's trace of a cell is regressed on the true traces of itself and of all its
    neighbours, with a constant; a neighbour's coefficient is the part of its trace that
    came over. The truth regressed the same way gives 0, whatever light the cells share.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).
    pairs
        Adjacent regions, as `adjacent_pairs` gives them.

    Raises
    ------
    UsageError
        If no pair can be told apart.
    """
    found = [row for cell in sorted({i for p in pairs for i in p})
             for row in _coefficients(results, truths, cell, _neighbours(cell, pairs))]  # fmt: skip
    if not found:
        raise UsageError("no two regions are adjacent: there is no crosstalk to measure")
    value, error = np.array(found).T
    weight = 1 / np.maximum(error, 1e-12) ** 2
    sure = value[error <= 0.02] if (error <= 0.02).any() else value
    largest = float(sure[np.abs(sure).argmax()])
    mean = float(np.average(value, weights=weight))
    return Crosstalk(mean, float(1 / np.sqrt(weight.sum())), largest, len(found))


def _neighbours(cell: int, pairs: Sequence[Pair]) -> list[int]:
    return [b if a == cell else a for a, b in pairs if cell in (a, b)]


def _coefficients(
    results: Float, truths: Float, cell: int, others: Sequence[int]
) -> list[tuple[float, float]]:
    """Coefficient and standard error of each neighbour that differs from the cell."""
    own = _centred(truths[:, [cell]])[:, 0]
    beside = [other for other in others if not _alike(own, _centred(truths[:, [other]])[:, 0])]
    if not beside or not np.any(own) or len(own) <= len(beside) + 2:
        return []
    columns = np.column_stack([own, _centred(truths[:, beside])])
    target = results[:, cell] - results[:, cell].mean()
    inverse = np.linalg.pinv(columns.T @ columns)
    solution = inverse @ (columns.T @ target)
    left = target - columns @ solution
    variance = float(np.dot(left, left)) / (len(target) - columns.shape[1] - 1)
    repeats = [_repeats(left, column) for column in columns.T]
    errors = np.sqrt(variance * np.diag(inverse) * repeats)
    return list(zip(solution[1:].tolist(), errors[1:].tolist(), strict=True))


def _repeats(left: Float, column: Float) -> float:
    """By how much a coefficient's variance grows where successive frames repeat each other.

    ``1 + 2 sum(r[k] * x[k])`` over the lags up to a quarter of the trace, with the
    autocorrelations of what the fit left and of the column (Bartlett 1946): what a filter in
    time leaves is not white.
    """
    lags = min(len(left) // 4, MOST_LAGS)
    both = [_autocorrelation(trace, lags) for trace in (left, column)]
    return max(1.0, 1.0 + 2.0 * float(np.dot(*both)))


def _autocorrelation(trace: Float, lags: int) -> Float:
    power = float(np.dot(trace, trace))
    products = np.array([float(np.dot(trace[k:], trace[:-k])) for k in range(1, lags + 1)])
    found: Float = products / power if power > 0 else np.zeros(lags)
    return found


def _alike(own: Float, other: Float) -> bool:
    powers = float(np.dot(own, own) * np.dot(other, other))
    return powers == 0 or float(np.dot(own, other)) ** 2 > TOO_ALIKE * powers


@dataclass(frozen=True)
class CorrelationChange:
    """Correlation of pairs of cells in the result minus that in the truth.

    Noise of the raw traces, independent in each cell, makes correlations smaller by the
    factor ``sqrt(signal share of one * signal share of the other)``. The raw movie's change
    is therefore below 0 where cells are correlated, and a denoiser should bring it to 0;
    above 0 it made cells alike that are not.
    """

    mean: float  #: over pairs
    size: float  #: mean of the absolute change
    largest: float  #: the largest in size, with its sign
    pairs: int  #: how many


def pairwise_change(
    results: Float, truths: Float, pairs: Sequence[Pair] | None = None
) -> CorrelationChange:
    """Change in the pairwise correlation of region traces.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).
    pairs
        Pairs to look at, such as the adjacent ones; None: all. Either way only those of
        two `lively` regions: the correlation of silent ones is that of their surroundings.

    Raises
    ------
    UsageError
        If there is no such pair. A region that changes only in the truth counts as
        uncorrelated in the result.
    """
    before, after = (_correlations(traces) for traces in (truths, results))
    live = lively(truths)
    every = np.column_stack(np.triu_indices(len(live), 1))
    chosen = every if pairs is None else np.array(pairs, dtype=np.intp).reshape(-1, 2)
    kept = chosen[live[chosen].all(axis=1)]
    if len(kept) == 0:
        raise UsageError(
            "no pair of regions to look at changes over time: there is no correlation to compare"
        )
    change = (after - before)[kept[:, 0], kept[:, 1]]
    largest = float(change[np.abs(change).argmax()])
    return CorrelationChange(
        float(change.mean()), float(np.abs(change).mean()), largest, len(change)
    )


def _correlations(traces: Float) -> Float:
    centred = _centred(traces)
    size = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 0)
    correlations: Float = unit.T @ unit
    return correlations


def _centred(traces: Float) -> Float:
    centred: Float = traces - traces.mean(axis=0)
    return centred
