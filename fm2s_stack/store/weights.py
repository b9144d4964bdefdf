"""The networks of an output and their losses: arrays of its subgroup ``fm2s_stack``.

They start as NaN, so that networks that were never written are noticed when they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError, OutputIncomplete
from fm2s_stack.store.boxes import Span, write_box
from fm2s_stack.store.side import GROUP, create_side, load_side, reading_side, store_side


@dataclass(frozen=True)
class StoredFit:
    """The networks of an output."""

    weights: NDArray[np.float32]  #: shape (t windows, channels, z windows, parameters)
    loss: NDArray[np.float32]  #: last training loss, shape (t windows, channels, z windows)
    knots: NDArray[np.float64]  #: plane at which each window's network holds; may be empty


def create_weights(
    path: str | Path,
    shape: tuple[int, int, int, int],
    *,
    knots: Sequence[float] = (),
    depth: tuple[int, int] | None = None,
) -> None:
    """Make the empty arrays ``weights``, ``loss`` and ``knots``.

    Parameters
    ----------
    path
        The output.
    shape
        (t windows, channels, z windows, parameters): one network a channel is (1, C, 1, P);
        one a plane (T, C, Z, P); windows along t (W, C, 1, P).
    knots
        Positions along the stack axis, planes, that the windows are blended between.
    depth
        Networks of one file along t and z: what one unit writes. None: all of a channel's.

    Raises
    ------
    OutputError
        If the arrays are there already, or cannot be written.
    """
    t, _, z, parameters = shape
    deep_t, deep_z = depth or (t, z)
    chunk = (min(deep_t, t), 1, min(deep_z, z), parameters)
    create_side(path, "weights", shape, chunk, np.dtype(np.float32))
    create_side(path, "loss", shape[:3], chunk[:3], np.dtype(np.float32))
    store_side(path, "knots", np.asarray(knots, dtype=np.float64))


def write_weights(
    path: str | Path,
    weights: NDArray[np.float32],
    loss: NDArray[np.float32],
    start: tuple[int, int, int] = (0, 0, 0),
) -> tuple[str, ...]:
    """Write networks, all or a unit's; whole files as `create_weights` cut them.

    Parameters
    ----------
    path
        The output.
    weights
        Shape (t, c, z, parameters), float32, finite.
    loss
        Shape (t, c, z), float32.
    start
        Index of the first network along t, c, z.

    Returns
    -------
    tuple of str
        Keys of the files written, relative to the output.

    Raises
    ------
    OutputError
        If the weights are not finite, or do not fit the arrays.
    """
    if not np.isfinite(weights).all():
        raise OutputError(f"{path}: weights with NaN or infinity: the fit failed; see its loss")
    box = [(first, first + n) for first, n in zip(start, weights.shape[:3], strict=True)]
    whole: list[Span] = [*box, (0, weights.shape[3])]
    keys = write_box(path, f"{GROUP}/weights", whole, weights)
    return keys + write_box(path, f"{GROUP}/loss", box, loss)


def read_weights(path: str | Path) -> StoredFit:
    """The networks of an output.

    Raises
    ------
    OutputIncomplete
        If a network was never written.
    OutputError
        If there are none, or they are damaged.
    """
    fit = StoredFit(*(load_side(path, name) for name in ("weights", "loss", "knots")))
    missing = np.argwhere(np.isnan(fit.weights).any(axis=-1))
    if len(missing):
        raise _missing(path, len(missing), missing[0])
    return fit


def read_loss(path: str | Path) -> NDArray[np.float32]:
    """Last training loss of each network, shape (t windows, channels, z windows).

    Raises
    ------
    OutputError
        If it is missing or damaged.
    """
    return load_side(path, "loss")


def weights_sha256(weights: NDArray[np.float32]) -> str:
    """sha256 of weights as little-endian float32 in C order, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(weights, dtype="<f4").data).hexdigest()


def stored_weights_sha256(path: str | Path) -> str:
    """What `weights_sha256` gives for all networks of an output, in the memory of a few.

    A network has 14 kB: those of each plane of a long recording would not fit.

    Raises
    ------
    OutputIncomplete
        If a network was never written.
    OutputError
        If there are none, or they are damaged.
    """
    digest, count, first = hashlib.sha256(), 0, None
    for start, weights in _runs(path):
        missing = np.argwhere(np.isnan(weights).any(axis=-1))
        if len(missing) and first is None:
            first = start + missing[0]
        count += len(missing)
        digest.update(np.ascontiguousarray(weights, dtype="<f4").data)
    if first is not None:
        raise _missing(path, count, first)
    return digest.hexdigest()


def _runs(path: str | Path) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Stored networks in C order, a few at a time, and the index (t, c, z) of the first."""
    import zarr

    with reading_side(path, "weights") as place:
        array = zarr.open_array(place, mode="r")
        _, channels, slices, _ = array.shape
        depth, _, run, _ = array.chunks
        # Only where files hold one index along t do they follow one another in C order.
        steps = (1, 1, run) if depth == 1 else (depth, channels, slices)
        grid = (range(0, n, step) for n, step in zip(array.shape, steps, strict=False))
        for start in product(*grid):
            box = tuple(slice(a, a + n) for a, n in zip(start, steps, strict=True))
            yield np.array(start), np.asarray(array[box], dtype=np.float32)


def _missing(path: str | Path, count: int, first: NDArray[np.intp]) -> OutputIncomplete:
    return OutputIncomplete(
        f"{path}: {count} networks are missing, the first at (t, c, z) window"
        f" {tuple(first.tolist())}: run the command that made it again, which continues it"
    )
