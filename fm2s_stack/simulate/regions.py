"""Regions of interest: which pixels are inside which cell's outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.cells import cell_image
from fm2s_stack.simulate.scene import scene
from fm2s_stack.simulate.settings import Simulation


def cell_regions(simulation: Simulation) -> NDArray[np.unsignedinteger]:
    """The label of every pixel of the field, with the tissue at rest.

    Returns
    -------
    ndarray of uint16, or of uint32 if there are more than 65,535 cells, shape (height, width)
        0 outside every cell; ``i + 1`` inside the outline of cell ``i``, nucleus included,
        numbered as in the traces. Where outlines overlap, the brighter cell has the pixel.
    """
    cells = scene(simulation).cells
    labels = np.zeros((simulation.height, simulation.width), label_type(len(cells)))
    for index in np.argsort(cells.brightness):
        box, body, _ = cell_image(cells, index, labels.shape)
        labels[box][body >= 0.5] = index + 1
    return labels


def label_type(cells: int) -> np.dtype:
    """The narrowest pixel type that has a label for each cell."""
    return np.dtype("uint16" if cells <= np.iinfo("uint16").max else "uint32")
