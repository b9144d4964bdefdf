"""What changes together in a recording: principal components of its blocks.

The footprints of cells and of neuropil are the same in every frame, so that the few components
of a block that rise above the noise hold what happens there, with a hundredth of the noise
(penalised matrix decomposition, Buchanan et al. 2018, doi 10.1101/334706, has the idea). The
network is shown the part of a plane that lies in them. They are searched in means of consecutive
planes, slightly blurred: what cells do is slower and wider than noise, which lies below it then.
Where denoising the background took away some of the scene, that is one of the components too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from fm2s_stack.auto.background import Background
from fm2s_stack.auto.channels import Scale
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import coloured
from fm2s_stack.progress import Pulse, unheard

BLOCK = 32  #: side of a block, pixels: a few cells
BLUR = 1.0  #: of the planes that are searched, standard deviation, pixels
MARGIN = 4  #: pixels beyond which a blur does not reach
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


class ComponentSearch:
    """Finds the components of a recording, a block at a time.

    Parameters
    ----------
    planes
        Means of consecutive planes, spread over the recording, shape (n, others, y, x), grey
        levels.
    positions
        Of each along the stack axis.
    background, noise
        Of the recording.
    each
        Planes of a mean.
    """

    def __init__(
        self,
        planes: NDArray[np.generic],
        positions: Sequence[float],
        background: Background,
        noise: NoiseModel,
        each: int = 1,
    ) -> None:
        self._planes, self._background, self._noise = planes, background, noise
        self._each = each
        self._lines = np.array(
            [[background.line_at(p, o) for o in range(planes.shape[1])] for p in positions]
        )
        self.shape = (planes.shape[1], *(-(-side // BLOCK) for side in planes.shape[2:]))

    def found(self, pulse: Pulse = unheard, among: NDArray[np.bool_] | None = None) -> Components:
        """The components of all blocks.

        Parameters
        ----------
        pulse
            Called before each block.
        among
            Which of the planes to search; None: all.
        """
        chosen = np.ones(len(self._planes), bool) if among is None else among
        edge = ABOVE * _edge(int(chosen.sum()), self._noise)
        ranks, bases = np.zeros(self.shape, np.int64), []
        for place in np.ndindex(self.shape):
            pulse()
            basis = _basis(self._deviations(chosen, *place), edge)
            ranks[place] = len(basis)
            bases.append(basis)
        return Components(ranks, np.concatenate(bases))

    def _deviations(self, chosen: NDArray[np.bool_], other: int, row: int, column: int) -> Float32:
        """Blurred deviations of a block, in units of the noise of a mean, shape (n, y, x)."""
        read, own = zip(
            *(
                _around(number, size)
                for number, size in zip((row, column), self._planes.shape[2:], strict=True)
            ),
            strict=True,
        )
        lift, factor = self._lines[chosen, other, :, None, None].transpose(1, 0, 2, 3)
        level = lift + factor * self._background.part(other, *read)
        scale = Scale.of(level.astype(np.float32), self._noise)
        deviations = scale.deviations(self._planes[:, other, *read][chosen])
        return _blurred(deviations * np.float32(self._each**0.5))[:, *own]


def _around(number: int, size: int) -> tuple[slice, slice]:
    """What is read along an axis for a block, and where the block lies in it."""
    start, stop = number * BLOCK, min((number + 1) * BLOCK, size)
    first = max(start - MARGIN, 0)
    return slice(first, min(stop + MARGIN, size)), slice(start - first, stop - first)


def _blurred(planes: NDArray[np.floating]) -> Float32:
    # What lies beyond a plane is 0: repeated pixels would have more noise than others.
    blurred = gaussian_filter(planes, (0, BLUR, BLUR), mode="constant", radius=(0, MARGIN, MARGIN))
    return np.asarray(blurred, np.float32)


def _basis(deviations: Float32, edge: float) -> Float16:
    """Components of a block (n, y, x) that rise above an edge, shape (rank, BLOCK, BLOCK)."""
    flat = np.ascontiguousarray(deviations).reshape(len(deviations), -1)
    values, found = _leading(torch.from_numpy(flat))
    rank = min(int((values > edge).sum()), MOST)
    y, x = deviations.shape[1:]
    result = np.zeros((rank, BLOCK, BLOCK), np.float16)
    result[:, :y, :x] = found[:, :rank].T.reshape(rank, y, x).numpy()
    return result


def _edge(planes: int, noise: NoiseModel) -> float:
    """Largest singular value of so many blurred blocks of noise alone."""
    stream, side = np.random.default_rng(0), BLOCK + 2 * MARGIN
    tops = []
    for _ in range(DRAWS):
        white = stream.standard_normal((planes, side, side)).astype(np.float32)
        drawn = np.stack([coloured(one, noise.whole_autocorrelation) for one in white])
        inner = _blurred(drawn)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        flat = np.ascontiguousarray(inner).reshape(planes, -1)
        tops.append(float(_leading(torch.from_numpy(flat))[0][0]))
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
