"""What quality is measured on: simulated recordings, a folder of movies, pairs of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fm2s_stack import Stack, open_stack
from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import Event
from fm2s_stack.report.evaluation.beside import events_of, regions_of, simulated_detector
from fm2s_stack.simulate import Simulation, write_simulation

Kind = Literal["movie", "stack", "image"]
Source = Literal["simulated", "folder", "data"]

#: What the data's names say of the microscope; others are the simulations of SRDTrans.
PRESETS = {"Confocal": "confocal", "TwoPhoton": "twophoton", "WideField": "widefield"}

# Nobody tunes on these: seeds that no test and no example uses.
SIMULATED = {
    "sim/photons-3": Simulation(photons=3, gain=100, seed=90001),
    "sim/photons-10-8hz": Simulation(photons=10, frame_interval=1 / 8, correlation=0.2, seed=90002),
    "sim/photons-25": Simulation(photons=25, touching=6, seed=90003),
    "sim/photons-25-correlated": Simulation(photons=25, correlation=0.27, seed=90004),
    "sim/photons-60-int16": Simulation(
        photons=60, dtype="int16", gain=90, read_noise=60, correlation=0.1, touching=6, seed=90005
    ),
    "sim/photons-200": Simulation(photons=200, gain=12, read_noise=10, seed=90006),
    "sim/motion-3px": Simulation(photons=8, motion=3, correlation=0.15, seed=90007),
    "sim/bleaching-60": Simulation(photons=25, bleaching=0.6, correlation=0.35, seed=90008),
    "sim/z-stack": Simulation(photons=20, frames=1, slices=24, correlation=0.2, seed=90009),
}
QUICK = ("sim/photons-25-correlated", "sim/motion-3px", "sim/z-stack")  #: to try the program


@dataclass(frozen=True)
class Recording:
    """A noisy recording and its truth, as files."""

    name: str  #: in tables
    source: Source  #: where it is from
    noisy: Path  #: anything that `open_stack` opens
    truth: Path  #: the same, of the same shape
    preset: str  #: the published one that is meant for it
    simulation: Simulation | None = None  #: its settings, where it is one of ours

    @cached_property
    def frames(self) -> Frames:
        """Its pixels, and what is known of its cells; kept in memory."""
        return load(self)

    @property
    def kind(self) -> Kind:
        """A movie, a z-stack, or a single image."""
        return self.frames.kind

    @property
    def identity(self) -> str:
        """What its pixels follow from."""
        if self.simulation is not None:
            return json.dumps(asdict(self.simulation))
        files = (path.stat() for path in (self.noisy, self.truth))
        return f"{self.noisy.resolve()} {[(file.st_size, file.st_mtime_ns) for file in files]}"


@dataclass(frozen=True, eq=False)
class Frames:
    """A recording in memory."""

    kind: Kind  #: what its first axis is: time, depth, or nothing
    noisy: NDArray[np.generic]  #: shape (frames or slices, y, x)
    truth: NDArray[np.float32]  #: of the same shape, in the same grey levels
    dark: float | None  #: grey level without light, where it is known
    labels: NDArray[np.integer] | None = None  #: regions of a movie, shape (y, x)
    events: tuple[Event, ...] | None = None  #: of its cells, where these are known


def simulated(folder: Path, *, quick: bool = False) -> Iterator[Recording]:
    """The simulated recordings; they are written once `written` is called."""
    for name, settings in SIMULATED.items():
        if not quick or name in QUICK:
            made = smaller(settings) if quick else settings
            key = hashlib.sha256(json.dumps(asdict(made)).encode()).hexdigest()[:16]
            place = folder / f"{name.replace('/', '-')}-{key}"
            yield Recording(
                name, "simulated", place / "movie.tif", place / "movie_truth.tif", "srdtrans", made
            )


def smaller(settings: Simulation) -> Simulation:
    """A few frames of a small field, to try the program."""
    frames, slices = min(settings.frames, 40), min(settings.slices, 6)
    return replace(settings, frames=frames, slices=slices, height=64, width=64, touching=0)


def written(recording: Recording) -> Recording:
    """A recording whose files stand: a simulated one that is missing is made."""
    if recording.simulation is not None and not recording.noisy.exists():
        write_simulation(recording.noisy.parent, recording.simulation, overwrite=True)
    return recording


def in_folder(folder: Path) -> list[Recording]:
    """The movies ``NAME.tif`` of a folder whose truth is ``NAME_truth.tif``.

    Raises
    ------
    UsageError
        If there are none, or one has no truth or one that does not fit.
    StackError
        If a file cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"--folder {folder}: there is no such folder")
    aside = ("_truth.tif", "_regions.tif")
    movies = [path for path in sorted(folder.glob("*.tif")) if not path.name.endswith(aside)]
    if not movies:
        raise UsageError(f"--folder {folder}: no movies there, expected NAME.tif, NAME_truth.tif")
    found = [_beside(folder, path) for path in movies]
    for recording in found:  # what does not fit is an error now, not after all others
        opened(recording)
    return found


def _beside(folder: Path, noisy: Path) -> Recording:
    stem = noisy.name.removesuffix(".tif")
    truth = noisy.with_name(f"{stem}_truth.tif")
    if not truth.is_file():
        raise UsageError(f"{noisy}: no {truth.name} beside it, expected its truth")
    return Recording(f"{folder.resolve().name}/{stem}", "folder", noisy, truth, "srdtrans")


def pairs(data: Path) -> list[Recording]:
    """The pairs of images of the data folder; none where there is no such folder."""
    found = []
    for noisy in (
        *sorted(data.glob("fmd/noisy/*.png")),
        *sorted(data.glob("srdtrans/noisy/*.png")),
    ):
        group = noisy.parents[1]
        alone, matching = group / "truth.png", group / "truth" / noisy.name
        preset = PRESETS.get(noisy.name.split("_")[0], "srdtrans")
        truth = alone if alone.is_file() else matching
        found.append(Recording(f"{group.name}/{noisy.stem}", "data", noisy, truth, preset))
    return found


def load(recording: Recording) -> Frames:
    """A recording's pixels, the regions and events of a movie's cells."""
    noisy, truth = opened(recording)
    t, _, z, rows, columns = noisy.array.shape
    shape = (t * z, rows, columns)
    kind: Kind = "movie" if t > 1 else "stack" if z > 1 else "image"
    frames = Frames(
        kind,
        np.asarray(noisy.array).reshape(shape),
        np.asarray(truth.array).reshape(shape).astype(np.float32),
        simulated_detector(truth).dark,
    )
    return with_cells(recording, frames) if kind == "movie" else frames


def opened(recording: Recording) -> tuple[Stack, Stack]:
    """The noisy recording and its truth; no pixels are read.

    Raises
    ------
    UsageError
        If there are several channels or both frames and slices, or the truth does not fit.
    StackError
        If a file cannot be read.
    """
    noisy, truth = open_stack(recording.noisy), open_stack(recording.truth)
    t, c, z = noisy.array.shape[:3]
    if c > 1 or (t > 1 and z > 1):
        raise UsageError(
            f"{recording.noisy}: {t} frames of {c} channels of {z} slices, expected one channel, "
            "and frames or slices"
        )
    if truth.array.shape != noisy.array.shape:
        raise UsageError(
            f"{recording.truth}: shape {_by(truth.array.shape)} (t, c, z, y, x), expected that of "
            f"{recording.noisy.name}, {_by(noisy.array.shape)}"
        )
    return noisy, truth


def with_cells(recording: Recording, frames: Frames) -> Frames:
    """With regions and events: given beside the truth, or else found in it."""
    variance = frames.truth.var(axis=0, dtype=np.float64)
    shape = (frames.truth.shape[1], frames.truth.shape[2])
    found = regions_of(None, recording.truth, shape, variance)
    if found is None:
        return frames
    events, _ = events_of(None, recording.truth, len(frames.truth), found.labels)
    return replace(frames, labels=found.labels, events=events)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
