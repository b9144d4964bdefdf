"""Movies whose noise is known, with what disturbs its measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.simulate import Simulation
from fm2s_stack.simulate.movie import detector_noise, expected_photons


@dataclass(frozen=True)
class Disturbed:
    """A simulated movie and what happens to it."""

    movie: Simulation
    pairs: int = 8
    jitter: float = 0.0  #: each frame is shifted by up to this, pixels
    bleached: float = 0.0  #: part of the light that is lost over the movie
    saturated: float = 0.0  #: part of the pixels of the first frame that are clipped
    dead: float = 0.0  #: part of the pixels that are stuck at 0 or at the highest level

    @property
    def variance_at(self) -> tuple[float, float]:
        """True gain and intercept."""
        sim = self.movie
        rounding = 1 / 12 if sim.read_noise or sim.gain % 1 else 0.0
        return sim.gain, sim.read_noise**2 + rounding - sim.gain * sim.dark_level

    def truth(self, frame: int) -> NDArray[np.float64]:
        """Photons expected."""
        sim = self.movie
        photons = expected_photons(sim, frame) * (1 - self.bleached * frame / sim.frames)
        if self.jitter:
            rng = np.random.default_rng((sim.seed, frame))
            by = rng.uniform(-self.jitter, self.jitter, 2)
            photons = np.maximum(ndimage.shift(photons, by, mode="nearest"), 0)
        return photons

    def frame(self, frame: int) -> NDArray[np.float64]:
        """What the detector gives, unlimited."""
        sim, photons = self.movie, self.truth(frame)
        return sim.dark_level + sim.gain * photons + detector_noise(sim, frame, photons)

    def make(self) -> NDArray[np.integer]:
        """Pairs of consecutive frames, shape (pairs, 2, y, x)."""
        sim = self.movie
        starts = np.linspace(0, sim.frames - 2, self.pairs).astype(int)
        levels = np.stack([[self.frame(t), self.frame(t + 1)] for t in starts])
        limits = np.iinfo(sim.dtype)
        top = np.quantile(levels[0, 0], 1 - self.saturated) if self.saturated else limits.max
        made = np.clip(np.rint(levels), limits.min, min(top, limits.max)).astype(sim.dtype)
        rng = np.random.default_rng(sim.seed)
        stuck = rng.random(made.shape[2:]) < self.dead
        made[..., stuck] = rng.choice([max(limits.min, 0), limits.max], stuck.sum())
        return made

    def require_measured(self, model: NoiseModel) -> None:
        """Assert that a model is as close to the truth as is promised."""
        gain, intercept = self.variance_at
        levels = self.movie.dark_level + self.movie.gain * self.truth(0)
        half = gain * (levels.min() + levels.max()) / 2 + intercept
        assert abs(model.gain / gain - 1) < 0.1
        assert abs(model.intercept - intercept) < max(0.2 * abs(intercept), 0.02 * half)
        kernel = np.array(model.autocorrelation)
        true = np.zeros_like(kernel)
        true[0, [2, 3, 4]] = self.movie.correlation, 1, self.movie.correlation
        assert np.abs(kernel - true).max() < 0.05


def scene(side: int = 96) -> NDArray[np.float64]:
    """A smooth scene of photons, from 2 to 40."""
    y, x = np.mgrid[:side, :side]
    return 21 + 19 * np.sin(x / 9.0) * np.cos(y / 13.0)


def poisson_pairs(
    seed: int = 0, pairs: int = 6, side: int = 96, read_noise: float = 1.0
) -> NDArray[np.float64]:
    """Pairs of frames of photons with read noise: gain 1, intercept `read_noise` squared."""
    rng = np.random.default_rng(seed)
    shape = (pairs, 2, side, side)
    return rng.poisson(scene(side), shape) + read_noise * rng.normal(size=shape)
