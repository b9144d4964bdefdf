"""A simulated movie on disk: noisy movie, truth, traces, cells, regions and motion."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fm2s_stack.errors import OutputError, OutputExists, UsageError
from fm2s_stack.simulate.motion import displacement
from fm2s_stack.simulate.movie import delta_f_over_f, noisy_frame, truth_frame
from fm2s_stack.simulate.regions import cell_regions
from fm2s_stack.simulate.scene import scene
from fm2s_stack.simulate.settings import Simulation

Progress = Callable[[int], None]

CLASSIC_TIFF_LIMIT = 2**32 - 2**25  # bytes; offsets are 32-bit, and the pages need some


@dataclass(frozen=True)
class SimulationFiles:
    """The files of one simulated movie, beside each other."""

    movie: Path  #: noisy movie, OME-TIFF, TYX
    truth: Path  #: expectation of every pixel in grey levels, OME-TIFF, TYX, float32
    traces: Path  #: CSV: frame, time in seconds, true dF/F of every cell
    cells: Path  #: CSV: cell, row and column of its centre, mean radius, all in pixels
    regions: Path  #: labels of the pixels inside the cells at rest, OME-TIFF, YX, uint16
    motion: Path  #: CSV: frame, time in seconds, rows and columns it is displaced from rest

    @classmethod
    def at(cls, path: Path) -> SimulationFiles:
        """The names for a movie's path, or for a folder, where it is ``movie.tif``."""
        if path.suffix and not path.is_dir() and path.suffix not in (".tif", ".tiff"):
            raise UsageError(f"{path}: a simulated movie is a .tif file or a folder to put it in")
        movie = path if path.suffix and not path.is_dir() else path / "movie.tif"
        stem = movie.name.removesuffix(movie.suffix).removesuffix(".ome")
        return cls(
            movie=movie,
            truth=movie.with_name(f"{stem}_truth.tif"),
            traces=movie.with_name(f"{stem}_traces.csv"),
            cells=movie.with_name(f"{stem}_cells.csv"),
            regions=movie.with_name(f"{stem}_regions.tif"),
            motion=movie.with_name(f"{stem}_motion.csv"),
        )

    def __iter__(self) -> Iterator[Path]:
        # The movie last: where it stands, all stand.
        aside = (self.truth, self.traces, self.cells, self.regions, self.motion)
        return iter((*aside, self.movie))


def write_simulation(
    path: str | Path,
    simulation: Simulation,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SimulationFiles:
    """Write a simulated movie with its truth, a frame at a time.

    Every file is written under another name beside it and takes its own when all are
    complete, the movie last. TIFF is BigTIFF where it exceeds 4 GB.

    Parameters
    ----------
    path
        A ``.tif`` file, or a folder in which the movie is ``movie.tif``. Folders that are
        missing are made.
    simulation
        Settings; they are kept in the description of the movie.
    overwrite
        Replace files of an earlier simulation.
    progress
        Called with the number of frames done, after each.

    Returns
    -------
    SimulationFiles
        What was written.

    Raises
    ------
    UsageError
        If `path` names another kind of file.
    OutputExists
        If one of the files stands already and `overwrite` is not set.
    OutputError
        If a file cannot be written.
    """
    files = SimulationFiles.at(Path(path))
    standing = [file for file in files if file.exists()]
    if standing and not overwrite:
        raise OutputExists(f"{standing[0]} exists already: overwrite it or choose another name")
    try:
        files.movie.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(files) as partial:
            _write_cells(partial.cells, simulation)
            _write_regions(partial.regions, simulation)
            _write_traces(partial.traces, simulation)
            _write_motion(partial.motion, simulation)
            _write_tiff(partial.truth, simulation, truth_frame, np.dtype("float32"), None)
            _write_tiff(
                partial.movie, simulation, noisy_frame, np.dtype(simulation.dtype), progress
            )
    except OSError as error:
        raise OutputError(f"{files.movie}: cannot write the simulation: {error}") from error
    return files


@contextmanager
def _replacing(files: SimulationFiles) -> Iterator[SimulationFiles]:
    """Names to write to; their files take the place of `files` if all goes well."""
    partial = SimulationFiles(
        **{what: Path(f"{file}.partial") for what, file in vars(files).items()}
    )
    try:
        yield partial
        for written, file in zip(partial, files, strict=True):
            written.replace(file)
    finally:
        for leftover in partial:
            leftover.unlink(missing_ok=True)


def _write_tiff(
    path: Path,
    simulation: Simulation,
    frame: Callable[[Simulation, int], np.ndarray],
    dtype: np.dtype,
    progress: Progress | None,
) -> None:
    import tifffile

    shape = (simulation.frames, simulation.height, simulation.width)
    big = int(np.prod(shape)) * dtype.itemsize > CLASSIC_TIFF_LIMIT
    with tifffile.TiffWriter(path, bigtiff=big, ome=True) as tiff:
        tiff.write(
            _counted((frame(simulation, i) for i in range(simulation.frames)), progress),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            metadata=_ome(simulation),
        )


def _ome(simulation: Simulation) -> dict[str, object]:
    return {
        "axes": "TYX",
        "PhysicalSizeX": simulation.pixel_size,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": simulation.pixel_size,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": simulation.frame_interval,
        "TimeIncrementUnit": "s",
        "Description": "fm2s-stack simulation " + json.dumps(asdict(simulation)),
    }


def _counted(frames: Iterable[np.ndarray], progress: Progress | None) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, start=1):
        yield frame
        if progress is not None:
            progress(done)


def _write_traces(path: Path, simulation: Simulation) -> None:
    cells = len(scene(simulation).cells)
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(["frame", "time_s", *(f"cell_{i}" for i in range(cells))])
        for frame in range(simulation.frames):
            time = frame * simulation.frame_interval
            change = delta_f_over_f(simulation, frame)
            table.writerow([frame, f"{time:.6f}", *(f"{value:.6f}" for value in change)])


def _write_motion(path: Path, simulation: Simulation) -> None:
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(["frame", "time_s", "dy_px", "dx_px"])
        for frame in range(simulation.frames):
            time = frame * simulation.frame_interval
            by = displacement(simulation, frame)
            table.writerow([frame, f"{time:.6f}", *(f"{value:.6f}" for value in by)])


def _write_regions(path: Path, simulation: Simulation) -> None:
    import tifffile

    labels = cell_regions(simulation)
    ome = {key: value for key, value in _ome(simulation).items() if "Time" not in key}
    tifffile.imwrite(
        path, labels, ome=True, photometric="minisblack", metadata={**ome, "axes": "YX"}
    )


def _write_cells(path: Path, simulation: Simulation) -> None:
    cells = scene(simulation).cells
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(["cell", "y_px", "x_px", "radius_px"])
        for i, place in enumerate(zip(cells.y, cells.x, cells.radius, strict=True)):
            table.writerow([i, *(f"{value:.3f}" for value in place)])
