"""Going through the frames: a look at some of the truth, one pass over all, SSIM of some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import PixelMoments, TruthPass, intensity_edges, ssim
from fm2s_stack.progress import Progress
from fm2s_stack.report.evaluation.recordings import Recordings

Float = NDArray[np.float64]
Labels = NDArray[np.integer]

TRUTH, NOISY, RESULT = "truth", "noisy", "result"
LOOKED_AT = 64  #: frames, for ranges of intensity, for finding regions, and for SSIM
EDGE_PIXELS = 2**16  #: pixels of each of them that the ranges of intensity are taken from
SMALLEST = 7  #: pixels, the side of the window of SSIM


@dataclass(frozen=True)
class Look:
    """What some frames of the truth show."""

    edges: Float  #: bounds of its ranges of intensity, grey levels
    variance: Float  #: over time, of each pixel, shape (planes a frame, y, x)


def look_at_truth(opened: Recordings, saturated: float | None) -> Look:
    """Read up to 64 frames of the truth, spread over the movie.

    Raises
    ------
    UsageError
        If the truth is constant.
    """
    moments, values = PixelMoments(), []
    for frame in spread(opened.frames):
        truth = clipped(opened.read_one(TRUTH, frame), saturated)
        moments.add(truth, truth)
        values.append(truth.ravel()[:: max(1, truth.size // EDGE_PIXELS)])
    found = np.concatenate(values)
    if found.min() == found.max():
        raise UsageError(
            f"{opened.stacks[TRUTH].path}: every pixel looked at is {found[0]:g}; expected a truth "
            "with structure in it"
        )
    return Look(intensity_edges(found), moments.truth_power / moments.count)


def measure(
    opened: Recordings,
    names: Sequence[str],
    edges: Float,
    labels: Labels | None,
    saturated: float | None,
    progress: Progress,
) -> dict[str, TruthPass]:
    """One pass over all frames of all recordings.

    Parameters
    ----------
    opened
        The truth, and what is measured, by name.
    names
        What is measured.
    edges
        Bounds of the ranges of intensity.
    labels
        Label image of regions, shape (y, x); None: none.
    saturated
        Grey level at which the detector saturates; None: not known.
    progress
        Told of the frames.
    """
    over_time = opened.over_time
    passes = {name: TruthPass(edges, labels, saturated, over_time=over_time) for name in names}
    progress.start("evaluate", opened.frames, "frames" if over_time else "slices")
    for start, stop in opened.blocks():
        truths = clipped(opened.read(TRUTH, start, stop), saturated)
        raws = opened.read(NOISY, start, stop) if NOISY in names else None
        for name, gathered in passes.items():
            block = raws if raws is not None and name == NOISY else opened.read(name, start, stop)
            for i, truth in enumerate(truths):
                raw = None if raws is None else _flat(raws[i])
                gathered.add(_flat(block[i]), _flat(truth), raw)
        progress.advance(stop - start)
    progress.finish()
    return passes


def similarities(
    opened: Recordings, names: Sequence[str], data_range: float, saturated: float | None
) -> dict[str, float | None]:
    """Mean SSIM of the planes of up to 64 frames; None of planes smaller than its window."""
    if min(opened.shape[2:]) < SMALLEST:
        return dict.fromkeys(names)
    values: dict[str, list[float]] = {name: [] for name in names}
    for frame in spread(opened.frames):
        truth = clipped(opened.read_one(TRUTH, frame), saturated)
        for name in names:
            pairs = zip(opened.read_one(name, frame), truth, strict=True)
            values[name] += [ssim(*pair, data_range) for pair in pairs]
    return {name: float(np.mean(each)) for name, each in values.items()}


def spread(frames: int) -> list[int]:
    """Up to 64 of so many frames, evenly spread."""
    indices: list[int] = np.unique(np.linspace(0, frames - 1, LOOKED_AT).astype(int)).tolist()
    return indices


def clipped(truth: Float, saturated: float | None) -> Float:
    """The truth as a detector that saturates could at best have shown it."""
    return truth if saturated is None else np.minimum(truth, saturated)


def _flat(frame: Float) -> Float:
    """The slices of a frame below each other, shape (slices * y, x)."""
    return frame.reshape(-1, frame.shape[-1])
