"""What changes together in a recording: principal components of its blocks.

The footprints of cells and of neuropil are the same in every frame, so that the few components
of a block that rise above the noise hold what happens there, with a hundredth of the noise
(penalised matrix decomposition, Buchanan et al. 2018, doi 10.1101/334706, has the idea). The
network is shown the part of a plane that lies in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fm2s_stack.auto.background import Background
from fm2s_stack.auto.channels import Scale
from fm2s_stack.auto.recorrupt import Recorruption
from fm2s_stack.auto.skewness import Skewness
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.progress import Pulse, unheard

BLOCK = 32  #: side of a block, pixels: a few cells
MOST = 16  #: components of a block
LOOKED_AT = 24  #: that are computed, the last of them roughly
PASSES = 4  #: over the planes, for subspaces that noise makes hard to tell apart
DRAWS = 3  #: of noise, to know its largest singular value
ABOVE = 1.03  #: times that value: drawn blocks differ by less

Float32 = NDArray[np.float32]
Float16 = NDArray[np.float16]  #: of what is stored: a tenth of a percent is exact enough


@dataclass(frozen=True, eq=False)
class Components:
    """Orthonormal components of the blocks of a plane, in units of the noise."""

    ranks: NDArray[np.int64]  #: how many there are of each block, shape (others, rows, columns)
    bases: Float16  #: of one block after the other, shape (sum of ranks, BLOCK, BLOCK); 0 beyond
    #: the end of the plane

    def project(self, deviations: Float32, other: int, origin: tuple[int, int]) -> Float32:
        """The part of a plane that lies in them.

        Parameters
        ----------
        deviations
            From the background, in units of the noise, shape (y, x): whole blocks, fewer pixels
            only where the plane ends.
        other
            Which of the planes at one position.
        origin
            Row and column of the plane at which it begins, multiples of `BLOCK`.
        """
        result = np.zeros_like(deviations)
        if not len(self.bases):
            return result
        starts = np.concatenate([[0], np.cumsum(self.ranks)]).reshape(-1)
        width = self.ranks.shape[2]
        for y, x in _corners(deviations.shape):
            row, column = (origin[0] + y) // BLOCK, (origin[1] + x) // BLOCK
            number = (other * self.ranks.shape[1] + row) * width + column
            basis = self.bases[starts[number] : starts[number + 1]]
            if not len(basis):
                continue
            block = deviations[y : y + BLOCK, x : x + BLOCK]
            own = (
                basis[:, : block.shape[0], : block.shape[1]]
                .reshape(len(basis), -1)
                .astype(np.float32)
            )
            result[y : y + BLOCK, x : x + BLOCK] = (own.T @ (own @ block.ravel())).reshape(
                block.shape
            )
        return result


def _corners(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return product(range(0, shape[0], BLOCK), range(0, shape[1], BLOCK))


def no_components() -> Components:
    """Those of a recording that is too short to tell any."""
    return Components(np.zeros((1, 0, 0), np.int64), np.empty((0, BLOCK, BLOCK), np.float16))


class ComponentSearch:
    """Finds the components of a recording, a block at a time.

    Parameters
    ----------
    planes
        Planes spread over the recording, shape (n, others, y, x), grey levels.
    positions
        Of each along the stack axis.
    background, noise
        Of the recording.
    """

    def __init__(
        self,
        planes: NDArray[np.generic],
        positions: Sequence[float],
        background: Background,
        noise: NoiseModel,
    ) -> None:
        self._planes, self._background, self._noise = planes, background, noise
        self._lines = np.array(
            [[background.line_at(p, o) for o in range(planes.shape[1])] for p in positions]
        )
        self._edge = ABOVE * _edge(len(planes), noise)
        self.shape = (planes.shape[1], *(-(-side // BLOCK) for side in planes.shape[2:]))

    def found(self, pulse: Pulse = unheard) -> Components:
        """The components of all blocks; `pulse` is called before each."""
        ranks, bases = np.zeros(self.shape, np.int64), []
        for place in np.ndindex(self.shape):
            pulse()
            basis = self._block(*place)
            ranks[place] = len(basis)
            bases.append(basis)
        return Components(ranks, np.concatenate(bases))

    def _block(self, other: int, row: int, column: int) -> Float16:
        """Those of one block, shape (rank, BLOCK, BLOCK)."""
        deviations = self._deviations(other, row, column)
        values, found = _leading(torch.from_numpy(deviations.reshape(len(deviations), -1)))
        rank = min(int((values > self._edge).sum()), MOST)
        y, x = deviations.shape[1:]
        result = np.zeros((rank, BLOCK, BLOCK), np.float16)
        result[:, :y, :x] = found[:, :rank].T.reshape(rank, y, x).numpy()
        return result

    def _deviations(self, other: int, row: int, column: int) -> Float32:
        rows, columns = (slice(n * BLOCK, (n + 1) * BLOCK) for n in (row, column))
        lift, factor = self._lines[:, other, :, None, None].transpose(1, 0, 2, 3)
        level = lift + factor * self._background.part(other, rows, columns)
        scale = Scale.of(level.astype(np.float32), self._noise)
        return scale.deviations(self._planes[:, other, rows, columns])


def _edge(planes: int, noise: NoiseModel) -> float:
    """Largest singular value of so many blocks of noise alone."""
    # As skewed as that of photons alone, which is the most it can be.
    skewness = Skewness(noise.gain**2, noise.gain * noise.intercept)
    recorruption, stream = Recorruption(noise, skewness), np.random.default_rng(0)
    level = np.full((BLOCK, BLOCK), noise.mean_level, np.float32)
    deviation = np.sqrt(noise.variance(noise.mean_level))
    tops = []
    for _ in range(DRAWS):
        drawn = np.stack([recorruption.draw(level, stream).ravel() for _ in range(planes)])
        tops.append(float(_leading(torch.from_numpy((drawn / deviation).astype(np.float32)))[0][0]))
    return max(tops)


def _leading(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values and right singular vectors (pixels, n), by subspace iteration."""
    with one_thread():
        stream = torch.Generator().manual_seed(0)
        count = min(LOOKED_AT, *planes.shape)
        space = torch.randn(planes.shape[1], count, generator=stream)
        for _ in range(PASSES):
            space = torch.linalg.qr(planes.T @ (planes @ space))[0]
        _, values, turned = torch.linalg.svd(planes @ space, full_matrices=False)
        return values, space @ turned.T
