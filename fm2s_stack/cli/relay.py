"""Handing the options of ``denoise`` on: what `batch` and `slurm` share.

The options are declared once, with ``denoise``; a command made by `Relaying` takes them all
and gives them on as they were typed, so that nothing is turned into a value and back.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from fm2s_stack.errors import UsageError

_TYPED = "fm2s_stack.typed"
#: what makes no sense for many runs, or is decided for them
NOT_RELAYED = frozenset(
    {"overwrite", "prepare", "units", "stop_after", "dry_run", "quiet", "as_json"}
)


class Relaying(click.Command):
    """A command that keeps the words it was called with."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as ever, and remember."""
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)


def relayed_options(left_out: Collection[str] = NOT_RELAYED) -> list[click.Option]:
    """Options of ``denoise``, without those named."""
    from fm2s_stack.cli.denoise import command

    return [
        param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in left_out
    ]


def with_relayed_options(
    left_out: Collection[str] = NOT_RELAYED,
) -> Callable[[click.Command], click.Command]:
    """A decorator that puts the options of ``denoise`` before a command's own."""

    def decorate(command: click.Command) -> click.Command:
        own = {param.name for param in command.params}
        relayed = [param for param in relayed_options(left_out) if param.name not in own]
        arguments = [param for param in command.params if isinstance(param, click.Argument)]
        rest = [param for param in command.params if param not in arguments]
        command.params = [*arguments, *relayed, *rest]
        return command

    return decorate


def relayed_words(context: click.Context, left_out: Collection[str] = NOT_RELAYED) -> list[str]:
    """The options of ``denoise`` among the words typed, as ``--option=value``, paths absolute.

    They are joined by ``=`` because a value such as ``-10:`` would read as an option.
    """
    typed, *_ = context.command.make_parser(context).parse_args(list(context.meta[_TYPED]))
    words = []
    for option in relayed_options(left_out):
        if option.name not in typed:
            continue
        given = typed[option.name]
        name = max(option.opts, key=len)
        if option.is_flag:
            words.append(name)
            continue
        values = given if isinstance(given, list) else [given]
        words += [f"{name}={_absolute_value(option, value)}" for value in values]
    return words


def absolute_input(given: str) -> str:
    """A path, or a pattern of paths, that means the same from any folder.

    Raises
    ------
    UsageError
        If it is empty.
    """
    if not given:  # of an unset variable
        raise UsageError("INPUT is empty: name a file, a folder, a quoted glob or a list")
    if Path(given).exists() or not glob.has_magic(given):
        return str(Path(given).absolute())
    if Path(given).is_absolute():
        return given
    return str(Path(glob.escape(str(Path.cwd()))) / given)


def refuse_overwrite(asked: bool) -> None:
    """Refuse ``--overwrite``: each time it is run again it would start anew.

    Raises
    ------
    UsageError
        If it was asked for.
    """
    if asked:
        raise UsageError(
            "--overwrite: what is run again to continue would start anew each time; remove the "
            "output first, or overwrite it with fm2s-stack denoise --overwrite"
        )


def denoise_words(options: Sequence[str], source: str, output: Path, *more: str) -> list[str]:
    """The words of ``denoise`` for one recording."""
    return ["denoise", *options, *more, "--", source, str(output)]


def _absolute_value(option: click.Option, value: Any) -> str:  # noqa: ANN401
    text = str(value)
    is_path = isinstance(option.type, click.Path)
    if is_path or (option.name == "preset" and text.endswith(".toml")):
        return str(Path(text).absolute())
    return text
