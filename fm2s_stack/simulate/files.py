"""A simulated recording on disk: noisy, truth, true traces, cells, regions and motion."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fm2s_stack.errors import OutputError, OutputExists, UsageError
from fm2s_stack.simulate.motion import displacement
from fm2s_stack.simulate.movie import delta_f_over_f, noisy_frame, truth_frame
from fm2s_stack.simulate.regions import cell_regions, label_type
from fm2s_stack.simulate.settings import Simulation
from fm2s_stack.simulate.volume import all_cells

Progress = Callable[[int], None]

# Number of the cell, its centre at rest, its mean radius, the number of the pair of touching
# cells that it belongs to or -1, and the slice of its centre: below 0 for one above the first.
CELL_COLUMNS = ("cell", "y_px", "x_px", "radius_px", "pair", "z_slice")

CLASSIC_TIFF_LIMIT = 2**32 - 2**25  # bytes; offsets are 32-bit, and the pages need some


@dataclass(frozen=True)
class SimulationFiles:
    """The files of one simulated movie or z-stack, beside each other."""

    movie: Path  #: noisy recording, OME-TIFF, TYX or ZYX
    truth: Path  #: expectation of every pixel in grey levels, unclipped, OME-TIFF, float32
    traces: Path  #: CSV: frame, time in seconds, true dF/F of every cell
    cells: Path  #: CSV, a row for each cell: see `CELL_COLUMNS`
    regions: Path  #: labels of the pixels inside each cell at rest, OME-TIFF, YX or ZYX, uint16
    motion: Path  #: CSV: frame, time in seconds, dy and dx from rest in pixels

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
    """Write a simulated movie or z-stack with its truth, an image at a time.

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
        Called with the number of frames or slices done, after each.

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
            _write_traces(partial.traces, simulation)
            _write_times(partial.motion, simulation, ["dy_px", "dx_px"], displacement)
            _write_images(partial, simulation, progress)
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


def _write_images(
    files: SimulationFiles, simulation: Simulation, progress: Progress | None
) -> None:
    axes, regions_axes = ("ZYX", "ZYX") if simulation.slices > 1 else ("TYX", "YX")
    labels = label_type(simulation)
    recorded = np.dtype(simulation.dtype)
    _write_tiff(files.regions, simulation, regions_axes, cell_regions, labels)
    _write_tiff(files.truth, simulation, axes, truth_frame, np.dtype("float32"))
    _write_tiff(files.movie, simulation, axes, noisy_frame, recorded, progress)


def _write_tiff(
    path: Path,
    simulation: Simulation,
    axes: str,
    plane: Callable[[Simulation, int], np.ndarray],
    dtype: np.dtype,
    progress: Progress | None = None,
) -> None:
    import tifffile

    sizes = {"T": simulation.frames, "Z": simulation.slices}
    sizes |= {"Y": simulation.height, "X": simulation.width}
    shape = tuple(sizes[axis] for axis in axes)
    big = math.prod(shape) * dtype.itemsize > CLASSIC_TIFF_LIMIT
    with tifffile.TiffWriter(path, bigtiff=big, ome=True) as tiff:
        tiff.write(
            _counted((plane(simulation, i) for i in range(math.prod(shape[:-2]))), progress),
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            metadata=_ome(simulation, axes),
        )


def _ome(simulation: Simulation, axes: str) -> dict[str, object]:
    pixel = simulation.pixel_size
    scale = {"X": pixel, "Y": pixel, "Z": simulation.slice_spacing}
    time = {"TimeIncrement": simulation.frame_interval, "TimeIncrementUnit": "s"}
    return {
        "axes": axes,
        **{f"PhysicalSize{axis}": size for axis, size in scale.items() if axis in axes},
        **{f"PhysicalSize{axis}Unit": "µm" for axis in scale if axis in axes},
        **(time if "T" in axes else {}),
        "Description": "fm2s-stack simulation " + json.dumps(asdict(simulation)),
    }


def _counted(frames: Iterable[np.ndarray], progress: Progress | None) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, start=1):
        yield frame
        if progress is not None:
            progress(done)


def _write_traces(path: Path, simulation: Simulation) -> None:
    header = [f"cell_{i}" for i in range(len(all_cells(simulation)))]
    _write_times(path, simulation, header, delta_f_over_f)


def _write_times(
    path: Path,
    simulation: Simulation,
    header: list[str],
    values: Callable[[Simulation, int], np.ndarray],
) -> None:
    """A row of `values` for each frame, its number and time ahead."""
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(["frame", "time_s", *header])
        for frame in range(simulation.frames):
            time = frame * simulation.frame_interval
            row = values(simulation, frame)
            table.writerow([frame, f"{time:.6f}", *(f"{value:.6f}" for value in row)])


def _write_cells(path: Path, simulation: Simulation) -> None:
    cells = all_cells(simulation)
    with path.open("w", newline="", encoding="ascii") as file:
        table = csv.writer(file)
        table.writerow(CELL_COLUMNS)
        for i in range(len(cells)):
            place = (f"{value[i]:.3f}" for value in (cells.y, cells.x, cells.radius))
            table.writerow([i, *place, cells.pair[i], f"{cells.z[i]:.3f}"])
