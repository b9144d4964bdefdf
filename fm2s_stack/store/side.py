"""The subgroup ``fm2s_stack`` of an output: zarr arrays beside the pixels, never pickles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError
from fm2s_stack.store.boxes import KEY_ENCODING, ZarrFormat, compressors, write_box

if TYPE_CHECKING:
    import zarr

GROUP = "fm2s_stack"


def side_group(path: str | Path) -> zarr.Group:
    """The group, made where it is not there.

    Raises
    ------
    OutputError
        If there is no output at the path, or it cannot be written.
    """
    import zarr

    try:
        return zarr.open_group(str(path), mode="r+").require_group(GROUP)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be opened as an output: {error}") from error


def create_side(
    path: str | Path,
    name: str,
    shape: Sequence[int],
    chunk: Sequence[int],
    dtype: np.dtype,
    *,
    plain: bool = False,
) -> None:
    """Make an empty array: NaN for floats, else zero; `plain`: its files hold the bytes as such.

    Raises
    ------
    OutputError
        If it is there already, or cannot be written.
    """
    group = side_group(path)
    version: ZarrFormat = 2 if group.metadata.zarr_format == 2 else 3
    try:
        group.create_array(
            name,
            shape=tuple(shape),
            chunks=tuple(max(1, n) for n in chunk),
            dtype=dtype,
            compressors=None if plain else compressors(version),
            chunk_key_encoding=KEY_ENCODING[version],
            fill_value=np.nan if np.issubdtype(dtype, np.floating) else 0,
        )
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {GROUP}/{name} cannot be created: {error}") from error


def store_side(
    path: str | Path, name: str, values: NDArray[np.generic], *, plain: bool = False
) -> None:
    """Make an array of one chunk with these values."""
    create_side(path, name, values.shape, values.shape, values.dtype, plain=plain)
    if values.size:
        write_box(path, f"{GROUP}/{name}", [(0, n) for n in values.shape], values)


def load_side(path: str | Path, name: str) -> NDArray:
    """Values of an array.

    Raises
    ------
    OutputError
        If it is missing or damaged.
    """
    import zarr

    with reading_side(path, name) as place:
        return np.asarray(zarr.open_array(place, mode="r")[...])


@contextmanager
def reading_side(path: str | Path, name: str) -> Iterator[str]:
    """Give the folder of an array; what zarr raises there becomes ours."""
    place = f"{GROUP}/{name}"
    try:
        yield str(Path(path) / place)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise OutputError(f"{path}: {place} is missing or damaged: {error}") from error
