"""Pairs of cells whose outlines touch, to measure how much of one is seen in the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.simulate.cells import (
    IN_FOCUS,
    Cells,
    draw_cells,
    keep_apart,
    least_distance,
    outline_radius,
)
from fm2s_stack.simulate.settings import Simulation

Float = NDArray[np.float64]

DIRECTIONS = 60  # in which a place is looked for beside a cell
LIT = 0.7  # least light at the centre of a cell of a pair
DIMMER = 0.7  # least brightness of the second cell of a pair, in parts of the first's


def with_neighbours(simulation: Simulation, cells: Cells, light: Float) -> Cells:
    """`cells`, and one more cell beside each of ``simulation.touching`` of them.

    Both cells of a pair are in focus, whole in the field, out of the shadow of vessels, and
    active independently. `light` is what reaches each pixel of field and margin, 0 to 1.

    Raises
    ------
    UsageError
        If the field has no room for as many.
    """
    if not simulation.touching:
        return cells
    rng = simulation.random("pairs")
    firsts = rng.permutation(np.flatnonzero(_suitable(simulation, cells, light)))
    seconds = draw_cells(simulation, rng, np.zeros((len(firsts), 2)), deeper_part=0)
    dimmer = rng.uniform(DIMMER, 1, len(firsts))
    seconds = replace(seconds, brightness=cells.brightness[firsts] * dimmer)
    for first, second in zip(firsts, range(len(firsts)), strict=True):
        place = _beside(simulation, rng, cells, first, _only(seconds, second), light)
        if place is not None:
            cells = _paired(cells, first, _at(_only(seconds, second), place))
        if cells.pair.max() + 1 == simulation.touching:
            return cells
    raise UsageError(
        f"simulation: touching is {simulation.touching}, expected at most the "
        f"{cells.pair.max(initial=-1) + 1} pairs that the field has room for"
    )


def _suitable(simulation: Simulation, cells: Cells, light: Float) -> NDArray[np.bool_]:
    in_focus = cells.softness * simulation.pixel_size < 1.01 * IN_FOCUS
    places = np.stack([cells.y, cells.x], axis=1)
    return in_focus & _well_seen(simulation, places, cells.radius, light)


def _well_seen(
    simulation: Simulation, places: Float, radius: Float, light: Float
) -> NDArray[np.bool_]:
    size = np.array([simulation.height, simulation.width])
    room = np.minimum(places, size - 1 - places).min(axis=1)
    y, x = np.clip(np.rint(places).astype(int), 0, size - 1).T + simulation.margin
    seen: NDArray[np.bool_] = (room >= radius) & (light[y, x] > LIT)
    return seen


def _beside(
    simulation: Simulation,
    rng: np.random.Generator,
    cells: Cells,
    first: int,
    second: Cells,
    light: Float,
) -> Float | None:
    """A place (y, x) where the outline of `second` touches that of `first`, and of no other."""
    angle = rng.uniform(-np.pi, np.pi, DIRECTIONS)
    apart = outline_radius(cells, first, angle) + outline_radius(second, 0, angle + np.pi)
    centre = np.array([cells.y[first], cells.x[first]])
    places = centre + apart[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    places = places[_well_seen(simulation, places, second.radius, light)]
    others = np.delete(np.stack([cells.y, cells.x], axis=1), first, axis=0)
    found = keep_apart(places, others, 1, least_distance(simulation))
    return found[0] if len(found) else None


def _paired(cells: Cells, first: int, second: Cells) -> Cells:
    number = cells.pair.max() + 1
    pair = cells.pair.copy()
    pair[first] = number
    return replace(cells, pair=pair) + replace(second, pair=np.array([number]))


def _only(cells: Cells, index: int) -> Cells:
    return Cells(**{what: array[[index]] for what, array in vars(cells).items()})


def _at(cell: Cells, place: Float) -> Cells:
    return replace(cell, y=place[[0]], x=place[[1]])
