"""The settings of a simulated recording, and the random streams derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fm2s_stack.errors import UsageError

SPLINE_REACH = 8  # pixels from an edge within which interpolating would show it

PixelType = Literal["uint8", "uint16", "int16"]
# A stream is drawn from by its place in this list: add at the end.
# fmt: off
Stream = Literal[
    "scene", "cells", "noise", "cell activity", "axon activity",
    "motion", "margin cells", "margin activity", "pairs",
    "volume cells", "volume vessels", "volume texture",
]
# fmt: on

_ABOVE_ZERO = (
    *("frames", "height", "width", "photons", "background", "cell_diameter", "decay", "rise"),
    *("spike_interval", "gain", "pixel_size", "frame_interval", "slices", "slice_spacing"),
    *("axial_blur", "scattering"),
)
_NOT_BELOW_ZERO = (
    *("seed", "neuropil", "vessels", "cell_density", "burst_rate", "burst_spikes", "read_noise"),
    "touching",
)


@dataclass(frozen=True)
class Simulation:
    """What is simulated. One value of every field gives one recording, bit for bit.

    Raises
    ------
    UsageError
        If a field has a value that cannot be meant, naming the field.
    """

    frames: int = 300  #: length of the movie, frames; 1 of a z-stack
    height: int = 256  #: rows
    width: int = 256  #: columns
    seed: int = 0  #: what every random stream is derived from, 0 or more
    dtype: PixelType = "uint16"  #: pixel type of the noisy movie

    photons: float = 25.0  #: photons a frame expected in the brightest cell at its brightest
    background: float = 0.03  #: unspecific light, as a part of `photons`
    neuropil: float = 0.1  #: mean light of the neuropil at rest, as a part of `photons`
    vessels: int = 2  #: blood vessels whose shadow crosses the field
    cell_density: float = 0.0011  #: cells a square micrometre
    cell_diameter: float = 12.5  #: mean diameter of a cell, micrometres
    touching: int = 0  #: pairs of cells whose outlines touch, each pair one cell more

    burst_rate: float = 0.12  #: bursts of spikes a second, median over cells
    burst_spikes: float = 3.0  #: mean number of spikes in a burst beyond the first
    spike_interval: float = 0.06  #: mean time between the spikes of a burst, seconds
    rise: float = 0.05  #: time constant with which calcium rises, seconds
    decay: float = 0.6  #: time constant with which calcium decays, seconds

    gain: float = 40.0  #: grey levels a photon
    offset: float | None = None  #: grey level of darkness; None: 200, 20 or (int16) 0
    read_noise: float = 20.0  #: standard deviation of the noise of darkness, grey levels
    correlation: float = 0.0  #: of the noise of horizontal neighbours, -0.5 to 0.5
    saturation: int | None = None  #: grey level at which the detector clips; None: the pixel type's

    bleaching: float = 0.0  #: part of the light lost from the first to the last frame, 0 to < 1
    motion: float = 0.0  #: most that the field is displaced from rest, pixels

    pixel_size: float = 1.0  #: micrometres
    frame_interval: float = 1 / 30  #: seconds

    slices: int = 1  #: depths: above 1 a z-stack in place of a movie, of 1 frame
    slice_spacing: float = 2.0  #: micrometres from slice to slice
    axial_blur: float = 2.0  #: of the optics along z, standard deviation, micrometres
    scattering: float = 150.0  #: micrometres of depth over which the light falls to 1/e

    def __post_init__(self) -> None:
        for name in _ABOVE_ZERO:
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in _NOT_BELOW_ZERO:
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("correlation", abs(self.correlation) <= 0.5, "-0.5 to 0.5")
        self._require("dtype", self.dtype in get_args(PixelType), "uint8, uint16 or int16")
        self._require("bleaching", 0 <= self.bleaching < 1, "0 or more and below 1")
        most = min(self.height, self.width) / 4
        self._require("motion", 0 <= self.motion <= most, f"0 to {most:g}, a quarter of the field")
        self._require_saturation()
        if self.slices > 1:
            self._require("frames", self.frames == 1, f"1 in a z-stack of {self.slices} slices")
            for name in ("motion", "bleaching", "touching"):
                self._require(name, not getattr(self, name), "0 in a z-stack")

    def _require_saturation(self) -> None:
        highest = int(np.iinfo(self.dtype).max)
        fulfilled = self.saturation is None or self.dark_level < self.saturation <= highest
        self._require(
            "saturation", fulfilled, f"above the dark level {self.dark_level:g}, up to {highest}"
        )

    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise UsageError(f"simulation: {name} is {getattr(self, name)}, expected {expected}")

    @property
    def dark_level(self) -> float:
        """Grey level of a pixel that no photon reaches."""
        if self.offset is not None:
            return self.offset
        # ScanImage subtracts the offset of its digitizer: darkness scatters around 0.
        return {"uint8": 20.0, "uint16": 200.0, "int16": 0.0}[self.dtype]

    @property
    def margin(self) -> int:
        """Pixels of tissue around the field that motion can bring into it."""
        return math.ceil(self.motion) + SPLINE_REACH if self.motion else 0

    @property
    def planes(self) -> int:
        """Images there are: the frames of a movie, or the slices of a z-stack."""
        return self.frames * self.slices

    @property
    def brightest_level(self) -> int:
        """Grey level that no pixel of the noisy movie exceeds."""
        return int(np.iinfo(self.dtype).max) if self.saturation is None else self.saturation

    def bleached(self, frame: int) -> float:
        """Part of the light that bleaching has left in a frame, 1 in the first."""
        return float((1 - self.bleaching) ** (frame / max(1, self.frames - 1)))

    def random(self, stream: Stream, index: int = 0) -> np.random.Generator:
        """The random numbers of one ingredient at one place, independent of all others."""
        return np.random.default_rng((self.seed, get_args(Stream).index(stream), index))
