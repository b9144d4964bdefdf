"""What the demo gained and cost: read its files, measure against the truth, draw a picture.

Usage: ``python scripts/demo_report.py demo``, after ``scripts/demo.sh`` wrote that folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fm2s_stack import open_stack
from fm2s_stack.metrics import frame_si_psnr, trace_correlation
from fm2s_stack.report import before_after_png

ACTIVE = 3  # a pixel is of an active cell if it varies this much more than the median pixel


def frames(path: Path) -> NDArray[np.generic]:
    """All frames of a movie of one channel and slice, shape (t, y, x)."""
    return np.asarray(open_stack(path).array[:, 0, 0])


def comparison(name: str, before_after: list[float], unit: str, digits: int) -> str:
    """One line: before, after, and the difference."""
    before, after = (f"{value:.{digits}f}{unit}" for value in before_after)
    gain = before_after[1] - before_after[0]
    return f"{name:<30}{before} -> {after}  ({gain:+.{digits}f}{unit})"


def draw(folder: Path, movies: dict[str, NDArray[np.generic]]) -> Path:
    """The before-and-after picture of the demo."""
    scale = open_stack(folder / "movie.tif").image.scale
    return before_after_png(
        folder / "before_after.png",
        movies["movie.tif"],
        movies["movie_denoised.zarr"],
        movies["movie_truth.tif"],
        title="fm2s-stack denoise movie.tif movie_denoised.zarr",
        pixel_size=scale.x,
        frame_interval=scale.t,
        overwrite=True,
    )


def main(folder: Path) -> None:
    """Print place, cost, gain and picture."""
    names = ("movie.tif", "movie_denoised.zarr", "movie_truth.tif")
    movies = {name: frames(folder / name) for name in names}
    raw, denoised, truth = movies.values()
    variation = truth.std(axis=0)
    active = variation > ACTIVE * np.median(variation)
    decibels = [frame_si_psnr(movie, truth) for movie in (raw, denoised)]
    traces = [trace_correlation(movie, truth, active) for movie in (raw, denoised)]
    cost = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    peak = cost["peak_bytes"]
    print(f"{'Output':<30}{folder / 'movie_denoised.zarr'}")
    print(f"{'Cost':<30}{cost['total_seconds']:.1f} s", end="")
    print(f", {peak / 1e9:.2f} GB of memory at the peak" if peak else "")
    print(comparison("Gain over the truth, SI-PSNR", decibels, " dB", 2))
    print(comparison("Traces of active pixels, r", traces, "", 3))
    print(f"{'Before and after':<30}{draw(folder, movies)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
