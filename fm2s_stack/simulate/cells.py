"""Where the cells are and how each looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.settings import Simulation

Float = NDArray[np.float64]

IN_FOCUS, OUT_OF_FOCUS = 0.9, 2.2  # softness of a cell's outline, micrometres
DEEPER = 0.25  # part of the cells that lie out of focus
CROWDING = 0.95  # least distance of two centres, mean diameters
NUCLEUS = 0.55  # radius of the nucleus, as a part of the cell's
NUCLEUS_DARKNESS = 0.6  # part of the light missing there: the indicator stays outside
TRIES = 30  # places tried for each cell before the field counts as full


@dataclass(frozen=True)
class Cells:
    """One entry of each array is one cell. Every array has shape (cells,)."""

    y: Float  #: row of the centre, pixels
    x: Float  #: column of the centre, pixels
    radius: Float  #: mean radius, pixels
    stretch: Float  #: by how much the longest radius exceeds the mean, as a part of it
    angle: Float  #: of the longest radius, radians
    brightness: Float  #: light of the fully active cell, part of the photon budget
    rest: Float  #: part of that light which the cell gives at rest
    softness: Float  #: of the outline, pixels

    def __len__(self) -> int:
        return len(self.y)


def place_cells(simulation: Simulation) -> Cells:
    """Cells at random places that hardly touch, a quarter of them out of focus."""
    rng = simulation.random("cells")
    y, x = _places(simulation, rng)
    n = len(y)
    micrometre = 1 / simulation.pixel_size
    deeper = rng.random(n) < DEEPER
    brightness = (0.3 + 0.7 * rng.beta(1.3, 2.2, n)) * np.where(deeper, 0.45, 1.0)
    return Cells(
        y=y,
        x=x,
        radius=simulation.cell_diameter / 2 * micrometre * rng.uniform(0.82, 1.18, n),
        stretch=rng.uniform(0.02, 0.16, n),
        angle=rng.uniform(0, np.pi, n),
        brightness=brightness / brightness.max(initial=1e-9),
        rest=rng.uniform(0.22, 0.4, n),
        softness=np.where(deeper, OUT_OF_FOCUS, IN_FOCUS) * micrometre,
    )


def cell_image(
    cells: Cells, index: int, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], Float, Float]:
    """One cell, in the box of the field that it touches.

    Parameters
    ----------
    cells, index
        Which cell.
    shape
        Rows and columns of the field.

    Returns
    -------
    box
        Slices of the field, within it.
    body
        Part of each pixel that the cell covers, 0 to 1.
    stain
        Light of the cell, 0 to 1: `body` with a darker nucleus.
    """
    radius, softness = cells.radius[index], cells.softness[index]
    reach = radius * (1 + cells.stretch[index]) + 5 * softness
    centre = (cells.y[index], cells.x[index])
    box = (_span(centre[0], reach, shape[0]), _span(centre[1], reach, shape[1]))
    y, x = np.mgrid[box]
    angle = np.arctan2(y - centre[0], x - centre[1])
    outline = radius * (1 + cells.stretch[index] * np.cos(2 * (angle - cells.angle[index])))
    distance = np.hypot(y - centre[0], x - centre[1])
    body = _inside(outline - distance, softness)
    nucleus = _inside(NUCLEUS * outline - distance, 1.3 * softness)
    return box, body, body * (1 - NUCLEUS_DARKNESS * nucleus)


def _places(simulation: Simulation, rng: np.random.Generator) -> tuple[Float, Float]:
    size = np.array([simulation.height, simulation.width], dtype=float)
    wanted = round(simulation.cell_density * size.prod() * simulation.pixel_size**2)
    apart = CROWDING * simulation.cell_diameter / simulation.pixel_size
    taken = np.empty((wanted, 2))
    count = 0
    for place in rng.uniform(0, size, (TRIES * wanted, 2)):
        if count < wanted and (((taken[:count] - place) ** 2).sum(axis=1) > apart**2).all():
            taken[count] = place
            count += 1
    return taken[:count, 0], taken[:count, 1]


def _span(centre: float, reach: float, length: int) -> slice:
    return slice(max(0, int(centre - reach)), min(length, int(centre + reach) + 2))


def _inside(depth: Float, softness: float) -> Float:
    inside: Float = 1 / (1 + np.exp(-depth / softness * 2))
    return inside
