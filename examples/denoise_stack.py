"""Denoise a recording into an OME-Zarr, a TIFF or a PNG, and say what it cost.

python examples/denoise_stack.py movie.tif out.zarr
"""

import sys

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.settings import FitSettings


def main(path: str, out: str, steps: int = 450) -> None:
    """Denoise `path` into `out`; `steps` is the number of noise draws of the fit."""
    stack = open_stack(path)
    for note in stack.notes:  # what was assumed or dropped
        print(note)
    fit = FitSettings(draws=steps)  # the noise is measured; a preset would go here
    summary = denoise_stack(stack, out, fit)
    print(f"{summary.output}: {summary.planes} planes in {summary.total_seconds:.1f} s")
    print(f"{summary.clipped} pixels were clipped to {summary.dtype}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
