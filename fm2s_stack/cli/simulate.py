"""``fm2s-stack simulate``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from fm2s_stack.cli.show import Show


@click.command(name="simulate")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Frames of the movie.  [default: 300, or 1 of a z-stack]",
)
@click.option(
    "--slices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Above 1, a z-stack of as many slices in place of a movie.",
)
@click.option(
    "--slice-spacing",
    type=float,
    default=2.0,
    show_default=True,
    help="Micrometres from slice to slice.",
)
@click.option(
    "--scattering",
    type=float,
    default=150.0,
    show_default=True,
    help="Micrometres of depth over which the light of a z-stack falls to 1/e.",
)
@click.option("--size", default="256", show_default=True, help="Side, or rows x columns: 256x512.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="What every random stream is derived from.",
)
@click.option(
    "--photons",
    type=float,
    default=25.0,
    show_default=True,
    help="Photons a frame in the brightest cell at its brightest.",
)
@click.option(
    "--read-noise",
    type=float,
    default=20.0,
    show_default=True,
    help="Standard deviation of the noise of darkness, grey levels.",
)
@click.option(
    "--correlation",
    type=float,
    default=0.0,
    show_default=True,
    help="Correlation of the noise of neighbours in a row, -0.5 to 0.5; columns have none.",
)
@click.option(
    "--saturation",
    type=int,
    help="Grey level at which the detector clips, 4095 of 12 bits; the truth is not clipped.",
)
@click.option(
    "--bleaching",
    type=float,
    default=0.0,
    show_default=True,
    help="Part of the light lost from the first to the last frame, 0 to below 1.",
)
@click.option(
    "--motion",
    type=float,
    default=0.0,
    show_default=True,
    help="Largest displacement of the field from rest, pixels: slow drift and bouts of jerks.",
)
@click.option(
    "--touching",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Pairs of cells whose outlines touch, active independently.",
)
@click.option(
    "--dtype",
    type=click.Choice(["uint16", "int16", "uint8"]),
    default="uint16",
    show_default=True,
    help="Pixel type of the noisy movie.",
)
@click.option("--overwrite", is_flag=True, help="Replace files of an earlier simulation.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    output: Path,
    frames: int | None,
    slices: int,
    size: str,
    overwrite: bool,
    quiet: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Make a two-photon calcium movie or z-stack with its truth and true traces.

    OUTPUT is a .tif file, or a folder to put movie.tif in. Beside it stand NAME_truth.tif;
    NAME_traces.csv, the true dF/F of each cell, of which bleaching is no part; NAME_cells.csv,
    where the cells are at rest; NAME_regions.tif, their labels: i + 1 inside cell i; and
    NAME_motion.csv, by how many rows and columns each frame is displaced.

    \b
    fm2s-stack simulate movie.tif --frames 300 --size 256
    fm2s-stack simulate moving.tif --motion 3 --bleaching 0.5 --touching 4
    fm2s-stack simulate depth.tif --slices 20 --slice-spacing 3
    """  # noqa: D301 - click wants the character
    from fm2s_stack.simulate import Simulation, write_simulation

    rows, columns = _rows_and_columns(size)
    simulation = Simulation(
        frames=frames or (1 if slices > 1 else 300), slices=slices,
        height=rows, width=columns, **settings,
    )  # fmt: skip
    show = None if quiet else Show()
    if show:
        show.start("simulate", simulation.planes, "slices" if slices > 1 else "frames")
    files = write_simulation(
        output, simulation, overwrite=overwrite,
        progress=(lambda done: show.advance(1)) if show else None,
    )  # fmt: skip
    if show:
        show.finish()
        show.note(", ".join(str(file) for file in vars(files).values()))


def _rows_and_columns(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", size)
    if match is None or "0" in (match[1], match[2]):
        raise click.BadParameter(
            f"{size!r} is neither a side nor ROWSxCOLUMNS", param_hint="--size"
        )
    return int(match[1]), int(match[2] or match[1])
