"""What changes together in a recording: principal components of its blocks.

The footprints of cells and of neuropil are the same in every frame, so that the few components
of a block that rise above the noise hold what happens there, with a hundredth of the noise
(penalised matrix decomposition, Buchanan et al. 2018, doi 10.1101/334706, has the idea). The
network is shown the part of a plane that lies in them, and its results are brought nearer to what
the plane itself shows of them. How they are found: `fm2s_stack.auto.component_search`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  #: side of a block, pixels: a few cells

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
        for block, basis in self.blocks(deviations.shape, other, origin):
            pixels = deviations[block]
            result[block] = (basis.T @ (basis @ pixels.ravel())).reshape(pixels.shape)
        return result

    def heeded(
        self, own: Float32, made: Float32, heed: float, other: int, origin: tuple[int, int]
    ) -> Float32:
        """What was made of a plane, brought nearer to the plane itself where something happens.

        Of what the plane shows of a component beyond what was made of it, the part
        ``heed * size**2 / (1 + heed * size**2)`` is added, where `size` is how much of the
        component was made. Calm blocks keep what was made, and a plane's noise stays out of them.

        Parameters
        ----------
        own, made
            Deviations, as for `project`.
        heed
            0: nothing is added. Half is, of a change of ``heed**-0.5`` deviations of the noise.
        other, origin
            As for `project`.
        """
        if not heed:
            return made
        result = made.copy()
        for block, basis in self.blocks(made.shape, other, origin):
            size, there = basis @ made[block].ravel(), basis @ own[block].ravel()
            more = basis.T @ (part_heeded(size, heed) * (there - size))
            result[block] += more.reshape(made[block].shape)
        return result

    def blocks(
        self, shape: tuple[int, ...], other: int, origin: tuple[int, int]
    ) -> Iterator[tuple[tuple[slice, slice], Float32]]:
        """Rows and columns of each block of a part of a plane, and its basis (rank, pixels).

        Parameters
        ----------
        shape
            Of the part: whole blocks, fewer pixels only where the plane ends.
        other, origin
            As for `project`. Blocks without components are left out.
        """
        if not len(self.bases):
            return
        starts = np.concatenate([[0], np.cumsum(self.ranks)])
        _, rows, columns = self.ranks.shape
        for y, x in _corners(shape):
            row, column = (origin[0] + y) // BLOCK, (origin[1] + x) // BLOCK
            number = (other * rows + row) * columns + column
            own = self.bases[starts[number] : starts[number + 1]]
            if len(own):
                block = slice(y, min(y + BLOCK, shape[0])), slice(x, min(x + BLOCK, shape[1]))
                height, width = block[0].stop - y, block[1].stop - x
                inside = own[:, :height, :width].reshape(len(own), -1)
                yield block, inside.astype(np.float32)


def part_heeded(size: NDArray[np.float32], heed: float) -> NDArray[np.float32]:
    """Part of what a plane shows beyond what was made of it that is believed, by `size` made."""
    square = np.float32(heed) * size * size
    return np.asarray(square / (1 + square))


def _corners(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return product(range(0, shape[0], BLOCK), range(0, shape[1], BLOCK))


def no_components() -> Components:
    """Those of a recording that is too short to tell any."""
    return Components(np.zeros((1, 0, 0), np.int64), np.empty((0, BLOCK, BLOCK), np.float16))
