"""Fit once, then denoise a Dask array lazily, and keep only what is looked at.

Here the mean and the maximum over time are computed from the denoised movie without ever
holding or writing all of it.

python examples/map_lazily.py movie.tif projections.tif
"""

import sys

import dask
import numpy as np
import tifffile

from fm2s_stack import fit_stack, open_stack
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings


def main(path: str, out: str, preset: str = "srdtrans", steps: int = 450) -> None:
    """Write mean and maximum over time of the first channel and slice."""
    stack = open_stack(path)
    (denoiser, *_) = fit_stack(stack, FitSettings(find_preset(preset), draws=steps))
    movie = stack.array[:, 0, 0]  # any Dask array of planes (..., y, x), chunked in any way
    denoised = denoiser.map(movie)  # nothing is read yet
    mean, highest = dask.compute(denoised.mean(axis=0), denoised.max(axis=0))
    pages = np.stack([mean, highest]).astype(np.float32)
    tifffile.imwrite(out, pages, photometric="minisblack", metadata={"axes": "QYX"})
    print(f"{out}: mean and maximum of {len(movie)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
