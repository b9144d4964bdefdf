"""Motion of the brain under the objective: slow drift, and bouts of jerks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.activity import (
    WINDOW,
    Spikes,
    draw_bursts,
    kernel,
    window_index,
    windows,
)
from fm2s_stack.simulate.settings import Simulation

Float = NDArray[np.float64]

# Displacements below are in units of the setting `motion`, before they are bounded.
DRIFT = 0.25  # root mean square along an axis
WAVES = 6  # of which the drift is the sum
PERIODS = (8.0, 120.0)  # seconds, of those: the shortest and the longest
BOUTS = 0.12  # a second, in which the animal moves
JERKS = 3.0  # of a bout beyond the first, mean number
INTERVAL = 0.25  # seconds between the jerks of a bout, mean
JERK = 0.45  # root mean square of one along an axis
RISE, RETURN = 0.06, 0.6  # time constants of a jerk, seconds
MEMORY = 12 * RETURN  # seconds after which a jerk is below 1e-5 and dropped


def displacement(simulation: Simulation, frame: int) -> Float:
    """By how many pixels the tissue is displaced from rest in a frame.

    Parameters
    ----------
    simulation
        Settings.
    frame
        Index of the frame, from 0.

    Returns
    -------
    ndarray of float64, shape (2,)
        (dy, dx): what lies at (y, x) at rest is seen at (y + dy, x + dx). Its length is
        below ``simulation.motion`` and comes near it in strong bouts.
    """
    now = frame * simulation.frame_interval
    free = drift(simulation, now) + jerks(simulation, now)
    length = np.hypot(*free)
    # Tissue resists: the farther it is from rest, the less a jerk moves it on.
    bounded: Float = simulation.motion * free * (np.tanh(length) / max(length, 1e-9))
    return bounded


def moved(light: Float, by: Float, margin: int) -> Float:
    """The field of an image that has a margin, displaced by less than it, never below 0.

    Quintic splines keep the sharpness of what the optics resolve, whatever part of a pixel
    the displacement is; linear interpolation would blur half a pixel's most and none at 0.
    """
    from scipy.ndimage import shift

    field = slice(margin, -margin)
    seen: Float = np.maximum(shift(light, by, order=5, mode="mirror")[field, field], 0)
    return seen


def drift(simulation: Simulation, now: float) -> Float:
    """Slow part of the displacement at `now` seconds, shape (2,)."""
    rng = simulation.random("motion")
    shortest, longest = np.log(PERIODS)
    period = np.exp(rng.uniform(shortest, longest, (2, WAVES)))
    phase = rng.uniform(0, 2 * np.pi, (2, WAVES))
    waves = np.sin(2 * np.pi * now / period + phase)
    slow: Float = DRIFT * np.sqrt(2 / WAVES) * waves.sum(axis=1)
    return slow


def jerks(simulation: Simulation, now: float) -> Float:
    """Quick part of the displacement at `now` seconds, shape (2,)."""
    total = np.zeros(2)
    for window in windows(now, MEMORY):
        when, step = jerks_of_window(simulation, window)
        age = now - when.time
        felt = (age > 0) & (age < MEMORY)
        total += kernel(age[felt], RISE, RETURN) @ step[felt]
    return total


@lru_cache(maxsize=16)
def jerks_of_window(simulation: Simulation, window: int) -> tuple[Spikes, Float]:
    """Jerks of the bouts that begin in one window of time, and the step (dy, dx) of each."""
    rng = simulation.random("motion", window_index(window))
    when = draw_bursts(rng, np.array([BOUTS]), window * WINDOW, JERKS, INTERVAL)
    return when, rng.normal(0, JERK, (len(when.time), 2))
