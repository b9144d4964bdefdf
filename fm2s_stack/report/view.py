"""What of a recording to show: the most active cell, its best frame, its surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.sample import Recording

Float = NDArray[np.float64]

SEARCHED_FRAMES = 200  # spread over the recording, to find the active cell in
TRACE_FRAMES = 600  # shown at most, around the frame
CELL_SIGMA = 3.0  # pixels; a cell of 12 pixels becomes one peak at its centre, noise none
CELL_RADIUS = 5  # pixels
SMALLEST_ZOOM = 24  # pixels


@dataclass(frozen=True)
class View:
    """What is shown of a recording."""

    frame: int  #: shown frame
    y: int  #: row of the shown cell
    x: int  #: column of the shown cell
    zoom: tuple[slice, slice]  #: rows and columns of the enlarged part
    times: range  #: frames of the traces; one frame if there is no time


def choose_view(recording: Recording, frame: int | None = None) -> View:
    """The place that brightens most over the recording, and the frame where it does.

    Parameters
    ----------
    recording
        Shape (t, y, x); best the denoised one. Up to 200 frames are read, one at a time.
    frame
        Show this frame rather than the best one.

    Raises
    ------
    UsageError
        If `frame` is not in the recording.
    """
    count, height, width = recording.shape
    if frame is not None and not 0 <= frame < count:
        raise UsageError(f"frame {frame}: the recording has frames 0 to {count - 1}")
    brightening, when = _brightening(recording) if count > 1 else _structure(recording)
    edge = min(CELL_RADIUS, (height - 1) // 2, (width - 1) // 2)
    inner = brightening[edge : height - edge, edge : width - edge]
    y, x = (int(i) + edge for i in np.unravel_index(inner.argmax(), inner.shape))
    shown = int(when[y, x]) if frame is None else frame
    side = min(height, width, max(SMALLEST_ZOOM, min(height, width) // 4))
    first = max(0, min(count - TRACE_FRAMES, shown - TRACE_FRAMES // 2))
    return View(
        frame=shown,
        y=y,
        x=x,
        zoom=(_around(y, side, height), _around(x, side, width)),
        times=range(first, min(count, first + TRACE_FRAMES)),
    )


@dataclass(frozen=True)
class CellTraces:
    """Traces of the shown cell, each of shape (frames shown,)."""

    pixel: Float  #: of the pixel in the disc that changes most in the denoised recording
    disc: Float  #: mean over the disc


def cell_traces(recordings: Mapping[str, Recording], view: View) -> dict[str, CellTraces]:
    """Traces of each recording at the shown cell; the same pixels of all of them."""
    rows = slice(max(0, view.y - CELL_RADIUS), view.y + CELL_RADIUS + 1)
    columns = slice(max(0, view.x - CELL_RADIUS), view.x + CELL_RADIUS + 1)
    key = (slice(view.times.start, view.times.stop), rows, columns)
    boxes = {name: np.asarray(planes[key], dtype=float) for name, planes in recordings.items()}
    change = boxes["denoised"].std(axis=0)
    y, x = np.ogrid[: change.shape[0], : change.shape[1]]
    disc = np.hypot(y + rows.start - view.y, x + columns.start - view.x) <= CELL_RADIUS
    pixel = int(np.where(disc, change, -1).argmax())
    return {
        name: CellTraces(box.reshape(len(box), -1)[:, pixel], box[:, disc].mean(axis=1))
        for name, box in boxes.items()
    }


def _brightening(recording: Recording) -> tuple[Float, NDArray[np.intp]]:
    """Maximum minus mean over time of the blurred frames, and when the maximum was."""
    peak = total = when = None
    indices = np.unique(np.linspace(0, recording.shape[0] - 1, SEARCHED_FRAMES).astype(int))
    for index, smooth in _blurred(recording, indices):
        if peak is None or total is None or when is None:
            peak, total, when = smooth.copy(), smooth.copy(), np.full(smooth.shape, index)
            continue
        when[smooth > peak] = index
        np.maximum(peak, smooth, out=peak)
        total += smooth
    assert peak is not None and total is not None and when is not None
    return peak - total / len(indices), when


def _blurred(recording: Recording, indices: NDArray[np.intp]) -> Iterator[tuple[int, Float]]:
    from scipy.ndimage import gaussian_filter

    for index in indices:
        plane = np.asarray(recording[int(index)], dtype=float)
        yield int(index), gaussian_filter(plane, CELL_SIGMA)


def _structure(recording: Recording) -> tuple[Float, NDArray[np.intp]]:
    """Variance of a single plane around each pixel."""
    from scipy.ndimage import gaussian_filter

    plane = np.asarray(recording[0], dtype=float)
    plane -= plane.mean()
    variance = gaussian_filter(plane**2, 6) - gaussian_filter(plane, 6) ** 2
    return variance, np.zeros(plane.shape, dtype=np.intp)


def _around(centre: int, side: int, length: int) -> slice:
    start = max(0, min(length - side, centre - side // 2))
    return slice(start, start + side)
