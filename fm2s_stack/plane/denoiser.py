"""`PlaneDenoiser`: fitted weights, applied to a plane tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.plane.blocks import Blocks, blocks_of
from fm2s_stack.plane.brightness import AS_IT_IS, Brightness
from fm2s_stack.plane.estimates import MARGIN, REACH, Estimates, estimates
from fm2s_stack.plane.line import VarianceLine, halved, lags_of
from fm2s_stack.plane.mixture import mixed

Float32 = NDArray[np.float32]
Core = tuple[tuple[int, int], tuple[int, int]]  #: first and last + 1 row, and column

HALO = REACH  #: pixels to each side that a result depends on at most
TILE = 256  #: side of what is computed at once, pixels


@dataclass(frozen=True, eq=False)
class PlaneDenoiser:
    """How planes of one recording are denoised, each for itself."""

    line: VarianceLine  #: variance of the noise by level
    #: correlation of the noise of pixels (row, column) -n to n apart, shape (2n + 1, 2n + 1)
    correlation: NDArray[np.float64]
    knots: Float32  #: contrasts between which the weights are linear, ascending, shape (knots,)
    weights: Float32  #: of the estimates at each knot, shape (knots, estimates)
    stride: int = 1  #: pixels from block to block: 1 is best, 2 three times as fast
    brightness: Brightness = AS_IT_IS  #: of the mixture, made that of the planes
    #: mean square of what the weights miss of noisy targets, grey levels squared
    loss: float = 0.0

    def denoise(self, plane: NDArray, core: Core | None = None) -> Float32:
        """The estimate of a plane.

        Parameters
        ----------
        plane
            Noisy grey levels, finite, shape (y, x). What lies beyond its edges is taken for
            its mirror image.
        core
            Rows and columns that are wanted; None: all. A part of a plane with `HALO` pixels
            around its core, whose start is a multiple of `TILE` in the plane, gives the same
            bits as the whole.

        Returns
        -------
        ndarray
            float32, shape of the core; not rounded, not clipped.
        """
        (top, bottom), (left, right) = core or ((0, plane.shape[0]), (0, plane.shape[1]))
        result = np.empty((bottom - top, right - left), np.float32)
        with one_thread(), torch.inference_mode():
            for y in range(top, bottom, TILE):
                for x in range(left, right, TILE):
                    part = self.mixture(self.estimates(window_at(plane, y, x)))
                    place = result[y - top : y - top + TILE, x - left : x - left + TILE]
                    place[:] = part[: place.shape[0], : place.shape[1]]
        return result

    def estimates(self, window: Float32, louder: float = 1.0) -> Estimates:
        """The estimates of a tile with its halo, whose noise has a multiple of the variance."""
        fine, coarse = self._blocks()
        found = estimates(torch.from_numpy(window), self.line.louder(louder), fine, coarse)
        inner = slice(MARGIN, MARGIN + TILE)
        return Estimates(*(field[..., inner, inner] for field in found))

    def mixture(self, found: Estimates) -> Float32:
        """The weighted mean of estimates, shape (y, x)."""
        weights, knots = (torch.from_numpy(a) for a in (self.weights, self.knots))
        return self.brightness.of(np.asarray(mixed(found, knots, weights).numpy()))

    def _blocks(self) -> tuple[Blocks, Blocks]:
        lags = lags_of(self.correlation)
        return blocks_of(lags, self.stride), blocks_of(halved(lags), self.stride)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, for storage."""
        line = (self.line.gain, self.line.intercept, self.line.floor)
        return {
            "line": np.array(line),
            "correlation": self.correlation,
            "knots": self.knots,
            "weights": self.weights,
            "stride": np.array(self.stride),
            "brightness": np.array([self.brightness.dark, self.brightness.factor]),
            "loss": np.array(self.loss),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PlaneDenoiser:
        """From what `as_arrays` gave."""
        return cls(
            line=VarianceLine(*map(float, arrays["line"])),
            correlation=np.asarray(arrays["correlation"], float),
            knots=np.asarray(arrays["knots"], np.float32),
            weights=np.asarray(arrays["weights"], np.float32),
            stride=int(arrays["stride"]),
            brightness=Brightness(*map(float, arrays["brightness"])),
            loss=float(arrays["loss"]),
        )


def window_at(plane: NDArray, y: int, x: int) -> Float32:
    """A tile of a plane with `HALO` pixels around, mirrored beyond the edges, as float32."""
    there, beyond = [], []
    for start, length in zip((y, x), plane.shape, strict=True):
        low, high = max(start - HALO, 0), min(start + TILE + HALO, length)
        there.append(slice(low, high))
        beyond.append((low - (start - HALO), start + TILE + HALO - high))
    inside = plane[tuple(there)].astype(np.float32)
    return np.ascontiguousarray(np.pad(inside, beyond, mode="symmetric"))
