"""Events of true traces: how much of them a result keeps, and what leaks before them.

Events are found in traces that are free of noise, never in the result: places chosen in a
noisy trace are high there by chance. Amplitudes are means and sums over fixed frames, which
noise leaves right on average; a maximum over noisy frames would not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, Mask

LEAST_RISE = 0.25  #: of an event, part of the largest change of its region
LEAST_CHANGE = 0.1  #: of a region with events, part of the change of the liveliest ones
ONSET_LEVEL = 0.05  #: part of the rise beyond which an event has begun
PEAK_FRAMES = 1  #: frames to each side of the peak that are averaged with it
BASELINE = (8, 2)  #: frames before the onset of an event's baseline: from, to (not included)
WINDOW_AFTER = 16  #: frames after the peak that the slope looks at
LEAD = 3  #: frames before the onset in which leakage is looked for
CALM = (24, 14)  #: frames before the onset of the baseline of leakage: from, to (not included)
CALM_CHANGE = 0.15  #: largest change of the truth before an isolated onset, part of the amplitude


@dataclass(frozen=True)
class Event:
    """One rise of one region's true trace."""

    region: int  #: column of the trace
    onset: int  #: first frame above 5 % of the rise
    peak: int  #: frame of the maximum
    rise: float  #: peak minus the minimum before it, units of the trace


def find_events(traces: Float, least_rise: float = LEAST_RISE) -> tuple[Event, ...]:
    """Events in traces that are free of noise.

    Parameters
    ----------
    traces
        True traces, shape (t, regions), in any unit.
    least_rise
        Least prominence of a peak, as a part of the region's largest change.

    Returns
    -------
    tuple of Event
        By region, then by time. Regions that are not `lively` have none.
    """
    changes = np.ptp(traces, axis=0)
    return tuple(
        event
        for region in np.flatnonzero(lively(traces))
        for event in _events(int(region), traces[:, region], least_rise * changes[region])
    )


def lively(traces: Float) -> Mask:
    """Which regions do something, from true traces of shape (t, regions).

    Those that change by a tenth or more of what the liveliest do (95th percentile of the
    changes). What is seen in the others is their surroundings.
    """
    changes = np.ptp(traces, axis=0)
    least = LEAST_CHANGE * float(np.percentile(changes, 95))
    live: Mask = (changes > 0) & (changes >= least)
    return live


def _events(region: int, trace: Float, prominence: float) -> list[Event]:
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(trace, prominence=prominence)
    found, begin = [], 0
    for peak in (int(p) for p in peaks):
        before = trace[begin : peak + 1]
        base = float(before.min())
        rise = float(trace[peak]) - base
        calm = np.flatnonzero(before <= base + ONSET_LEVEL * rise)
        found.append(Event(region, begin + int(calm[-1]) + 1, peak, rise))
        begin = peak
    return found


@dataclass(frozen=True)
class Estimate:
    """A mean over events, amplitudes as weights."""

    value: float  #: the mean, a part: 1 is all
    error: float  #: standard error of the mean
    spread: float  #: standard deviation over events, with the same weights
    events: int  #: how many


def peak_kept(results: Float, truths: Float, events: Sequence[Event]) -> Estimate:
    """Amplitude of events in the result, relative to that in the truth.

    An amplitude is the mean of the frames around the true peak minus the mean of frames
    before the true onset, the same frames in both.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).
    events
        Of the true traces. Those without room for their baseline are left out.

    Returns
    -------
    Estimate
        1: nothing lost.

    Raises
    ------
    UsageError
        If no event is left.
    """
    usable = _usable(truths, events)
    amplitudes = [[_amplitude(traces, e) for e in usable] for traces in (results, truths)]
    return _weighted(*np.array(amplitudes).reshape(2, -1))


def slope_kept(results: Float, truths: Float, events: Sequence[Event]) -> Estimate:
    """Slope of the result's trace on the true one in windows around events.

    Each window, from before the onset until after the peak, is taken about its own mean.
    It uses more frames than `peak_kept` and so suffers less from noise, but sees a shift in
    time or a shape that changes only in part.

    Parameters
    ----------
    results, truths, events
        As for `peak_kept`.

    Returns
    -------
    Estimate
        1: nothing lost. Windows are weighted by the power of the truth in them.

    Raises
    ------
    UsageError
        If no event is left.
    """
    usable = _usable(truths, events)
    products = [_products(results, truths, event) for event in usable]
    return _weighted(*np.array(products).reshape(-1, 2).T)


def _usable(truths: Float, events: Sequence[Event]) -> list[Event]:
    """Those with room for a baseline. Events found in other traces may not rise in these."""
    return [e for e in events if e.onset >= BASELINE[0] and _amplitude(truths, e) > 0]


def _amplitude(traces: Float, event: Event) -> float:
    trace = traces[:, event.region]
    peak = trace[max(0, event.peak - PEAK_FRAMES) : event.peak + PEAK_FRAMES + 1].mean()
    return float(peak - trace[event.onset - BASELINE[0] : event.onset - BASELINE[1]].mean())


def _products(results: Float, truths: Float, event: Event) -> tuple[float, float]:
    window = slice(event.onset - BASELINE[0], event.peak + WINDOW_AFTER)
    truth = truths[window, event.region]
    truth = truth - truth.mean()
    return float(np.dot(truth, results[window, event.region])), float(np.dot(truth, truth))


@dataclass(frozen=True)
class Leakage:
    """Rise of a result before events begin, as a part of the peak."""

    mean: Estimate  #: over the frames of `LEAD` before the onset
    profile: tuple[float, ...]  #: in each of the frames before the onset, the last one last


def leakage(results: Float, truths: Float, events: Sequence[Event]) -> Leakage:
    """What of events shows before they begin: a filter in time that looks ahead.

    In each isolated event the rise of the result in the frames just before the onset, over
    its level well before, minus what the truth does there (times the part of amplitudes
    kept), relative to the true amplitude.
    Averaged over events, so that noise averages out; that of the raw movie is about 0.

    Parameters
    ----------
    results, truths
        Region traces, shape (t, regions).
    events
        Of the true traces; those that are not `isolated` are left out.

    Returns
    -------
    Leakage

    Raises
    ------
    UsageError
        If no event is isolated.
    """
    usable = isolated(truths, events)
    if not usable:
        raise UsageError("the true traces have no isolated events to measure")
    left = results - slope_kept(results, truths, usable).value * truths
    rises = np.array([_before(left, event) for event in usable])
    sizes = np.array([_amplitude(truths, event) for event in usable])
    mean = _weighted(rises[:, -LEAD:].mean(axis=1), sizes)
    return Leakage(mean, tuple((rises.sum(axis=0) / sizes.sum()).tolist()))


def isolated(truths: Float, events: Sequence[Event]) -> list[Event]:
    """The events before which the true trace is calm for as long as leakage looks back."""
    return [event for event in events if event.onset >= CALM[0] and _is_calm(truths, event)]


def _is_calm(truths: Float, event: Event) -> bool:
    before = truths[event.onset - CALM[0] : event.onset, event.region]
    return float(np.ptp(before)) <= CALM_CHANGE * _amplitude(truths, event)


def _before(differences: Float, event: Event) -> Float:
    trace = differences[event.onset - CALM[0] : event.onset, event.region]
    rises: Float = trace[-CALM[1] :] - trace[: CALM[0] - CALM[1]].mean()
    return rises


def _weighted(parts: Float, wholes: Float) -> Estimate:
    """``sum(parts) / sum(wholes)``: the ratios weighted by what they are parts of."""
    if len(wholes) == 0 or not wholes.sum() > 0:
        raise UsageError("the true traces have no events to measure")
    total = float(wholes.sum())
    value = float(parts.sum()) / total
    left = parts - value * wholes
    error = float(np.sqrt(np.dot(left, left))) / total
    ratios = np.divide(parts, wholes, out=np.full_like(parts, value), where=wholes > 0)
    spread = float(np.sqrt(np.dot(np.maximum(wholes, 0), (ratios - value) ** 2) / total))
    return Estimate(value, error, spread, len(wholes))
