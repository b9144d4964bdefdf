"""The table of units in a sealed output: what each wrote, with sizes and checksums.

One row a unit as JSON, together in the uint8 array ``fm2s_stack/units``: viewers read the
attributes of a group whole, and the table of a long movie would slow every one of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.store.side import GROUP, load_side, store_side

NAME = "units"


def write_units(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Store the table, in place of one that a seal cut short has left.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    folder = Path(path) / GROUP / NAME
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be replaced: {error}") from error
    text = json.dumps(list(rows), separators=(",", ":"))
    store_side(path, NAME, np.frombuffer(text.encode(), dtype=np.uint8))


def read_units(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a sealed output's table.

    Raises
    ------
    OutputError
        If it is missing or damaged.
    """
    content = load_side(path, NAME).tobytes()
    try:
        rows = json.loads(content)
    except ValueError as error:
        raise OutputError(f"{path}: {GROUP}/{NAME} is damaged: {error}") from error
    return [dict(row) for row in rows]
