"""``fm2s-stack preview``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fm2s_stack.cli.options import INPUT_OPTIONS, add_options, open_input
from fm2s_stack.cli.show import Show
from fm2s_stack.settings import DEFAULT_SEED, RunSettings

if TYPE_CHECKING:
    from fm2s_stack.preview import Preview, Setting
    from fm2s_stack.stack.base import Stack

OPTIONS = (
    click.option("-c", "--preset", "names", metavar="PRESET", multiple=True,
                 help="A setting to try: auto, a noise preset, or a .toml file; give it again "
                 "for more, up to 6  [default: auto and srdtrans]"),
    click.option("-o", "--output", metavar="FILE.png",
                 type=click.Path(dir_okay=False, path_type=Path),
                 help="The picture  [default: NAME_preview.png, here]"),
    click.option("--frame", type=click.IntRange(min=0), metavar="N",
                 help="Frame, or slice of a z-stack, to show, from 0  [default: the middle]"),
    click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True,
                 help="What every random stream is derived from."),
    click.option("--nan", type=click.Choice(["refuse", "keep"]), default="refuse",
                 show_default=True,
                 help="NaN: refuse them, or leave them and constant padding unchanged."),
    click.option("--device", default="auto", show_default=True, metavar="DEVICE",
                 help="auto (a GPU, else the CPU), cpu, cuda or cuda:N."),
    click.option("--threads", type=click.IntRange(min=1),
                 help="Planes computed at a time on the CPU  [default: the cores given to us]"),
    click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)  # fmt: skip


@click.command(name="preview")
@click.argument("source", metavar="INPUT")
@add_options(OPTIONS + INPUT_OPTIONS)
def command(source: str, names: tuple[str, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Try settings on a few frames of INPUT, and draw what each makes of one of them.

    Of a movie of any length 96 frames are read, and a window in which there is most to see. Of
    several channels the first one is tried; --channel names another.

    \b
    fm2s-stack preview movie.tif
    fm2s-stack preview movie.tif -c auto -c srdtrans -c mine.toml -o look.png
    """  # noqa: D301 - click wants the character
    own = ("output", "frame", "seed", "nan", "device", "threads", "overwrite", "quiet")
    own_options = {name: options.pop(name) for name in own}
    path = own_options["output"] or default_path(source)
    settings = _settings(names, own_options)  # before the work, like all that can be refused
    from fm2s_stack.report.drawing import require_png
    from fm2s_stack.report.preview_picture import preview_png

    require_png(path, overwrite=own_options["overwrite"])
    stack = open_input(source, **options)
    show = None if own_options["quiet"] else Show()
    if show is not None:
        for note in stack.notes:
            show.note(note)
    found = _preview(stack, settings, own_options, show)
    preview_png(path, found, overwrite=own_options["overwrite"])
    if as_json:
        click.echo(json.dumps(describe_preview(found, path), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(preview_lines(found, path)))


def default_path(source: str) -> Path:
    """``NAME_preview.png`` in the folder we are in."""
    name = Path(source).name.removesuffix(Path(source).suffix).removesuffix(".ome")
    # Of a glob, the characters that no file name should have go.
    plain = "".join(letter for letter in name if letter not in '*?[]<>:"|')
    return Path(f"{plain or 'recording'}_preview.png")


def _settings(names: tuple[str, ...], own: dict[str, Any]) -> tuple[Setting, ...]:
    from fm2s_stack.errors import UsageError
    from fm2s_stack.preview import MOST_SETTINGS, find_setting

    if len(names) > MOST_SETTINGS or len(set(names)) < len(names):
        raise UsageError(f"-c: expected up to {MOST_SETTINGS} settings, each once")
    return tuple(find_setting(name, own["seed"], own["nan"]) for name in names)


def _preview(
    stack: Stack, settings: tuple[Setting, ...], own: dict[str, Any], show: Show | None
) -> Preview:
    from fm2s_stack.preview import default_settings, preview_stack

    settings = settings or default_settings(own["seed"], own["nan"])
    run = RunSettings(device=own["device"], threads=own["threads"])
    return preview_stack(stack, settings, frame=own["frame"], run=run, progress=show)


def preview_lines(found: Preview, path: Path) -> list[str]:
    """A preview in words."""
    from fm2s_stack.report.preview_picture import caption

    width = max(len(one.name) for one in found.tried)
    chosen, part, *notes = caption(found)
    place = ", ".join(filter(None, [Path(found.path).name, found.channel, found.part.place]))
    return [
        f"{place}: {part[0].lower()}{part[1:]}",
        *(f"{one.name:<{width}}  {one.trust}" for one in found.tried),
        *notes,
        chosen,
        f"picture: {path}",
    ]


def describe_preview(found: Preview, path: Path) -> dict[str, Any]:
    """A preview as JSON holds it."""
    from fm2s_stack.metrics import doubts_of
    from fm2s_stack.store.provenance import jsonable

    part = found.part
    told = {
        "input": found.path,
        "picture": str(path),
        "channel": part.stack.channel_indices[0],
        "along": part.along,
        "shown": part.numbers[part.shown],
        "planes": list(part.numbers),
        "rows": part.rows,
        "columns": part.columns,
        "settings": [
            {
                "name": one.name,
                "chosen": one is found.chosen,
                "error_beyond_best": one.excess,
                "seconds": round(one.seconds, 2),
                "trust": one.trust,
                "doubts": doubts_of(one.measures),
                "measures": asdict(one.measures),
            }
            for one in found.tried
        ],
        "chosen": None if found.chosen is None else found.chosen.name,
        "reason": found.reason,
        "notes": list(found.notes),
    }
    described = jsonable(told)
    assert isinstance(described, dict)
    return {**described, "input": found.path, "picture": str(path)}
