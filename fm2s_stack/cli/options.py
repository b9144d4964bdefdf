"""Options that several commands share, and what they mean for the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fm2s_stack.cli.values import Breaks, Range
from fm2s_stack.errors import UsageError

if TYPE_CHECKING:
    from fm2s_stack.stack.base import Stack

#: parameters of `open_input` that those options are
INPUT_NAMES = (
    "axes", "series", "channels", "frames", "slices", "breaks", "exclude_frames", "cache_dir",
)  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

INPUT_OPTIONS = (
    click.option("--axes", metavar="AXES", help="Axes of the stored array, such as TYX."),
    click.option("--series", type=click.IntRange(min=0), help="Series of a file with several."),
    click.option(
        "--channel", "channels", metavar="C", multiple=True,
        help="Channel to keep, by number from 0 or by name; give it again for more.",
    ),
    click.option("--frames", type=Range(), help="Frames to keep, from 0, end not included."),
    click.option("--slices", type=Range(), help="Slices to keep, from 0, end not included."),
    click.option("--breaks", type=Breaks(), metavar="T,T,...",
                 help="First frames of trials, from 0 in the whole recording: no neighbours across "
                 "them. With presets, which have none, it needs --on-bad-frame."),
    click.option("--exclude-frames", type=click.Path(dir_okay=False, path_type=Path),
                 metavar="FILE",
                 help="Frames that stay as they are and are measured nowhere, as of a shutter: "
                 "numbers, or ranges such as 500:510, from 0 in the whole recording."),
    click.option(
        "--cache-dir", type=click.Path(file_okay=False, path_type=Path),
        help="Folder of page tables  [default: the user's cache folder]",
    ),
)  # fmt: skip


def add_options(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """A decorator that adds options in the order given."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def open_input(
    path: str,
    *,
    axes: str | None,
    series: int | None,
    channels: tuple[str, ...],
    frames: tuple[int | None, int | None] | None,
    slices: tuple[int | None, int | None] | None,
    breaks: tuple[int, ...] | None,
    exclude_frames: Path | None,
    cache_dir: Path | None,
) -> Stack:
    """Open what the input options describe."""
    if not path:  # of an unset variable; as a path it would be the folder we are in
        raise UsageError("INPUT is empty: name a file, a folder, a quoted glob or a list")
    from fm2s_stack.stack.open import open_stack

    return open_stack(
        path, axes=axes, series=series, channel=channels, frames=frames, slices=slices,
        breaks=breaks or (), exclude_frames=exclude_frames or (), cache_dir=cache_dir,
    )  # fmt: skip
