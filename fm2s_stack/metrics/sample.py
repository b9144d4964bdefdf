"""Which frames of a recording are looked at where no truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError

Block = NDArray[np.float32]

RUN = 16  #: successive frames of a run: long enough for the lags of calcium
RUNS = 8  #: runs spread over the recording; an even number, for two halves
LEAST_FRAMES = 24  #: of a recording whose changes over time are looked at
SIDE = 512  #: pixels, the largest side of the part of each frame that is looked at


class Recording(Protocol):
    """Frames, in memory or lazy: numpy, zarr, Dask; shape (t, y, x)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along t, y, x."""

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401
        """Pixels, anything that numpy turns into an array."""


@dataclass(frozen=True)
class Sample:
    """Runs of successive frames, and the part of each frame that is read."""

    runs: tuple[range, ...]  #: frames; every other run belongs to the second half
    rows: slice  #: of each frame
    columns: slice  #: of each frame

    def read(self, recording: Recording, run: range) -> Block:
        """Pixels of one run, shape (t, y, x), float32."""
        part = recording[run.start : run.stop, self.rows, self.columns]
        return np.asarray(part).astype(np.float32)


def choose_sample(shape: tuple[int, ...]) -> Sample:
    """Up to 8 runs of 16 frames spread over a recording, the middle 512x512 pixels of them.

    Parameters
    ----------
    shape
        Lengths along t, y, x.

    Returns
    -------
    Sample
        Of a recording of less than 24 frames a single run of at most 16.

    Raises
    ------
    UsageError
        If there are not three axes, or one is empty.
    """
    if len(shape) != 3 or 0 in shape:
        raise UsageError(f"recording of shape {shape}: expected frames, rows and columns")
    frames = shape[0]
    count = 2 * min(max(frames // (2 * RUN), 1), RUNS // 2) if frames >= LEAST_FRAMES else 1
    length = min(RUN, frames // count)
    starts = np.linspace(0, frames - length, count).astype(int).tolist()
    runs = tuple(range(start, start + length) for start in starts)
    return Sample(runs, _middle(shape[1]), _middle(shape[2]))


def _middle(length: int) -> slice:
    start = max(0, (length - SIDE) // 2)
    return slice(start, min(length, start + SIDE))
