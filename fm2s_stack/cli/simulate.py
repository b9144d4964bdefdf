"""``fm2s-stack simulate``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fm2s_stack.cli.show import Show


@click.command(name="simulate")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Frames of the movie.",
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
    help="Correlation of the noise of horizontal neighbours, -0.5 to 0.5.",
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
    frames: int,
    size: str,
    seed: int,
    photons: float,
    read_noise: float,
    correlation: float,
    dtype: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Make a two-photon calcium movie with its truth and true traces.

    OUTPUT is a .tif file, or a folder to put movie.tif in; NAME_truth.tif, NAME_traces.csv
    and NAME_cells.csv stand beside it.

    \b
    fm2s-stack simulate movie.tif --frames 300 --size 256
    """  # noqa: D301 - click wants the character
    from fm2s_stack.simulate import Simulation, write_simulation

    rows, columns = _rows_and_columns(size)
    simulation = Simulation(
        frames=frames, height=rows, width=columns, seed=seed, photons=photons,
        read_noise=read_noise, correlation=correlation, dtype=dtype,  # type: ignore[arg-type]
    )  # fmt: skip
    show = None if quiet else Show()
    if show:
        show.start("simulate", frames, "frames")
    files = write_simulation(
        output, simulation, overwrite=overwrite,
        progress=(lambda done: show.advance(1)) if show else None,
    )  # fmt: skip
    if show:
        show.finish()
        show.note(f"{files.movie}, {files.truth}, {files.traces}, {files.cells}")


def _rows_and_columns(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", size)
    if match is None or "0" in (match[1], match[2]):
        raise click.BadParameter(
            f"{size!r} is neither a side nor ROWSxCOLUMNS", param_hint="--size"
        )
    return int(match[1]), int(match[2] or match[1])
