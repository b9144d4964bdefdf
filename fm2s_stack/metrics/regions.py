"""Regions of a label image: their traces, neighbours, and where to get them from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.pairs import Float, Labels

NEIGHBOUR_GAP = 4.0  #: pixels between regions that count as adjacent
FOUND_SIGMA = 2.0  #: pixels, smoothing of the activity in which regions are looked for
FOUND_RADIUS = 4.0  #: pixels, of a region that was found
FOUND_ABOVE = 0.1  #: part of the greatest activity that a found region has at least


class RegionTraces:
    """Gathers mean traces of regions, a frame at a time.

    Parameters
    ----------
    labels
        Label image, shape (y, x): 0 is no region, other numbers name one each.

    Raises
    ------
    UsageError
        If no pixel is labelled.
    """

    def __init__(self, labels: Labels) -> None:
        self.ids = region_ids(labels)  #: label of each column
        self._where = np.flatnonzero(labels)
        self._shape = labels.shape
        self._column = np.searchsorted(self.ids, labels.ravel()[self._where])
        self._pixels = np.bincount(self._column)
        self._rows: list[Float] = []

    def add(self, frame: ArrayLike) -> None:
        """The next frame, shape (y, x)."""
        values = np.asarray(frame, dtype=np.float64)
        if values.shape != self._shape:
            raise UsageError(
                f"frame of shape {values.shape} and regions of shape {self._shape}: expected one "
                "shape"
            )
        self._rows.append(np.bincount(self._column, values.ravel()[self._where]) / self._pixels)

    def traces(self) -> Float:
        """Mean over each region in each frame so far, shape (t, regions)."""
        return np.array(self._rows).reshape(len(self._rows), len(self.ids))


def region_traces(movie: Iterable[ArrayLike], labels: Labels) -> Float:
    """Mean over the pixels of each region in each frame.

    Parameters
    ----------
    movie
        Frames of shape (y, x); an array of shape (t, y, x) or an iterable.
    labels
        Label image, shape (y, x): 0 is no region, other numbers name one each.

    Returns
    -------
    ndarray of float64, shape (t, regions)
        Columns in the order of `region_ids`.

    Raises
    ------
    UsageError
        If no pixel is labelled, or shapes differ.
    """
    gathered = RegionTraces(labels)
    for frame in movie:
        gathered.add(frame)
    return gathered.traces()


def region_ids(labels: Labels) -> NDArray[np.integer]:
    """The labels that occur, rising, 0 left out; a `UsageError` if there are none."""
    ids = np.unique(labels)
    ids = ids[ids != 0]
    if len(ids) == 0 or ids[0] < 0:
        raise UsageError("regions: expected a label image, with 0 outside and 1, 2, ... inside")
    found: NDArray[np.integer] = ids
    return found


def adjacent_pairs(labels: Labels, gap: float = NEIGHBOUR_GAP) -> tuple[tuple[int, int], ...]:
    """Pairs of regions that come within `gap` pixels of each other.

    Parameters
    ----------
    labels
        Label image, shape (y, x).
    gap
        Largest distance of their nearest pixels, pixels.

    Returns
    -------
    tuple of pairs
        Columns of `region_traces`, the smaller first, in order.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    ids, reach = region_ids(labels), int(np.ceil(gap))
    column = {int(label): i for i, label in enumerate(ids)}
    boxes = find_objects(labels.astype(np.int64))
    pairs: set[tuple[int, int]] = set()
    for label, i in column.items():
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in boxes[label - 1])
        part = labels[around]
        near = part[distance_transform_edt(part != label) <= gap]
        met = {column[int(other)] for other in np.unique(near) if other not in (0, label)}
        pairs |= {(min(i, j), max(i, j)) for j in met}
    return tuple(sorted(pairs))


def discs(y: ArrayLike, x: ArrayLike, radius: ArrayLike, shape: tuple[int, int]) -> Labels:
    """A label image of discs; a pixel of several belongs to the relatively nearest centre.

    Parameters
    ----------
    y, x, radius
        Centres and radii, pixels; equally many. Entry i becomes label i + 1.
    shape
        Rows and columns of the image.

    Returns
    -------
    ndarray of int32, shape `shape`
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels, nearest = np.zeros(shape, dtype=np.int32), np.ones(shape)
    places = zip(*(np.atleast_1d(v).tolist() for v in (y, x, radius)), strict=True)
    for label, (y0, x0, r) in enumerate(places, start=1):
        distance = np.hypot(rows - y0, columns - x0) / r
        closer = distance <= np.minimum(nearest, 1)
        labels[closer], nearest[closer] = label, distance[closer]
    return labels


def find_regions(variance: Float) -> Labels:
    """Discs where a movie that is free of noise changes most over time.

    A stand-in for regions that nobody drew: local maxima of the smoothed standard
    deviation over time, a disc at each.

    Parameters
    ----------
    variance
        Variance over time of each pixel of the truth, shape (y, x).

    Returns
    -------
    ndarray of int32, shape (y, x)
        Label image; all 0 if nothing changes.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    activity = gaussian_filter(np.sqrt(variance), FOUND_SIGMA)
    highest = maximum_filter(activity, size=2 * int(2 * FOUND_RADIUS) + 1)
    y, x = np.nonzero((activity == highest) & (activity > FOUND_ABOVE * activity.max()))
    return discs(y, x, np.full(len(y), FOUND_RADIUS), (variance.shape[0], variance.shape[1]))
