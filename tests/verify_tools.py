"""Outputs to damage, and ways to damage them."""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings

HERE = RunSettings(device="cpu", threads=1)


def recording(path: Path, shape=(5, 2, 40, 300), axes="TCYX") -> Path:
    """A noisy recording with raw metadata; wider than 256 pixels, so that there is a pyramid."""
    rng = np.random.default_rng(3)
    pixels = (rng.poisson(50, shape) * 10).astype(np.uint16)
    tifffile.imwrite(
        path, pixels, photometric="minisblack", ome=True,
        metadata={"axes": axes, "TimeIncrement": 0.1},
    )  # fmt: skip
    return path


def output_of(movie: Path, path: Path, *, mode="stack", seed=1, chunks=(2, 64, 64), **write):
    """A finished output in units of a few planes."""
    fit = FitSettings(find_preset("srdtrans"), mode=mode, draws=2, seed=seed)
    settings = WriteSettings(chunks=chunks, **write)
    denoise_stack(open_stack(movie), path, fit, write=settings, run=HERE)
    return path


def make_place(folder: Path) -> Path:
    """A folder with a recording, an output of it, and the output of another seed."""
    movie = recording(folder / "movie.tif")
    output_of(movie, folder / "out.zarr")
    output_of(movie, folder / "other.zarr", seed=2)
    return folder


def keys(report) -> set[str]:
    """What a report names as damaged."""
    return {damage.key for damage in report.damages}


def shards(folder: Path, level="s0") -> list[str]:
    """Keys of the files of a level."""
    return sorted(key for key in digests(folder) if key.startswith(f"{level}/c/"))


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file in a folder, by its path there."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def facts(file: Path) -> tuple[int, int]:
    """Size and CRC-32 of a file."""
    content = file.read_bytes()
    return len(content), zlib.crc32(content)


def flip(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def truncate(file: Path, rng: np.random.Generator) -> None:
    os.truncate(file, int(rng.integers(file.stat().st_size)))


def delete(file: Path, rng: np.random.Generator) -> None:
    file.unlink()


def swap(foreign: Path) -> Callable[[Path, np.random.Generator], None]:
    """Puts a file of another place there."""

    def damage(file: Path, rng: np.random.Generator) -> None:
        shutil.copyfile(foreign, file)

    return damage


def every_damage(
    folder: Path, other: Path
) -> Iterator[tuple[str, str, Callable[[Path, np.random.Generator], None]]]:
    """Each file of an output with each kind of damage; foreign files are of another output."""
    for key in digests(folder):
        yield key, "flip", flip
        yield key, "truncate", truncate
        yield key, "delete", delete
        yield key, "foreign", swap(_foreign(folder, other, key))


def _foreign(folder: Path, other: Path, key: str) -> Path:
    """The file in the same place of another output, or one of another place if that is equal."""
    content = (folder / key).read_bytes()
    places = [other / key, *(folder / name for name in reversed(digests(folder)))]
    return next(file for file in places if file.exists() and file.read_bytes() != content)
