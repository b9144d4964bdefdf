"""What stands beside a truth: its regions, the activity of its cells, its darkness."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import StackUnreadable, UsageError
from fm2s_stack.metrics import Event, discs, find_events, find_regions
from fm2s_stack.simulate.settings import Simulation
from fm2s_stack.stack.base import Stack
from fm2s_stack.stack.open import open_stack

Float = NDArray[np.float64]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Regions:
    """Regions to measure cells in, and where they are from."""

    labels: Labels  #: label image, shape (y, x)
    source: str  #: in words


def name_beside(truth: str | Path, kind: str) -> Path:
    """``NAME_truth.tif`` -> ``NAME_kind``, as `fm2s-stack simulate` names its files."""
    path = Path(truth)
    stem = path.name.removesuffix(path.suffix).removesuffix(".ome").removesuffix("_truth")
    return path.with_name(f"{stem}_{kind}")


def regions_of(
    given: str | Path | None, truth: str | Path, shape: tuple[int, int], variance: Float
) -> Regions | None:
    """The regions given, those of a simulation beside the truth, or what changes most.

    Parameters
    ----------
    given
        A label image; None: look beside the truth.
    truth
        Path of the truth.
    shape
        Rows and columns that they must have.
    variance
        Variance over time of the truth's pixels, shape (y, x), to find regions in.

    Returns
    -------
    Regions or None
        None if nothing changes anywhere.

    Raises
    ------
    UsageError, StackError
        If the label image or table cannot be used.
    """
    labelled, cells = name_beside(truth, "regions.tif"), name_beside(truth, "cells.csv")
    if given is not None:
        return _known(read_labels(given, shape), Path(given).name)
    if labelled.exists():
        return _known(read_labels(labelled, shape), f"{labelled.name} beside the truth")
    if cells.exists():
        y, x, radius = (_column(cells, name) for name in ("y_px", "x_px", "radius_px"))
        return _known(
            discs(y, x, radius, shape), f"discs at the cells of {cells.name} beside the truth"
        )
    found = find_regions(variance)
    return Regions(found, "found where the truth changes most") if found.any() else None


def _known(labels: Labels, source: str) -> Regions:
    if not labels.any():
        raise UsageError(f"{source}: no pixel is labelled; expected 1, 2, ... inside regions")
    return Regions(labels, source)


def read_labels(path: str | Path, shape: tuple[int, int]) -> Labels:
    """A label image of one plane, whole numbers, 0 outside regions; shape (y, x)."""
    stack = open_stack(path)
    found = stack.array.shape
    if found != (1, 1, 1, *shape):
        raise UsageError(
            f"{path}: {found[0]} frames of {found[1]} channels of {found[2]} slices of "
            f"{found[3]}x{found[4]} pixels, expected one label image of {shape[0]}x{shape[1]}"
        )
    labels = stack.plane(0, 0, 0)
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UsageError(
            f"{path}: pixels are {labels.dtype} from {labels.min()}, expected the whole numbers "
            "0 outside and 1, 2, ... inside regions"
        )
    return np.asarray(labels, dtype=np.int64)


def events_of(
    given: str | Path | None, truth: str | Path, frames: int, labels: Labels
) -> tuple[tuple[Event, ...] | None, str]:
    """Events of true traces that are given or stand beside the truth, and their source.

    Returns
    -------
    tuple
        None where there are no such traces: events are then found in those of the regions.

    Raises
    ------
    UsageError, StackError
        If traces that were given do not fit.
    """
    path = name_beside(truth, "traces.csv") if given is None else Path(given)
    if given is None and not path.exists():
        return None, "the true traces of the regions"
    ids = np.unique(labels[labels > 0])
    traces = _traces(path)
    if traces.shape[0] != frames or traces.shape[1] < ids.max():
        met = f"{traces.shape[1]} traces of {traces.shape[0]} frames"
        if given is None:
            return None, f"the true traces of the regions ({path.name} has {met}, and is left out)"
        raise UsageError(f"{path}: {met}, expected {ids.max()} or more of {frames}")
    return find_events(traces[:, ids - 1]), path.name + " beside the truth" * (given is None)


@dataclass(frozen=True)
class Detector:
    """The ends of the scale, grey levels; None where they are not known."""

    dark: float | None = None  #: level of a pixel without light
    saturated: float | None = None  #: level that no pixel exceeds


def simulated_detector(stack: Stack) -> Detector:
    """What the description of a simulated recording tells of it; of others nothing."""
    for text in stack.headers.values():
        _, found, after = html.unescape(str(text)).partition("fm2s-stack simulation ")
        if found:
            return _detector(after)
    return Detector()


def _detector(text: str) -> Detector:
    try:
        told: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        known = {field.name for field in fields(Simulation)}
        made = Simulation(**{key: value for key, value in told.items() if key in known})
        saturated = told.get("saturation")
        return Detector(made.dark_level, None if saturated is None else float(saturated))
    except (ValueError, TypeError, AttributeError):  # of another version
        return Detector()


def _traces(path: Path) -> Float:
    """Columns of a table but for the frame and its time, shape (frames, columns)."""
    names, table = _table(path)
    return table[:, [i for i, name in enumerate(names) if name not in ("frame", "time_s")]]


def _column(path: Path, wanted: str) -> Float:
    names, table = _table(path)
    if wanted not in names:
        raise StackUnreadable(f"{path}: columns {', '.join(names)}, expected one {wanted}")
    return table[:, names.index(wanted)]


def _table(path: Path) -> tuple[list[str], Float]:
    """Names of the columns of a CSV, and its numbers, shape (rows, columns)."""
    try:
        with path.open(encoding="utf-8") as file:
            names = file.readline().strip().split(",")
            table = np.loadtxt(file, delimiter=",", ndmin=2)
    except OSError as error:
        raise StackUnreadable(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StackUnreadable(f"{path}: expected a CSV of numbers below names: {error}") from error
    if table.shape[1] != len(names):
        raise StackUnreadable(f"{path}: {len(names)} names above {table.shape[1]} columns")
    return names, table
