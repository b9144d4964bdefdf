"""Movies for the benchmark: simulated blocks, repeated to any length in bounded memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OUTPUT_SHARE = 1.4  #: bytes of an output for each byte of its movie at most: noise hardly packs


class NoSpace(Exception):
    """The movies would not fit on the disk; one line."""


@dataclass(frozen=True, eq=False)
class Block:
    """Simulated frames of which movies of any length are made."""

    noisy: NDArray[np.generic]  #: shape (t, y, x), uint16
    truth: NDArray[np.float32]  #: expectation of the first of them, shape (fewer t, y, x)


def simulate(size: int, frames: int, truths: int) -> Block:
    """Simulate `frames` frames of a side of `size` pixels, and the truth of the first `truths`."""
    from fm2s_stack.simulate import Simulation, noisy_frame, truth_frame

    movie = Simulation(frames=frames, height=size, width=size)
    return Block(
        np.stack([noisy_frame(movie, i) for i in range(frames)]),
        np.stack([truth_frame(movie, i) for i in range(min(truths, frames))]),
    )


def movie_bytes(frames: int, size: int) -> int:
    """Bytes of the pixels of a uint16 movie."""
    return 2 * frames * size * size


def write_movie(path: Path, block: Block, frames: int) -> Path:
    """Write a contiguous BigTIFF (OME, TYX) that repeats the block, a frame at a time."""
    import tifffile

    _, rows, columns = block.noisy.shape
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tiff:
        tiff.write(
            _repeated(block, frames),
            shape=(frames, rows, columns),
            dtype=block.noisy.dtype,
            photometric="minisblack",
            metadata={"axes": "TYX"},
        )
    _flush(path)
    return path


def write_pages(path: Path, pages: int) -> Path:
    """Write a TIFF of many tiny pages, as a long recording has many."""
    import tifffile

    pixels = np.arange(pages * 64, dtype=np.uint16).reshape(pages, 8, 8)
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata={"axes": "TYX"})
    return path


def require_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises
    ------
    NoSpace
        If fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpace(
            f"{folder}: {needed / 1e9:.1f} GB are needed for movies and outputs, {free / 1e9:.1f} "
            "GB are free; give fewer --frames or another --folder"
        )


def space_needed(main: int, growth: tuple[int, ...], size: int) -> int:
    """Bytes on the disk at most: the main movie, one other at a time, and an output of each."""
    largest = max(growth, default=0)
    return int((1 + OUTPUT_SHARE) * (movie_bytes(main, size) + movie_bytes(largest, size)))


def _repeated(block: Block, frames: int) -> Iterator[NDArray[np.generic]]:
    for frame in range(frames):
        yield block.noisy[frame % len(block.noisy)]


def _flush(path: Path) -> None:
    # Or the disk would still be busy with it while a run is timed.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
