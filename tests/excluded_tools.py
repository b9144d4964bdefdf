"""Movies with shutter and stimulation frames, for the tests of --exclude-frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from fm2s_stack.simulate import Simulation, noisy_frame

SHUTTER = ((0, 1), (20, 24), (39, 41))
STIMULATION = tuple((t, t + 1) for t in range(27, 37, 3))
EXCLUDED = [t for run in (*SHUTTER, *STIMULATION) for t in range(*run)]
LIST = "# shutter\n0, 20:24 39:41\n27\n30 33\n36 # stimulation\n"
FRAMES = 48
KEPT = [t for t in range(FRAMES) if t not in EXCLUDED]


def frames_of(dtype: str = "uint16", side: int = 48) -> NDArray[np.generic]:
    """A movie with a closed shutter, which is 0, and stimulation, which saturates."""
    simulation = Simulation(frames=FRAMES, height=side, width=side, seed=3)
    movie = np.stack([noisy_frame(simulation, i) for i in range(FRAMES)]).astype(dtype)
    for a, b in SHUTTER:
        movie[a:b] = 0
    for a, b in STIMULATION:
        movie[a:b] = 65535
    return movie


def with_garbage(movie: NDArray[np.generic], seed: int = 0) -> NDArray[np.generic]:
    """The same movie with anything in its excluded frames; of floats NaN too."""
    changed, rng = movie.copy(), np.random.default_rng(seed)
    changed[EXCLUDED] = rng.integers(0, 65536, changed[EXCLUDED].shape)
    if changed.dtype.kind == "f":
        changed[EXCLUDED[0]] = np.nan
        changed[EXCLUDED[3], :4] = np.inf
    return changed


def write_movie(path: Path, movie: NDArray[np.generic], **told: object) -> Path:
    tifffile.imwrite(
        path, movie, photometric="minisblack", **(told or {"metadata": {"axes": "TYX"}})
    )
    return path


def write_list(folder: Path) -> Path:
    (folder / "excluded.txt").write_text(LIST)
    return folder / "excluded.txt"


def pixels(output: Path, level: str = "s0") -> NDArray[np.generic]:
    return np.asarray(zarr.open_array(output / level, mode="r")[...])
