"""Numbers in file names: natural order, and the first number that is missing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fm2s_stack.errors import StackTruncated

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorting key that puts ``frame2`` before ``frame10``."""
    parts = _DIGITS.split(name)
    return tuple(int(p) if i % 2 else p for i, p in enumerate(parts)), name


def refuse_gaps(names: Sequence[str], given: str) -> None:
    """Refuse files whose numbering leaves a number out.

    Files are numbered by the number in their name that differs in every one of them (of
    several, such as an index and a clock time, the one with the smallest range). Where none
    does, as in ``t1_z1 t1_z2 t2_z1 t2_z2``, it is the last that varies, beside the others.
    The numbering may start anywhere and goes up in ones; names without numbers have none.

    Parameters
    ----------
    names
        File names, with their suffixes.
    given
        What the user named, for the message.

    Raises
    ------
    StackTruncated
        Naming the first number that is missing and the file before it.
    """
    alike: dict[tuple[str, ...], list[tuple[tuple[int, ...], str]]] = defaultdict(list)
    for name in names:
        parts = _DIGITS.split(name)
        alike[tuple(parts[::2])].append((tuple(map(int, parts[1::2])), name))
    for numbered in alike.values():
        for series in _series(numbered):
            _refuse_gap(series, given)


def _series(numbered: Sequence[tuple[tuple[int, ...], str]]) -> Iterable[dict[int, str]]:
    """File by number, for each run of files that one number counts."""
    rows = [numbers for numbers, _ in numbered]
    columns = list(zip(*rows, strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    counting = [i for i in varying if len(set(columns[i])) == len(rows)]
    if not varying:
        return []
    if counting:
        best = min(reversed(counting), key=lambda i: max(columns[i]) - min(columns[i]))
        return [{numbers[best]: name for numbers, name in numbered}]
    last, beside = varying[-1], defaultdict[tuple[int, ...], dict[int, str]](dict)
    for numbers, name in numbered:
        beside[numbers[:last] + numbers[last + 1 :]][numbers[last]] = name
    return beside.values()


def _refuse_gap(files: dict[int, str], given: str) -> None:
    numbers = sorted(files)
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return
    before = next(n for n in numbers if n + 1 not in files)
    raise StackTruncated(
        f"{given}: number {before + 1} is missing after {Path(files[before]).name} "
        f"({len(numbers)} files are numbered {numbers[0]} to {numbers[-1]}); restore the file, "
        "or name the files in a .txt list to take them as they are"
    )
