"""Reading the provenance back from an exported OME-TIFF or PNG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fm2s_stack.store.document import KEY

_SUFFIXES = (".tif", ".tiff", ".png")


def exported_attributes(path: str | Path) -> dict[str, Any] | None:
    """The attribute ``fm2s_stack`` that `export_tiff` or `export_png` put into a file.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    dict or None
        The keys of `provenance.KEYS` but ``units``; None if the file is no export of ours.
    """
    file = Path(path)
    if file.suffix.lower() not in _SUFFIXES or not file.is_file():
        return None
    text = _png_text(file) if file.suffix.lower() == ".png" else _tiff_text(file)
    try:
        told = json.loads(text or "null")
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _png_text(file: Path) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            return picture.info.get(KEY)
    except (OSError, SyntaxError, UnidentifiedImageError):
        return None


def _tiff_text(file: Path) -> str | None:
    from tifffile import TiffFile

    try:
        with TiffFile(file) as tif:
            xml = tif.pages.first.description if tif.is_ome else ""
        root = ElementTree.fromstring(xml) if KEY in xml else ElementTree.Element("OME")
    except Exception:  # tifffile fails in every way on damaged files, struct.error among them
        return None
    return root.findtext(f".//{{*}}M[@K='{KEY}']")


def is_whole_png(path: str | Path) -> bool:
    """Whether every chunk of a PNG has its own checksum, and the last one ends the file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    from PIL import Image

    end = b"\0\0\0\0IEND\xaeB`\x82"  # PNG specification, 11.2.5, with its length and CRC
    file = Path(path)
    if not file.read_bytes().endswith(end):
        return False
    try:
        with Image.open(file) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
