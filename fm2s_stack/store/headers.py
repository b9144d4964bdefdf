"""What an output keeps of its source as it was: frame times and raw metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fm2s_stack.errors import OutputError
from fm2s_stack.store.provenance import redact_text
from fm2s_stack.store.side import GROUP, load_side, side_group, store_side


def write_timestamps(path: str | Path, seconds: Sequence[float]) -> None:
    """Store the time of every frame, seconds, float64."""
    store_side(path, "timestamps", np.asarray(seconds, dtype=np.float64))


def read_timestamps(path: str | Path) -> tuple[float, ...] | None:
    """Time of every frame, seconds, or None where they were not recorded."""
    if not (Path(path) / GROUP / "timestamps").is_dir():
        return None
    return tuple(load_side(path, "timestamps").tolist())


def write_headers(path: str | Path, headers: Mapping[str, str]) -> None:
    """Store the raw metadata of the source as UTF-8 bytes, home folders removed.

    Names may hold anything: the arrays are numbered, and the attribute ``names`` of the
    group ``headers`` lists what each is.
    """
    names = [redact_text(name) for name in headers]
    try:
        side_group(path).create_group("headers", attributes={"names": names})
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: headers cannot be written: {error}") from error
    for number, text in enumerate(headers.values()):
        content = redact_text(text).encode("utf-8", "surrogateescape")
        store_side(path, f"headers/{number}", np.frombuffer(content, dtype=np.uint8))


def read_headers(path: str | Path) -> dict[str, str]:
    """Raw metadata of the source by name; empty where there is none."""
    import zarr

    folder = Path(path) / GROUP / "headers"
    if not folder.is_dir():
        return {}
    names: Any = zarr.open_group(str(folder), mode="r").attrs["names"]
    texts = (load_side(path, f"headers/{number}") for number in range(len(names)))
    return {
        name: text.tobytes().decode("utf-8", "surrogateescape")
        for name, text in zip(names, texts, strict=True)
    }
