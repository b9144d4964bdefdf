"""Saying something on stderr, whoever listens."""

from __future__ import annotations

import os
import sys

import click


def say(text: str, *, end: bool = True) -> None:
    """Write to stderr; a reader that is gone, or a full disk behind it, ends no run.

    Parameters
    ----------
    text
        What to say.
    end
        Whether to end the line.
    """
    try:
        click.echo(text, err=True, nl=end)
    except OSError:
        # What is left in its buffer would fail again when the interpreter ends:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
