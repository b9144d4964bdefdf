"""The field of view: background, vessels, neuropil and cells, as they are at rest.

Light is counted in parts of the photon budget: 1 is the brightest cell at its brightest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.activity import BUNDLES
from fm2s_stack.simulate.cells import Cells, cell_image, place_cells, place_cells_beyond
from fm2s_stack.simulate.pairs import with_neighbours
from fm2s_stack.simulate.settings import Simulation

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Float = NDArray[np.float64]

TEXTURE = ((0.9, 0.20), (2.5, 0.20), (12.0, 0.15))  # (grain in micrometres, log contrast)
TERRITORY = 30.0  # micrometres over which the light of a bundle fades


@dataclass(frozen=True)
class Scene:
    """What does not change from frame to frame.

    With bundle activity ``b`` and cell light ``f``, a frame is
    ``background + neuropil * (1 + bundles @ b) + footprints @ f``. Images are wider than
    the field by the margin of the simulation, on each side.
    """

    cells: Cells  #: where the cells are and how they look
    beyond: Cells  #: cells of the margin, whose centres lie outside the field
    background: Float  #: unspecific light, shape (y, x)
    neuropil: Float  #: neuropil at rest, shape (y, x)
    bundles: Float  #: share of each bundle in a pixel's neuropil, shape (y, x, bundles)
    footprints: csc_array  #: light of each fully active cell, shape (y * x, cells + beyond)


@lru_cache(maxsize=2)
def scene(simulation: Simulation) -> Scene:
    """The field of view of a simulation; the same for every frame and length."""
    light = illumination(simulation) * vessel_shadow(simulation)
    cells = with_neighbours(simulation, place_cells(simulation), light)
    beyond = place_cells_beyond(simulation, cells)
    footprints, covered = _draw_cells((cells, beyond), light, simulation.margin)
    # A cell body displaces the neuropil in its plane; what lies above and below remains.
    neuropil = simulation.neuropil * neuropil_texture(simulation) * (1 - 0.8 * covered) * light
    background = simulation.background * light
    return Scene(cells, beyond, background, neuropil, bundle_shares(simulation), footprints)


def illumination(simulation: Simulation) -> Float:
    """Laser power over the field, falling by a fifth towards the corners."""
    y = np.linspace(-1, 1, simulation.height)[:, None]
    x = np.linspace(-1, 1, simulation.width)
    # It moves with the tissue: over a few pixels the difference is below a percent.
    return np.pad(1 - 0.1 * (y**2 + x**2), simulation.margin, mode="edge")


def vessel_shadow(simulation: Simulation) -> Float:
    """Light that passes the blood vessels above and in the field, 0.2 to 1."""
    rng = simulation.random("scene", 1)
    height, width = simulation.height, simulation.width
    y, x = grid(simulation)
    passed = np.ones_like(y)
    for _ in range(simulation.vessels):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        wave, bend, half_width = rng.uniform(80, 200), rng.uniform(4, 14), rng.uniform(2.5, 6)
        y0, x0 = rng.uniform(0.1, 0.9, 2) * (height, width) * simulation.pixel_size
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        distance = np.abs(across - bend * np.sin(2 * np.pi * along / wave + phase))
        passed *= 1 - 0.8 / (1 + np.exp((distance - half_width) / 1.2))
    return passed


def neuropil_texture(simulation: Simulation) -> Float:
    """Axons and dendrites too fine to resolve: log-normal grains, mean 1."""
    rng = simulation.random("scene", 2)
    log = np.zeros((simulation.height, simulation.width))
    for grain, contrast in TEXTURE:
        log += contrast * smooth_noise(rng, log.shape, grain / simulation.pixel_size)
    texture: Float = np.exp(log - sum(contrast**2 for _, contrast in TEXTURE) / 2)
    # It was smoothed as if it were periodic, and so continues without a seam.
    return np.pad(texture, simulation.margin, mode="wrap")


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Float:
    """Gaussian noise of deviation 1, smoothed by `sigma` pixels as if it were periodic."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    # White noise smoothed by sigma keeps a deviation of 1 / (2 sqrt(pi) sigma).
    noise: Float = smooth * 2 * np.sqrt(np.pi) * sigma
    return noise


def bundle_shares(simulation: Simulation) -> Float:
    """Which bundles of axons a pixel's neuropil belongs to, summing to 1 in each pixel."""
    rng = simulation.random("scene", 3)
    y, x = grid(simulation)
    last = np.array([simulation.height - 1, simulation.width - 1]) * simulation.pixel_size
    centres = rng.uniform(0, last + 1, (BUNDLES, 2))
    distance = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
    near = np.exp((distance.min(axis=-1, keepdims=True) - distance) / TERRITORY)
    shares: Float = near / near.sum(axis=-1, keepdims=True)
    return shares


def grid(simulation: Simulation) -> tuple[Float, Float]:
    """Row and column of every pixel of field and margin, micrometres from the field's corner."""
    margin, height, width = simulation.margin, simulation.height, simulation.width
    y, x = np.mgrid[-margin : height + margin, -margin : width + margin] * simulation.pixel_size
    return y, x


def _draw_cells(groups: tuple[Cells, ...], light: Float, margin: int) -> tuple[csc_array, Float]:
    """Footprints of the cells under `light`, and the part of each pixel cells cover."""
    from scipy.sparse import csc_array

    pixel = np.arange(light.size).reshape(light.shape)
    covered = np.zeros_like(light)
    where, value, ends = [np.empty(0, int)], [np.empty(0)], [0]
    for cells, index in [(group, i) for group in groups for i in range(len(group))]:
        box, body, stain = cell_image(cells, index, light.shape, margin)
        covered[box] = np.maximum(covered[box], body)
        where.append(pixel[box].ravel())
        value.append((cells.brightness[index] * stain * light[box]).ravel())
        ends.append(ends[-1] + stain.size)
    columns = (np.concatenate(value), np.concatenate(where), np.array(ends))
    return csc_array(columns, shape=(light.size, len(ends) - 1)), covered
