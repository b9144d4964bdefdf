"""What an output keeps of the recording as a whole: arrays of its subgroup ``fm2s_stack``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fm2s_stack.store.side import load_side, store_side


def write_study(path: str | Path, c: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Make the arrays of a channel.

    Parameters
    ----------
    path
        The output.
    c
        Channel of the output.
    arrays
        By the names they are asked for again.

    Raises
    ------
    OutputError
        If they are there already, or cannot be written.
    """
    for name, array in arrays.items():
        store_side(path, f"{name}_{c}", array)


def read_study(path: str | Path, c: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays of a channel by their names.

    Raises
    ------
    OutputError
        If one is missing or damaged.
    """
    return {name: load_side(path, f"{name}_{c}") for name in names}
