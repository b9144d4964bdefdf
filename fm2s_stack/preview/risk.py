"""How far results are from the truth, compared without knowing it.

Recorrupted-to-Recorrupted (Pang et al., CVPR 2021, arXiv 2102.02234): where ``w`` is another draw
of the noise that ``y = x + n`` has, the errors of ``y + a w`` and ``y - w / a`` are independent.
The mean square of ``f(y + a w) - (y - w / a)`` is then that of ``f(y + a w) - x`` and a constant,
the same for every ``f``: the denoiser with the least of it is the nearest to the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from fm2s_stack.auto.background import Place, flat_background
from fm2s_stack.auto.lesson import Run
from fm2s_stack.auto.level import expected_level
from fm2s_stack.auto.reach import Reach
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import measure_skewness
from fm2s_stack.job.auto_sampling import looks_of
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.preview.part import Part

Float32 = NDArray[np.float32]

STRENGTH = 0.5  #: of the added noise, ``a``: results have to do with a quarter more of it
PLANES = 32  #: that are compared, at most
STREAM = 7  #: of random numbers, one of its own
SMOOTH = 5  #: side of the squares whose mean tells the level of a plane alone, pixels


@dataclass(frozen=True, eq=False)
class Recorrupted:
    """Planes of a part with noise added, and what results of them are compared with."""

    pixels: NDArray[np.generic]  #: ``y + a w``, shape (n, y, x)
    target: Float32  #: ``y - w / a``
    runs: tuple[tuple[int, int], ...]  #: planes that follow each other
    light: NDArray[np.bool_]  #: pixels that are finite

    @classmethod
    def of(cls, part: Part, noise: NoiseModel, seed: int) -> Recorrupted:
        """The first runs of a part, with noise as was measured."""
        most = max(PLANES, part.runs[0][1])
        runs = tuple((a, min(b, PLANES)) for a, b in part.runs if b <= most)
        planes = part.pixels[: runs[-1][1]].astype(np.float32)
        light = np.isfinite(planes)
        filled = np.where(light, planes, np.float32(noise.mean_level))
        added = _added(filled, runs, noise, np.random.default_rng((seed, STREAM)))
        noisier = np.where(light, filled + STRENGTH * added, planes)
        return cls(_as_read(noisier, part.pixels.dtype), filled - added / STRENGTH, runs, light)

    def risk(self, results: NDArray[np.generic]) -> float:
        """Mean square from the target, of deviations from the mean; grey levels squared.

        The mean is left out, as a wrong brightness hides nothing and is told by itself.
        """
        off = (results.astype(np.float32) - self.target)[self.light]
        return float(np.mean(off.astype(np.float64) ** 2) - np.mean(off, dtype=float) ** 2)


def _as_read(planes: Float32, dtype: np.dtype) -> NDArray[np.generic]:
    """Planes as denoisers take them: of 8 bits they take no more than those hold."""
    if dtype != np.uint8:
        return planes
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)


def _added(
    planes: Float32,
    runs: tuple[tuple[int, int], ...],
    noise: NoiseModel,
    random: np.random.Generator,
) -> Float32:
    flat = flat_background(noise.mean_level)
    each = tuple(Run(Place(start), planes[start:stop]) for start, stop in runs)
    skewness = measure_skewness(looks_of(each, flat, Reach(1, 1)), noise)
    recorruption = Recorruption(noise, skewness)
    levels = (_level(run.planes, i) for run in each for i in range(len(run.planes)))
    return np.stack([recorruption.draw(level, random) for level in levels])


def _level(run: NDArray[np.generic], number: int) -> Float32:
    """The expected level of a plane of a run."""
    beside = [n for n in (number - 1, number + 1) if 0 <= n < len(run)]
    if beside:
        return expected_level(run[beside])
    return np.asarray(uniform_filter(run[number].astype(np.float32), SMOOTH))
