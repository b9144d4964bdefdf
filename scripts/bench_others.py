"""What a user would pick instead: a median, non-local means, the authors' program."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from bench_process import Result, TaskFailed, Terms, last_line, warm_up
from numpy.typing import NDArray

from fm2s_stack import Denoiser, fit_stack, open_stack
from fm2s_stack.metrics import frame_si_psnr

Movie = NDArray[np.generic]  #: shape (t, y, x)

#: What the authors' README and code call their configurations; nothing: the one for SRDTrans.
CONFIGS = {
    "srdtrans": (),
    "confocal": ("-c", "confocal"),
    "twophoton": ("-c", "twophoton"),
    "widefield": ("-c", "widefield"),
}


def alternatives(terms: Terms, movie: str, truth: str, slow_frames: int) -> Result:
    """Seconds a frame and SI-PSNR of each method, over the frames whose truth is known.

    Each in one thread, the package's own too (on the GPU where that was asked for); frames are
    in memory, and the time that training took is told apart.
    """
    device, expected = warm_up(terms.device), np.load(truth)
    stack = open_stack(movie)
    noisy = np.asarray(stack.array[: len(expected), 0, 0])
    rows = [
        {**_timed("noisy", lambda: noisy, expected, len(noisy)), "seconds_per_frame": None},
        _own(terms, movie, noisy, expected, device),
        _timed("median 3x3x3", lambda: _median(noisy), expected, len(noisy)),
    ]
    if find_spec("skimage") is None:
        return {"rows": rows, "skipped": ["non-local means: scikit-image is not installed"]}
    few = noisy[:slow_frames]
    rows.append(_timed("non-local means", lambda: _non_local_means(few), expected, len(few)))
    return {"rows": rows, "skipped": []}


def reference(terms: Terms, program: str, movie: str, truth: str) -> Result:
    """The authors' program over the first frame as 8 bits, called as its README says.

    Raises
    ------
    TaskFailed
        If it has no configuration for the preset, or fails.
    """
    if terms.preset not in CONFIGS:
        raise TaskFailed(f"the authors' program has no configuration for {terms.preset}")
    expected, frame = np.load(truth)[:1], open_stack(movie).plane(0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "in.png", Path(folder) / "out.png"
        _write_8_bits(paths[0], frame)

        def denoised() -> Movie:
            _call(program, *paths, CONFIGS[terms.preset])
            return open_stack(paths[1]).plane(0, 0, 0)[None]

        return _timed("authors' program", denoised, expected, 1)


def require_reference(program: Path) -> Path:
    """Refuse a folder that does not look like the authors' program.

    Raises
    ------
    ValueError
        With a line that says what it lacks.
    """
    lacks = [name for name in ("main.py", "configs.py") if not (program / name).is_file()]
    if lacks:
        raise ValueError(
            f"--reference {program}: no {' and no '.join(lacks)} there; expected a checkout of "
            "github.com/Danielement321/FM2S"
        )
    return program.resolve()


def _timed(name: str, method: Callable[[], Movie], truth: Movie, frames: int) -> Result:
    began = time.perf_counter()
    result = method()
    seconds = time.perf_counter() - began
    return {
        "name": name,
        "frames": frames,
        "seconds_per_frame": seconds / frames,
        "si_psnr": frame_si_psnr(result, truth[:frames]),
        "fit_seconds": None,
    }


def _own(terms: Terms, movie: str, noisy: Movie, truth: Movie, device: str) -> Result:
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    (denoiser,) = fit_stack(open_stack(movie), terms.fit("stack"), run=terms.run)
    if not isinstance(denoiser, Denoiser):
        raise TypeError("expected the denoiser of a preset")
    seconds = time.perf_counter() - began
    denoiser(noisy[:1], device=device)  # what is prepared at first use is no speed
    row = _timed("fm2s-stack", lambda: denoiser(noisy, device=device), truth, len(noisy))
    return {**row, "fit_seconds": seconds}


def _median(noisy: Movie) -> Movie:
    from scipy.ndimage import median_filter

    result: Movie = median_filter(noisy, size=(3, 3, 3))
    return result


def _non_local_means(noisy: Movie) -> Movie:
    """The settings of scikit-image's own example, in two dimensions."""
    from skimage.restoration import denoise_nl_means

    levels = noisy.astype(np.float32)
    sigma = _noise(levels)
    return np.stack([
        denoise_nl_means(
            frame, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
        )
        for frame in levels
    ])  # fmt: skip


def _noise(levels: NDArray[np.float32]) -> float:
    """Standard deviation of the noise: that of horizontal neighbours' differences, robustly."""
    steps = np.diff(levels, axis=-1)
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))


def _write_8_bits(path: Path, frame: Movie) -> None:
    """A frame as the authors' program reads it; grey levels stretched as the package does."""
    from PIL import Image

    low, high = np.percentile(frame.astype(np.float64), (0.1, 99.99))
    levels = np.clip(np.rint((frame - low) * (255 / (high - low))), 0, 255)
    Image.fromarray(levels.astype(np.uint8)).save(path)


def _call(program: str, noisy: Path, denoised: Path, config: tuple[str, ...]) -> None:
    words = [sys.executable, "main.py", "-i", str(noisy), "-o", str(denoised), *config]
    done = subprocess.run(words, cwd=program, capture_output=True, text=True, check=False)
    if done.returncode or not denoised.is_file():
        raise TaskFailed(f"the authors' program: {last_line(done.stderr) or 'wrote no image'}")
