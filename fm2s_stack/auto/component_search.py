"""Finding what changes together in a recording.

Components are searched in means of consecutive planes, slightly blurred: what cells do is slower
and wider than noise, which lies below it then. Where denoising the background took away some of
the scene, that is one of the components too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from fm2s_stack.auto.background import Background
from fm2s_stack.auto.channels import Scale
from fm2s_stack.auto.components import BLOCK, Components, Float16, Float32
from fm2s_stack.fm2s.fit import one_thread
from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.noise_model.drawing import coloured
from fm2s_stack.progress import Pulse, unheard

BLUR = 1.0  #: of the planes that are searched, standard deviation, pixels
MARGIN = 4  #: pixels beyond which a blur does not reach
MOST = 16  #: components of a block
LOOKED_AT = 24  #: that are computed, the last of them roughly
PASSES = 4  #: over the planes, for subspaces that noise makes hard to tell apart
DRAWS = 3  #: of noise, to know its largest singular value
ABOVE = 1.03  #: times that value: drawn blocks differ by less


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
