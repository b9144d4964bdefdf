"""Opening and writing small TIFF files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import tifffile

from fm2s_stack.stack.reader import OpenOptions, Recording
from fm2s_stack.stack.tiff import open_tiff


def opened(*paths: Path, **options) -> Recording:
    return open_tiff(list(paths), OpenOptions(**options))


def pixels(recording: Recording) -> np.ndarray:
    array = recording.array.compute(scheduler="synchronous")
    assert array.shape == recording.image.shape
    assert array.dtype == recording.image.dtype
    assert array.dtype.isnative
    return array


def movie(shape: tuple[int, ...], dtype="uint16", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -3000), min(info.max, 4000), shape).astype(dtype)


def write(path: Path, stack: np.ndarray, **how) -> Path:
    tifffile.imwrite(path, stack, photometric="minisblack", **how)
    return path


def write_imagej_with_one_directory(path: Path, frames: int, side: int) -> int:
    """As ImageJ stores more than 4 GB: a directory, then all planes; returns where they begin."""
    text = f"ImageJ=1.54f\nimages={frames}\nframes={frames}\n".encode() + b"\0"
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16)]
    start = 8 + 2 + 9 * 12 + 4 + len(text)
    tags += [(262, 3, 1, 1 << 16), (270, 2, len(text), start - len(text)), (273, 4, 1, start)]
    tags += [(277, 3, 1, 1 << 16), (279, 4, 1, side * side * 2)]
    with path.open("wb") as file:
        file.write(b"MM\0*" + struct.pack(">IH", 8, len(tags)))
        file.write(b"".join(struct.pack(">HHII", *tag) for tag in tags) + bytes(4) + text)
        assert file.tell() == start
        file.truncate(start + frames * side * side * 2)
    return start


def stack(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)
