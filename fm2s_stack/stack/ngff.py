"""The metadata of OME-Zarr 0.4 and 0.5 groups (NGFF specification, "multiscales")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fm2s_stack.errors import Fm2sError, StackUnreadable, UsageError
from fm2s_stack.image import Scale
from fm2s_stack.stack.axes import micrometres, seconds
from fm2s_stack.stack.reader import one_line

VERSIONS = ("0.4", "0.5")


@dataclass(frozen=True)
class Multiscale:
    """What a group says of one image."""

    version: str  #: NGFF version as written, for example ``"0.4-dev-spatialdata"``
    axes: str  #: letters of ``tczyx`` in stored order
    level0: str  #: path of the full-resolution array in the group
    scale: Scale  #: physical step along each axis
    channels: tuple[str, ...]  #: omero labels; empty if there are none
    notes: tuple[str, ...] = ()  #: what was ignored


def refuse_others(folder: Path, ome: Mapping[str, Any]) -> None:
    """Refuse groups that hold images rather than being one, naming an image inside.

    Raises
    ------
    StackUnreadable
        For a plate, a well, a bioformats2raw collection, labels, or a bare group.
    """
    if "multiscales" in ome and "image-label" not in ome:
        return
    inside = _image_inside(folder, ome)
    what = next((text for key, text in _OTHERS.items() if key in ome), "a zarr group, no image")
    advice = f"open an image inside, such as {folder / inside}" if inside else "open an image"
    raise StackUnreadable(f"{folder}: {what}; {advice}")


_OTHERS = {
    "plate": "a plate of many images",
    "well": "a well with several fields",
    "bioformats2raw.layout": "a collection of images (bioformats2raw)",
    "labels": "a group of label images",
    "image-label": "a label image: object numbers, not intensities",
}


def _image_inside(folder: Path, ome: Mapping[str, Any]) -> str | None:
    try:
        if "plate" in ome:
            return f"{ome['plate']['wells'][0]['path']}/0"
        if "well" in ome:
            return str(ome["well"]["images"][0]["path"])
    except (KeyError, IndexError, TypeError):
        return None
    if "labels" in ome or "image-label" in ome:
        return None
    children = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != "OME")
    return children[0] if children else None


def parse_multiscale(folder: Path, ome: Mapping[str, Any], series: int | None) -> Multiscale:
    """The image that the group describes.

    Parameters
    ----------
    folder
        Of the group, for messages.
    ome
        Its attributes, those under ``"ome"`` for version 0.5.
    series
        Which of several multiscales, from 0; None: the first, said aloud.

    Raises
    ------
    StackUnreadable
        If the metadata is damaged, of another version, or names a path outside the group.
    UsageError
        If `series` is not one of its multiscales.
    """
    try:
        chosen, several = _chosen(folder, ome["multiscales"], series)
        version = str(ome.get("version") or chosen.get("version") or VERSIONS[0])
        if not version.startswith(VERSIONS):
            raise StackUnreadable(
                f"{folder}: OME-Zarr {version!r}, expected 0.4 or 0.5; convert it first"
            )
        level = chosen["datasets"][0]
        axes = _axes(folder, chosen["axes"])
        scale, notes = _scale(folder, axes, chosen, level)
        path = _inside(folder, level["path"])
        return Multiscale(version, axes, path, scale, _channels(ome), several + notes)
    except Fm2sError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise StackUnreadable(
            f"{folder}: the multiscales metadata is damaged ({type(error).__name__}: "
            f"{one_line(error)}); restore it, or open the level-0 array with --axes"
        ) from error


def _chosen(
    folder: Path, multiscales: Sequence[Any], series: int | None
) -> tuple[Any, tuple[str, ...]]:
    """The multiscale asked for; of several, the first is the specification's fallback."""
    count = len(multiscales)
    if series is not None and not 0 <= series < count:
        raise UsageError(f"--series {series}: {folder} has {count} series; give 0 to {count - 1}")
    if series is None and count > 1:
        note = f"{folder}: holds {count} series: taking the first (--series 0 to {count - 1})"
        return multiscales[0], (note,)
    return multiscales[series or 0], ()


def _axes(folder: Path, described: Sequence[Mapping[str, Any]]) -> str:
    """One letter an axis: its name where that is one, else by its type, space being zyx."""
    space = iter("zyx"[-sum(a.get("type") == "space" for a in described) :])
    by_type = {"time": "t", "channel": "c"}
    letters = ""
    for axis in described:
        name = str(axis["name"]).lower()
        spatial = next(space, "?") if axis.get("type") == "space" else "?"
        letters += name if name in tuple("tczyx") else by_type.get(axis.get("type", ""), spatial)
    if "?" in letters or len(set(letters)) != len(letters) or not set("yx") <= set(letters):
        names = ", ".join(str(axis["name"]) for axis in described)
        raise StackUnreadable(
            f"{folder}: axes {names}, expected each of t, c, z, y, x at most once, with y and x"
        )
    return letters


def _scale(
    folder: Path, axes: str, chosen: Mapping[str, Any], level: Mapping[str, Any]
) -> tuple[Scale, tuple[str, ...]]:
    """Steps of level 0: its own scale times that of the whole multiscale."""
    factors, notes = [1.0] * len(axes), _translations(folder, chosen, level)
    for transform in [
        *(level.get("coordinateTransformations") or ()),
        *(chosen.get("coordinateTransformations") or ()),
    ]:
        values = transform.get("scale") if transform.get("type") == "scale" else None
        if values is not None and len(values) != len(axes):
            notes.append(f"{folder}: ignored a scale of {len(values)} numbers for axes {axes}")
        elif values is not None:
            factors = [f * float(v) for f, v in zip(factors, values, strict=True)]
    steps: dict[str, float | None] = {}
    for letter, axis, factor in zip(axes, chosen["axes"], factors, strict=True):
        if letter != "c":
            convert = seconds if letter == "t" else micrometres
            steps[letter] = convert(factor, axis.get("unit"))
            if steps[letter] is None and factor != 1:
                unit = axis.get("unit") or "none"
                notes.append(f"{folder}: ignored the scale {factor:g} of {letter} (unit: {unit})")
    return Scale(**steps), tuple(notes)


def _translations(folder: Path, chosen: Mapping[str, Any], level: Mapping[str, Any]) -> list[str]:
    """Notes on where the image lies, which outputs do not say; a shift by nothing is none."""
    notes = []
    for holder in (level, chosen):
        for transform in holder.get("coordinateTransformations") or ():
            shift = transform.get("translation", transform.get("path"))
            moves = any(shift) if isinstance(shift, list) else bool(shift)
            if transform.get("type") == "translation" and moves:
                notes.append(f"{folder}: its translation {shift} is not carried over")
    return notes


def _channels(ome: Mapping[str, Any]) -> tuple[str, ...]:
    omero = ome.get("omero")
    described = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(described, list) or not all(isinstance(c, dict) for c in described):
        return ()
    labels = [c.get("label") for c in described]
    if all(label is None for label in labels):
        return ()
    return tuple(str(i) if label is None else str(label) for i, label in enumerate(labels))


def _inside(folder: Path, path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or ":" in path:
        raise StackUnreadable(f"{folder}: its metadata names {path!r}, a path out of the folder")
    return path
