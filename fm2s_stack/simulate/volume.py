"""The tissue through depth: a z-stack of cells, neuropil and vessels at one instant.

Depth is counted in micrometres from the first slice. As in the field of a movie, light is
counted in parts of the photon budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.activity import cell_light, neuropil_light
from fm2s_stack.simulate.cells import (
    TRIES,
    Cells,
    cell_image,
    draw_cells,
    keep_apart,
    least_distance,
)
from fm2s_stack.simulate.scene import (
    TEXTURE,
    bundle_shares,
    grid,
    illumination,
    scene,
    smooth_noise,
)
from fm2s_stack.simulate.settings import Simulation

Float = NDArray[np.float64]

FOCUS = np.linspace(-3, 3, 9)  # depths that are summed into a slice, blurs from its own
LAYERS = 3  # of the neuropil on each side of a depth, that it is a mixture of
KEPT = 64  # layers in memory, at most: those of a slice are those of the next


@dataclass(frozen=True)
class Vessels:
    """Winding tubes. One entry of each array is one vessel."""

    start: Float  #: a point (z, y, x) of the axis, micrometres, shape (vessels, 3)
    direction: Float  #: of the axis, of length 1, shape (vessels, 3)
    bend: Float  #: by how much the axis winds along x, micrometres
    wave: Float  #: depth over which it winds once, micrometres
    radius: Float  #: micrometres


def all_cells(simulation: Simulation) -> Cells:
    """The cells of the tables and labels: of a movie's field, or of a z-stack."""
    return volume_cells(simulation) if simulation.slices > 1 else scene(simulation).cells


def slice_light(simulation: Simulation, index: int) -> Float:
    """Light of a slice, shape (height, width).

    The optics blur along z: cells are summed over depths with Gaussian weights. Neuropil
    comes smoothed as much, and the wall of a vessel is soft.
    """
    depth = index * simulation.slice_spacing
    light = illumination(simulation) * vessel_light(simulation, depth)
    light *= np.exp(-depth / simulation.scattering)
    bodies, covered = _draw_slice(simulation, index)
    neuropil = neuropil_layer(simulation, depth) * (1 - 0.8 * covered)
    neuropil *= neuropil_light(simulation, 0, bundle_shares(simulation))
    seen: Float = light * (simulation.background + simulation.neuropil * neuropil + bodies)
    return seen


@lru_cache(maxsize=2)
def volume_cells(simulation: Simulation) -> Cells:
    """Cells of a z-stack, and those that reach into it from above and below."""
    rng = simulation.random("volume cells")
    spacing = simulation.slice_spacing / simulation.pixel_size  # pixels, as y and x
    reach = simulation.cell_diameter / 2 / simulation.pixel_size
    low = np.array([0, 0, -reach])
    high = np.array(
        [simulation.height, simulation.width, (simulation.slices - 1) * spacing + reach]
    )
    # A plane cuts the cells whose centres lie within a radius of it.
    density = simulation.cell_density * simulation.pixel_size**2 / (2 * reach)
    wanted = round(density * float(np.prod(high - low)))
    candidates = rng.uniform(low, high, (TRIES * wanted, 3))
    places = keep_apart(candidates, np.empty((0, 3)), wanted, least_distance(simulation))
    cells = draw_cells(simulation, rng, places[:, :2], deeper_part=0)
    return replace(
        cells,
        z=places[:, 2] / spacing,
        brightness=cells.brightness / cells.brightness.max(initial=1e-9),
    )


def vessel_light(simulation: Simulation, depth: float) -> Float:
    """Light that the blood in vessels leaves of a plane, 0.2 to 1."""
    tubes = _vessels(simulation)
    y, x = grid(simulation)
    left = np.ones_like(y)
    for start, direction, bend, wave, radius in zip(*vars(tubes).values(), strict=True):
        winding = bend * np.sin(2 * np.pi * depth / wave)
        away = np.stack([np.full_like(y, depth), y, x - winding], axis=-1) - start
        distance = np.linalg.norm(np.cross(away, direction), axis=-1)
        left *= 1 - 0.8 / (1 + np.exp(distance - radius))
    return left


def neuropil_layer(simulation: Simulation, depth: float) -> Float:
    """Axons and dendrites at a depth: log-normal grains, mean 1, as long in z as wide."""
    log = np.zeros((simulation.height, simulation.width))
    for number, (grain, contrast) in enumerate(TEXTURE):
        apart = max(grain, simulation.axial_blur)
        layers = round(depth / apart) + np.arange(-LAYERS, LAYERS + 1)
        weights = np.exp(-((depth / apart - layers) ** 2))
        mixture = sum(
            weight * _layer(simulation, number, int(layer))
            for weight, layer in zip(weights, layers, strict=True)
        )
        log += contrast * mixture / np.linalg.norm(weights)
    texture: Float = np.exp(log - sum(contrast**2 for _, contrast in TEXTURE) / 2)
    return texture


def _draw_slice(simulation: Simulation, index: int) -> tuple[Float, Float]:
    """Light of the cells in a slice, and the part of each pixel that they cover."""
    cells = volume_cells(simulation)
    each = cells.brightness * cell_light(simulation, 0, cells.rest)
    bodies, covered = np.zeros((2, simulation.height, simulation.width))
    weights = np.exp(-(FOCUS**2) / 2) / np.exp(-(FOCUS**2) / 2).sum()
    above = (cells.z - index) * simulation.slice_spacing / simulation.pixel_size
    for shift, weight in zip(FOCUS * simulation.axial_blur, weights, strict=True):
        focus = above - shift / simulation.pixel_size
        for cell in np.flatnonzero(np.abs(focus) < cells.radius + 4 * cells.softness):
            box, body, stain = cell_image(cells, int(cell), bodies.shape, above=focus[cell])
            bodies[box] += weight * each[cell] * stain
            covered[box] += weight * body
    return bodies, np.minimum(covered, 1)


@lru_cache(maxsize=KEPT)
def _layer(simulation: Simulation, number: int, layer: int) -> Float:
    rng = simulation.random("volume texture", (layer + LAYERS) * len(TEXTURE) + number)
    shape = (simulation.height, simulation.width)
    return smooth_noise(rng, shape, TEXTURE[number][0] / simulation.pixel_size)


@lru_cache(maxsize=2)
def _vessels(simulation: Simulation) -> Vessels:
    rng = simulation.random("volume vessels")
    n = simulation.vessels
    depth = (simulation.slices - 1) * simulation.slice_spacing
    size = (depth, *(np.array([simulation.height, simulation.width]) * simulation.pixel_size))
    # Their directions are spread evenly over the sphere: some dive, some run along a slice.
    direction = rng.normal(size=(n, 3))
    return Vessels(
        start=rng.uniform(0.1, 0.9, (n, 3)) * size,
        direction=direction / np.linalg.norm(direction, axis=1, keepdims=True),
        bend=rng.uniform(1, 5, n),
        wave=rng.uniform(40, 120, n),
        radius=rng.uniform(2.5, 6, n),
    )
