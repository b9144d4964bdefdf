"""Frames of a movie or slices of a z-stack: what is expected, and what is recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import UsageError
from fm2s_stack.simulate.activity import cell_light, neuropil_light
from fm2s_stack.simulate.motion import displacement, moved
from fm2s_stack.simulate.scene import scene
from fm2s_stack.simulate.settings import Simulation
from fm2s_stack.simulate.volume import all_cells, slice_light

Float = NDArray[np.float64]


def truth_frame(simulation: Simulation, frame: int) -> NDArray[np.float32]:
    """The noise-free frame: the expectation of every pixel.

    Parameters
    ----------
    simulation
        Settings.
    frame
        Index of the frame, 0 or more; it may lie beyond the movie's end. In a z-stack, of
        the slice, from the top.

    Returns
    -------
    ndarray of float32, shape (height, width)
        Grey levels, the offset included; never clipped.
    """
    expected = simulation.dark_level + simulation.gain * expected_photons(simulation, frame)
    return expected.astype(np.float32)


def noisy_frame(simulation: Simulation, frame: int) -> NDArray[np.integer]:
    """The frame as recorded: photon noise, gain, read noise, offset, rounded and clipped.

    Parameters
    ----------
    simulation
        Settings.
    frame
        Index of the frame, 0 or more; it may lie beyond the movie's end. In a z-stack, of
        the slice, from the top.

    Returns
    -------
    ndarray of ``simulation.dtype``, shape (height, width)
        Grey levels. The variance of a pixel is ``gain**2 * photons + read_noise**2``
        (and that of rounding, 1/12), whatever the correlation, where nothing is clipped.
    """
    photons = expected_photons(simulation, frame)
    noise = detector_noise(simulation, frame, photons)
    levels = simulation.dark_level + simulation.gain * photons + noise
    darkest = np.iinfo(simulation.dtype).min
    return np.clip(np.rint(levels), darkest, simulation.brightest_level).astype(simulation.dtype)


def expected_photons(simulation: Simulation, frame: int) -> Float:
    """Photons expected in every pixel of a frame, shape (height, width)."""
    if frame < 0:
        raise UsageError(f"simulation: frame {frame}, expected 0 or more")
    if simulation.slices > 1:
        return simulation.photons * slice_light(simulation, frame)
    light = light_at_rest(simulation, frame)
    if simulation.motion:
        light = moved(light, displacement(simulation, frame), simulation.margin)
    photons: Float = simulation.photons * simulation.bleached(frame) * light
    return photons


def light_at_rest(simulation: Simulation, frame: int) -> Float:
    """Light of field and margin before motion and bleaching, in parts of the photon budget."""
    view = scene(simulation)
    neuropil = view.neuropil * neuropil_light(simulation, frame, view.bundles)
    each = cell_light(simulation, frame, view.cells.rest)
    beyond = cell_light(simulation, frame, view.beyond.rest, "margin activity")
    bodies = view.footprints @ np.concatenate([each, beyond])
    light: Float = view.background + neuropil + bodies.reshape(neuropil.shape)
    return light


def delta_f_over_f(simulation: Simulation, frame: int) -> Float:
    """True relative brightening of each cell over its light at rest, shape (cells,).

    It is that of the indicator in the cell alone: neither bleaching, which takes from rest
    and activity alike, nor motion, nor the light of neuropil and neighbours is in it.
    """
    rest = all_cells(simulation).rest
    change: Float = cell_light(simulation, frame, rest) / rest - 1
    return change


def detector_noise(simulation: Simulation, frame: int, photons: Float) -> Float:
    """What the detector adds to ``gain * photons``, in grey levels, mean 0.

    The noise of neighbours in a row is mixed as by an amplifier slower than the pixel
    clock: ``(u[x] + a u[x - 1]) / sqrt(1 + a**2)``, of lag-1 correlation
    ``a / (1 + a**2)``. It is mixed in units of each pixel's standard deviation, so that
    the variance still follows the pixel's own light.
    """
    # The pixel before the first of a row exists only to be mixed into it.
    ahead = np.pad(photons, ((0, 0), (1, 0)), mode="edge")
    rng = simulation.random("noise", frame)
    noise = simulation.gain * (rng.poisson(ahead) - ahead)
    noise += simulation.read_noise * rng.normal(size=ahead.shape)
    spread = np.sqrt(simulation.gain**2 * ahead + simulation.read_noise**2)
    unit = noise / spread
    mix = _mixing(simulation.correlation)
    mixed: Float = (unit[:, 1:] + mix * unit[:, :-1]) / np.hypot(1, mix) * spread[:, 1:]
    return mixed


def _mixing(correlation: float) -> float:
    """The root a, at most 1 in size, of ``a / (1 + a**2) = correlation``."""
    if correlation == 0:
        return 0.0
    return float((1 - np.sqrt(1 - 4 * correlation**2)) / (2 * correlation))
