"""Where the truth is known: is the result better than plain filters?

Scale-invariant PSNR against the truth, mean over frames, of the recording, of an output, and
of Gaussian filters in the plane and over time. The filters over time also blur events; compare
traces too before choosing one.

python examples/compare_with_filters.py movie.tif movie_truth.tif out.zarr
"""

import sys

import numpy as np
from scipy.ndimage import gaussian_filter

from fm2s_stack import open_stack
from fm2s_stack.metrics import frame_si_psnr


def frames(path: str) -> np.ndarray:
    """All frames of the first channel and slice, shape (t, y, x)."""
    return np.asarray(open_stack(path).array[:, 0, 0], dtype=np.float32)


def main(movie: str, truth: str, out: str) -> dict[str, float]:
    """Print and return decibels by name."""
    raw, true = frames(movie), frames(truth)
    results = {
        "raw": raw,
        "denoised": frames(out),
        "Gaussian, 1 px": gaussian_filter(raw, (0, 1, 1)),
        "Gaussian, 1.5 frames and 1 px": gaussian_filter(raw, (1.5, 1, 1)),
    }
    decibels = {name: frame_si_psnr(result, true) for name, result in results.items()}
    for name, value in decibels.items():
        print(f"{name:<30}{value:.2f} dB")
    return decibels


if __name__ == "__main__":
    main(*sys.argv[1:])
