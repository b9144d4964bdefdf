"""What cells and axons do: bursts of spikes, and the fluorescence that follows them.

Spikes are drawn in windows of time, each from its own random stream. A frame asks only the
windows whose spikes still glow in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.simulate.settings import Simulation

Float = NDArray[np.float64]

WINDOW = 10.0  # seconds
BUNDLES = 8  # of axons, each with its own activity and territory
NEUROPIL_CHANGE = 0.8  # dF/F of the neuropil when all axons are fully active
GLOW = 12.0  # decay times after which exp(-t / decay) is below 1e-5 and dropped
SPIKE = 0.3  # calcium of one spike, in units in which response saturates at 1


class Population(NamedTuple):
    """Some spiking units of one kind."""

    stream: Literal[
        "cell activity", "axon activity", "margin activity"
    ]  #: its random numbers: rates, windows
    size: int  #: number of units
    rate: float  #: bursts a second, median over units


class Spikes(NamedTuple):
    """Spikes in no order."""

    time: Float  #: seconds from the first frame
    unit: NDArray[np.intp]  #: whose


AXONS = Population("axon activity", BUNDLES, rate=0.5)


def cell_light(
    simulation: Simulation,
    frame: int,
    rest: Float,
    stream: Literal["cell activity", "margin activity"] = "cell activity",
) -> Float:
    """Light of each cell as a part of its light when fully active, `rest` at rest, (cells,)."""
    active = response(simulation, frame, Population(stream, len(rest), simulation.burst_rate))
    light: Float = rest + (1 - rest) * active
    return light


def neuropil_light(simulation: Simulation, frame: int, shares: Float) -> Float:
    """Light of the neuropil in parts of that at rest, from bundle shares (y, x, bundles)."""
    light: Float = 1 + shares @ (NEUROPIL_CHANGE * response(simulation, frame, AXONS))
    return light


def response(simulation: Simulation, frame: int, population: Population) -> Float:
    """Fluorescence of each unit above rest, from 0 at rest to 1 at saturation.

    Parameters
    ----------
    simulation
        Settings.
    frame
        Index of the frame, from 0.
    population
        Who.

    Returns
    -------
    ndarray of float64, shape (size,)
        ``1 - exp(-calcium)``: linear for single spikes, saturating as an indicator does.
    """
    now = frame * simulation.frame_interval
    seen = windows(now, GLOW * simulation.decay)
    drawn = [spikes_of_window(simulation, window, population) for window in seen]
    age = now - np.concatenate([spikes.time for spikes in drawn])
    unit = np.concatenate([spikes.unit for spikes in drawn])
    glowing = (age > 0) & (age < GLOW * simulation.decay)
    each = SPIKE * kernel(age[glowing], simulation.rise, simulation.decay)
    calcium = np.bincount(unit[glowing], weights=each, minlength=population.size)
    return -np.expm1(-calcium)


def kernel(age: Float, rise: float, decay: float) -> Float:
    """Calcium at `age` seconds after a spike: exponential rise and decay, 1 at the peak."""
    peak_age = rise * np.log1p(decay / rise)
    peak = -np.expm1(-peak_age / rise) * np.exp(-peak_age / decay)
    curve: Float = -np.expm1(-age / rise) * np.exp(-age / decay) / peak
    return curve


@lru_cache(maxsize=16)
def spikes_of_window(simulation: Simulation, window: int, population: Population) -> Spikes:
    """Spikes of the bursts that begin in one window of time.

    Bursts are a Poisson process whose rate differs from unit to unit (log-normal, as in
    cortex); the spikes of a burst follow each other at exponential intervals.
    """
    rng = simulation.random(population.stream, window_index(window))
    rates = burst_rates(simulation, population)
    start, interval = window * WINDOW, simulation.spike_interval
    return draw_bursts(rng, rates, start, simulation.burst_spikes, interval)


def draw_bursts(
    rng: np.random.Generator, rates: Float, begin: float, more: float, interval: float
) -> Spikes:
    """Bursts that begin within `WINDOW` of `begin`, `rates` a second, one rate a unit.

    A burst is one spike and `more` others on average, `interval` seconds apart on average.
    """
    bursts = rng.poisson(rates * WINDOW)
    unit = np.repeat(np.arange(len(rates)), bursts)
    start = begin + rng.uniform(0, WINDOW, unit.size)
    spikes = 1 + rng.poisson(more, unit.size)
    gaps = rng.exponential(interval, spikes.sum())
    first = np.cumsum(spikes) - spikes
    gaps[first] = 0
    elapsed = np.cumsum(gaps)
    time = np.repeat(start - elapsed[first], spikes) + elapsed
    return Spikes(time, np.repeat(unit, spikes))


def window_index(window: int) -> int:
    """Which of a stream's random numbers are a window's: 1 and on; 0 is for what never changes."""
    # Windows before the movie are negative, indices of random streams are not.
    return 2 * window + 2 if window >= 0 else -2 * window - 1


def burst_rates(simulation: Simulation, population: Population) -> Float:
    """Bursts a second of each unit, shape (size,)."""
    rng = simulation.random(population.stream)
    return population.rate * rng.lognormal(0.0, 0.8, population.size)


def windows(now: float, memory: float) -> range:
    """Windows of time whose bursts may show `memory` seconds later, at `now`."""
    # A burst lasts seconds at most: one more window back holds those that began earlier.
    return range(int((now - memory) // WINDOW) - 1, int(now // WINDOW) + 1)
