"""Where the cells are and how each looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    z: Float  #: depth of the centre, slices of a z-stack; 0 in a movie
    pair: NDArray[np.intp]  #: number of the pair of touching cells it belongs to, or -1

    def __len__(self) -> int:
        return len(self.y)

    def __add__(self, more: Cells) -> Cells:
        mine, theirs = vars(self), vars(more)
        return Cells(**{what: np.concatenate([mine[what], theirs[what]]) for what in mine})


def place_cells(simulation: Simulation) -> Cells:
    """Cells at random places that hardly touch, a quarter of them out of focus."""
    rng = simulation.random("cells")
    size = np.array([simulation.height, simulation.width], dtype=float)
    wanted = round(simulation.cell_density * size.prod() * simulation.pixel_size**2)
    candidates = rng.uniform(0, size, (TRIES * wanted, 2))
    places = keep_apart(candidates, np.empty((0, 2)), wanted, least_distance(simulation))
    cells = draw_cells(simulation, rng, places)
    return replace(cells, brightness=cells.brightness / cells.brightness.max(initial=1e-9))


def place_cells_beyond(simulation: Simulation, cells: Cells) -> Cells:
    """Cells in the margin around the field, into which motion brings them."""
    rng = simulation.random("margin cells")
    size = np.array([simulation.height, simulation.width], dtype=float)
    outer = size + 2 * simulation.margin
    density = simulation.cell_density * simulation.pixel_size**2
    candidates = rng.uniform(0, outer, (TRIES * round(density * outer.prod()), 2))
    candidates -= simulation.margin
    beyond = ((candidates < 0) | (candidates >= size)).any(axis=1)
    standing = np.stack([cells.y, cells.x], axis=1)
    wanted = round(density * (outer.prod() - size.prod()))
    places = keep_apart(candidates[beyond], standing, wanted, least_distance(simulation))
    return draw_cells(simulation, rng, places)


def draw_cells(
    simulation: Simulation, rng: np.random.Generator, places: Float, deeper_part: float = DEEPER
) -> Cells:
    """Cells of random looks at `places`, rows of (y, x) in pixels, some out of focus."""
    n = len(places)
    micrometre = 1 / simulation.pixel_size
    deeper = rng.random(n) < deeper_part
    brightness = (0.3 + 0.7 * rng.beta(1.3, 2.2, n)) * np.where(deeper, 0.45, 1.0)
    return Cells(
        y=places[:, 0],
        x=places[:, 1],
        radius=simulation.cell_diameter / 2 * micrometre * rng.uniform(0.82, 1.18, n),
        stretch=rng.uniform(0.02, 0.16, n),
        angle=rng.uniform(0, np.pi, n),
        brightness=brightness,
        rest=rng.uniform(0.22, 0.4, n),
        softness=np.where(deeper, OUT_OF_FOCUS, IN_FOCUS) * micrometre,
        z=np.zeros(n),
        pair=np.full(n, -1),
    )


def cell_image(
    cells: Cells, index: int, shape: tuple[int, int], margin: int = 0, above: float = 0.0
) -> tuple[tuple[slice, slice], Float, Float]:
    """One cell, in the box of the field that it touches.

    Parameters
    ----------
    cells, index
        Which cell.
    shape
        Rows and columns of the field, its margin included.
    margin
        Pixels by which it is wider than the field that cells are placed in, on each side.
    above
        Distance of the focus from the plane of the cell's centre, pixels.

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
    box = (
        _span(centre[0] + margin, reach, shape[0]),
        _span(centre[1] + margin, reach, shape[1]),
    )
    y, x = np.mgrid[box] - margin
    angle = np.arctan2(y - centre[0], x - centre[1])
    outline = outline_radius(cells, index, angle)
    # Along z the cell reaches as far as its mean radius.
    distance = np.hypot(np.hypot(y - centre[0], x - centre[1]), above * outline / radius)
    body = _inside(outline - distance, softness)
    nucleus = _inside(NUCLEUS * outline - distance, 1.3 * softness)
    return box, body, body * (1 - NUCLEUS_DARKNESS * nucleus)


def outline_radius(cells: Cells, index: int, angle: Float) -> Float:
    """Distance of a cell's outline from its centre, in pixels, in directions in radians."""
    radius: Float = cells.radius[index] * (
        1 + cells.stretch[index] * np.cos(2 * (angle - cells.angle[index]))
    )
    return radius


def least_distance(simulation: Simulation) -> float:
    """Least distance of the centres of two cells, pixels."""
    return CROWDING * simulation.cell_diameter / simulation.pixel_size


def keep_apart(candidates: Float, standing: Float, wanted: int, apart: float) -> Float:
    """The first `wanted` candidates that keep their distance from what stands and each other."""
    taken = np.concatenate([standing, np.empty((wanted, standing.shape[1]))])
    count = len(standing)
    for place in candidates:
        if count == len(taken):
            break
        if (((taken[:count] - place) ** 2).sum(axis=1) > apart**2).all():
            taken[count] = place
            count += 1
    return taken[len(standing) : count]


def _span(centre: float, reach: float, length: int) -> slice:
    return slice(max(0, int(centre - reach)), max(0, min(length, int(centre + reach) + 2)))


def _inside(depth: Float, softness: float) -> Float:
    inside: Float = 1 / (1 + np.exp(-depth / softness * 2))
    return inside
