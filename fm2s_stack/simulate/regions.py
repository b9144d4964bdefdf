"""Regions of interest: which pixels are inside which cell's outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.cells import cell_image
from fm2s_stack.simulate.settings import Simulation
from fm2s_stack.simulate.volume import all_cells


def cell_regions(simulation: Simulation, index: int = 0) -> NDArray[np.unsignedinteger]:
    """The label of every pixel of the field at rest, or of a slice of a z-stack.

    Parameters
    ----------
    simulation
        Settings.
    index
        Index of the slice, from the top; 0 of a movie.

    Returns
    -------
    ndarray of uint16, or of uint32 if there are more than 65,535 cells, shape (height, width)
        0 outside every cell; ``i + 1`` inside the outline of cell ``i``, nucleus included,
        numbered as in the traces. Where outlines overlap, the brighter cell has the pixel.
    """
    cells = all_cells(simulation)
    above = (cells.z - index) * simulation.slice_spacing / simulation.pixel_size
    labels = np.zeros((simulation.height, simulation.width), label_type(simulation))
    cut = np.flatnonzero(np.abs(above) <= cells.radius)
    for cell in cut[np.argsort(cells.brightness[cut])]:
        box, body, _ = cell_image(cells, int(cell), labels.shape, above=above[cell])
        labels[box][body >= 0.5] = cell + 1
    return labels


def label_type(simulation: Simulation) -> np.dtype:
    """The narrowest pixel type that has a label for each cell."""
    cells = len(all_cells(simulation))
    return np.dtype("uint16" if cells <= np.iinfo("uint16").max else "uint32")
