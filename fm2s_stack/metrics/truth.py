"""All measures of a movie against its truth, gathered in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.bias import (
    IntensityBias,
    IntensityBins,
    Saturation,
    intensity_edges,
    sampled,
)
from fm2s_stack.metrics.cells import (
    CorrelationChange,
    Crosstalk,
    crosstalk,
    pairwise_change,
    region_correlation,
)
from fm2s_stack.metrics.events import (
    Estimate,
    Event,
    Leakage,
    find_events,
    leakage,
    peak_kept,
    slope_kept,
)
from fm2s_stack.metrics.movie import Ends, FrameMoments, FrameSums, ends, flicker
from fm2s_stack.metrics.pairs import Float, Labels, frame_pairs
from fm2s_stack.metrics.pixels import PixelMoments
from fm2s_stack.metrics.regions import RegionTraces, adjacent_pairs

T = TypeVar("T")


@dataclass(frozen=True)
class CellMeasures:
    """Measures of regions; None where the movie has nothing to take them from."""

    correlation: float | None  #: of region traces with the true ones, mean over regions
    peak: Estimate | None  #: event amplitude kept, from the peaks; 1 is all
    slope: Estimate | None  #: the same, from the slope in windows around events
    leakage: Leakage | None  #: before the onsets of isolated events, part of the peak
    crosstalk: Crosstalk | None  #: between adjacent regions
    change: CorrelationChange | None  #: in the correlation of all pairs of regions
    adjacent_change: CorrelationChange | None  #: of the adjacent ones


@dataclass(frozen=True)
class AgainstTruth:
    """What one movie is like, measured against its truth. Temporal ones need frames."""

    psnr: float  #: of the movie as it is, decibels over the range of the truth
    si_psnr: float  #: after one affine match for the movie, decibels
    frames_si_psnr: float  #: each frame matched by itself, over its own range; their mean
    gain: float  #: of the one affine match; above 1: the result's contrast is too small
    offset: float  #: of that match, grey levels
    bias: IntensityBias | None  #: mean bias over all and by intensity
    pixel_correlation: float | None  #: of single-pixel traces with the truth, mean over pixels
    flicker: float | None  #: root mean square of the differences of frame means, grey levels
    ends: Ends | None  #: first and last frames, in gain over the raw movie where that is given
    moments: FrameMoments  #: of each frame
    cells: CellMeasures | None  #: measures of regions, where they are given
    saturation: Saturation | None = None  #: where the raw movie and its end of scale are given
    true_saturation: Saturation | None = None  #: of those pixels that light saturates, not noise


class TruthPass:
    """Gathers `AgainstTruth` a frame at a time; memory does not grow but by the traces.

    Parameters
    ----------
    edges
        Bounds of the ranges of intensity, as of `intensity_edges`; None: no bias.
    labels
        Label image of regions, of the shape of a frame; None: no regions.
    saturated
        Grey level at which the detector saturates; None: not looked at.
    over_time
        Whether frames follow each other in time, or are the slices of a z-stack.
    """

    def __init__(
        self,
        edges: ArrayLike | None = None,
        labels: Labels | None = None,
        saturated: float | None = None,
        *,
        over_time: bool = True,
    ) -> None:
        self._frames, self._pixels, self._raw = FrameSums(), PixelMoments(), FrameSums()
        self._bins = None if edges is None else IntensityBins(edges)
        self._labels, self._level, self._over_time = labels, saturated, over_time
        self._result = None if labels is None else RegionTraces(labels)
        self._truth = None if labels is None else RegionTraces(labels)
        self._saturated = np.zeros((2, 2), dtype=np.int64)

    def add(self, result: ArrayLike, truth: ArrayLike, raw: ArrayLike | None = None) -> None:
        """The next frame of the movie, of its truth, and of the raw movie where known."""
        image, target = np.asarray(result, np.float64), np.asarray(truth, np.float64)
        self._frames.add(image, target)
        if self._over_time:
            self._pixels.add(image, target)
        if self._bins is not None:
            self._bins.add(image, target)
        if self._result is not None and self._truth is not None:
            self._result.add(image)
            self._truth.add(target)
        if raw is not None:
            self._add_raw(image, target, np.asarray(raw, np.float64))

    def _add_raw(self, image: Float, target: Float, raw: Float) -> None:
        self._raw.add(raw, target)
        if self._level is not None:
            at, kept = raw >= self._level, image >= self._level - 0.5
            for row, where in zip(self._saturated, (at, at & (target >= self._level)), strict=True):
                row += (np.count_nonzero(where), np.count_nonzero(where & kept))

    def traces(self) -> tuple[Float, Float] | None:
        """Region traces of the movie and of the truth, shape (t, regions)."""
        if self._result is None or self._truth is None:
            return None
        return self._result.traces(), self._truth.traces()

    def measures(self, events: Sequence[Event] | None = None) -> AgainstTruth:
        """Of the frames so far.

        Parameters
        ----------
        events
            Events of the regions; None: found in the true region traces.

        Raises
        ------
        UsageError
            If the truth is constant.
        """
        moments, several = self._frames.moments(), self._pixels.count > 1
        raw = self._raw.moments() if self._raw.count else None
        gain, offset = moments.match
        return AgainstTruth(
            psnr=moments.psnr(),
            si_psnr=moments.si_psnr(),
            frames_si_psnr=moments.mean_single_si_psnr(),
            gain=gain,
            offset=offset,
            bias=None if self._bins is None else self._bins.bias(),
            pixel_correlation=_if_there(self._pixels.correlation) if several else None,
            flicker=flicker(moments.result) if several else None,
            ends=_if_there(lambda: ends(moments, raw)) if several else None,
            moments=moments,
            cells=self._cells(events) if several else None,
            saturation=self._kept(0) if raw else None,
            true_saturation=self._kept(1) if raw else None,
        )

    def _kept(self, row: int) -> Saturation | None:
        pixels, kept = self._saturated[row].tolist()
        return None if self._level is None else Saturation(pixels, kept)

    def _cells(self, events: Sequence[Event] | None) -> CellMeasures | None:
        traces = self.traces()
        if traces is None or self._labels is None:
            return None
        return cell_measures(*traces, adjacent_pairs(self._labels), events)


def cell_measures(
    results: Float,
    truths: Float,
    pairs: Sequence[tuple[int, int]],
    events: Sequence[Event] | None = None,
) -> CellMeasures:
    """All measures of regions.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).
    pairs
        Adjacent regions, as `adjacent_pairs` gives them.
    events
        Events of the regions; None: found in the true traces.
    """
    found = find_events(truths) if events is None else events
    correlation = region_correlation(results, truths)
    live = correlation[np.isfinite(correlation)]
    return CellMeasures(
        correlation=float(live.mean()) if live.size else None,
        peak=_if_there(lambda: peak_kept(results, truths, found)),
        slope=_if_there(lambda: slope_kept(results, truths, found)),
        leakage=_if_there(lambda: leakage(results, truths, found)),
        crosstalk=_if_there(lambda: crosstalk(results, truths, pairs)),
        change=_if_there(lambda: pairwise_change(results, truths)),
        adjacent_change=_if_there(lambda: pairwise_change(results, truths, pairs)),
    )


def against_truth(
    results: Iterable[ArrayLike],
    truths: Iterable[ArrayLike],
    labels: Labels | None = None,
    *,
    raws: Iterable[ArrayLike] | None = None,
    edges: ArrayLike | None = None,
    events: Sequence[Event] | None = None,
    saturated: float | None = None,
) -> AgainstTruth:
    """All measures of a movie against its truth.

    Parameters
    ----------
    results, truths
        Equally many frames of one shape; arrays of shape (t, y, x) or iterables, gone
        through once.
    labels
        Label image of regions, shape (y, x), for measures of cells.
    raws
        The movie that the results were made from, for the first and last frames and for
        saturation.
    edges
        Bounds of the ranges of intensity; None: from the truth where it is an array.
    events
        Events of the regions; None: found in the true region traces.
    saturated
        Grey level at which the detector saturates.

    Returns
    -------
    AgainstTruth
        What cannot be measured, such as leakage without isolated events, is None.

    Raises
    ------
    UsageError
        If the frames do not fit, or the truth is constant.
    """
    if edges is None and isinstance(truths, np.ndarray):
        edges = intensity_edges(sampled(truths))
    gathered = TruthPass(edges, labels, saturated)
    pairs = frame_pairs(results, truths)
    for (result, truth), raw in zip(pairs, repeat(None) if raws is None else raws, strict=False):
        gathered.add(result, truth, raw)
    return gathered.measures(events)


def _if_there(measure: Callable[[], T]) -> T | None:
    """What is measured, or None where the movie has nothing to measure it on."""
    try:
        return measure()
    except UsageError:
        return None
