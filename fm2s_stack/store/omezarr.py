"""The output: an OME-Zarr 0.4 or 0.5 image, created once and written unit by unit.

NGFF: https://ngff.openmicroscopy.org/0.5/ (zarr 3, sharded) and /0.4/ (zarr 2, unsharded).
The levels are the arrays ``s0``, ``s1``, ... over the axes that the source really had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from fm2s_stack.errors import OutputError, OutputExists
from fm2s_stack.image import CANONICAL_AXES, Image
from fm2s_stack.plan import Level, Unit
from fm2s_stack.settings import OmeZarrVersion
from fm2s_stack.store.attributes import output_status
from fm2s_stack.store.boxes import (
    KEY_ENCODING,
    Span,
    ZarrFormat,
    compressors,
    file_keys,
    unlink_keys,
    write_box,
)
from fm2s_stack.store.document import KEY
from fm2s_stack.store.headers import write_timestamps
from fm2s_stack.store.ngff import write_metadata
from fm2s_stack.store.provenance import SCHEMA_VERSION, jsonable
from fm2s_stack.store.pyramid import downsample

if TYPE_CHECKING:
    import zarr

_T = TypeVar("_T")


@dataclass(frozen=True)
class OutputLayout:
    """Where an output is and how it is cut into files. Holds nothing open; pickles."""

    path: str  #: folder of the output
    image: Image  #: axes, shape, scale and dtype of the output
    levels: tuple[Level, ...]  #: level 0 and the pyramid
    version: OmeZarrVersion = "0.5"  #: NGFF version

    @property
    def zarr_format(self) -> ZarrFormat:
        """Version of the zarr format that the NGFF version is stored in."""
        return 3 if self.version == "0.5" else 2

    def create(self, attributes: Mapping[str, object]) -> None:
        """Make the group, the empty arrays and the metadata; status ``incomplete``.

        Our attribute is there from the first moment, so that a creation cut short is known
        as ours.

        Parameters
        ----------
        attributes
            Further keys of the attribute ``fm2s_stack``, for example `describe_job`'s.

        Raises
        ------
        OutputExists
            If anything but an empty folder stands at the path.
        OutputError
            If it cannot be written.
        """
        import zarr

        if output_status(self.path) not in ("absent", "empty"):
            raise OutputExists(
                f"{self.path} exists: give another name, or --overwrite to replace it"
            )
        ours = {"schema_version": SCHEMA_VERSION, **attributes, "status": "incomplete"}
        try:
            group = zarr.create_group(
                self.path, zarr_format=self.zarr_format, attributes={KEY: jsonable(ours)}
            )
            for number, level in enumerate(self.levels):
                self._create_array(group, f"s{number}", level)
            factors = [level.factor for level in self.levels]
            write_metadata(group, Path(self.path).stem, self.image, factors)
            if self.image.timestamps is not None:
                write_timestamps(self.path, self.image.timestamps)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be created: {error}") from error

    def keys(self, unit: Unit) -> tuple[str, ...]:
        """Store keys of the files that a unit owns, level by level, without touching the disk.

        Raises
        ------
        OutputError
            If the unit does not own whole files.
        """
        keys: list[str] = []
        for number, level in enumerate(self.levels):
            box, shape = self._drop(level_box(unit, level)), self._drop(level.shape)
            file = self._drop(level.shard or level.chunk)
            keys += file_keys(f"s{number}", box, shape, file, self.zarr_format)
        return tuple(keys)

    def remove(self, unit: Unit) -> None:
        """Remove the files of a unit, where they are there."""
        unlink_keys(self.path, self.keys(unit))

    def write(self, unit: Unit, planes: NDArray[np.generic]) -> tuple[str, ...]:
        """Write a unit: its box of level 0 and its part of every level of the pyramid.

        One write of whole files a level, old files removed first. May be called from several
        threads and processes at a time for different units. Nothing is flushed to the disk;
        `fm2s_stack.store.files.sync_file` does that.

        Parameters
        ----------
        unit
            Whose box it is.
        planes
            Pixels, axes tczyx, shape ``unit.shape``, dtype of the output.

        Returns
        -------
        tuple of str
            Keys of the files written, as `keys` gives them; each exists now.

        Raises
        ------
        OutputError
            If shape, dtype or box do not fit the arrays, or they cannot be written.
        """
        if planes.shape != unit.shape:
            raise OutputError(f"unit {unit.index} is {unit.shape}, its pixels are {planes.shape}")
        images = [planes, *downsample(planes, [level.factor for level in self.levels[1:]])]
        keys: list[str] = []
        for number, (level, pixels) in enumerate(zip(self.levels, images, strict=True)):
            box = self._drop(level_box(unit, level))
            pixels = pixels.reshape([stop - start for start, stop in box])
            keys += write_box(self.path, f"s{number}", box, pixels)
        return tuple(keys)

    def _drop(self, values: Sequence[_T]) -> tuple[_T, ...]:
        return tuple(values[CANONICAL_AXES.index(axis)] for axis in self.image.axes)

    def _create_array(self, group: zarr.Group, name: str, level: Level) -> None:
        if level.shard is not None and self.zarr_format == 2:
            raise OutputError(f"{self.path}: OME-Zarr 0.4 has no shards; plan chunks only")
        group.create_array(
            name,
            shape=self._drop(level.shape),
            dtype=self.image.dtype,
            chunks=self._drop(level.chunk),
            shards=self._drop(level.shard) if level.shard else None,
            compressors=compressors(self.zarr_format),
            fill_value=0,
            dimension_names=list(self.image.axes) if self.zarr_format == 3 else None,
            chunk_key_encoding=KEY_ENCODING[self.zarr_format],
        )


def level_box(unit: Unit, level: Level) -> tuple[Span, ...]:
    """Start and stop along tczyx of the part of a level that a unit writes."""
    boxes = (unit.t, (unit.c, unit.c + 1), unit.z, unit.y, unit.x)
    pairs = zip(boxes, level.factor, strict=True)
    return tuple((start // n, -(-stop // n)) for (start, stop), n in pairs)
