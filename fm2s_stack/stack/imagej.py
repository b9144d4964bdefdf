"""What the header of an ImageJ stack says: dimensions, calibration, and pages without directory.

ImageJ writes ``key=value`` lines into the ImageDescription of the first page (ij.io.FileSaver,
``getDescriptionString``). Stacks over 4 GB have one page directory, and their planes follow each
other in the file.
"""

from __future__ import annotations

import math

from fm2s_stack.image import Scale
from fm2s_stack.stack.axes import micrometres, seconds
from fm2s_stack.stack.page_table import PageTable

_CENTIMETRE = 3  # TIFF ResolutionUnit
_ORDERS = {"czt": "tzc", "ctz": "ztc", "zct": "tcz", "ztc": "ctz", "tcz": "zct", "tzc": "czt"}
_KEYS = {"t": "frames", "z": "slices", "c": "channels"}


def is_imagej(description: str) -> bool:
    """Whether this is the description of an ImageJ file."""
    return description.startswith("ImageJ=")


def header(description: str) -> dict[str, str]:
    """The ``key=value`` lines."""
    pairs = (line.partition("=") for line in description.splitlines())
    return {key.strip(): value.strip() for key, found, value in pairs if found}


def dimensions(description: str) -> tuple[str, tuple[int, ...]]:
    """Page axes of the stack, the slowest first, and their lengths; only those above one."""
    said = header(description)
    order = _ORDERS.get(said.get("order", "").lower(), "tzc")
    lengths = [(axis, _count(said.get(_KEYS[axis]))) for axis in order]
    axes = [(axis, length) for axis, length in lengths if length > 1]
    return "".join(axis for axis, _ in axes), tuple(length for _, length in axes)


def promised_pages(description: str) -> int:
    """Pages the header says there are; 1 if it does not say."""
    _, lengths = dimensions(description)
    return math.prod(lengths) if lengths else _count(header(description).get("images"))


def notes(description: str) -> tuple[str, ...]:
    """What a reader should be told about the header."""
    said = header(description)
    axes, lengths = dimensions(description)
    if axes != "z" or "spacing" in said or said.get("hyperstack") == "true":
        return ()
    return (
        f"ImageJ names the pages of any plain stack slices: taken as {lengths[0]} slices "
        "(--axes TYX if they are frames)",
    )


def scale(table: PageTable) -> Scale:
    """Pixel size, slice distance (micrometres) and frame interval (seconds), where given.

    The resolution tags count pixels per `unit` of the header; without one, they are the dots per
    inch of some printer.
    """
    said = header(table.description)
    unit = said.get("unit", "")
    per_x, per_y, tag = table.resolution
    # Micro-Manager writes unit=um beside a resolution per centimetre.
    per = "cm" if tag == _CENTIMETRE and micrometres(1, unit) else unit
    interval = seconds(said.get("finterval"), said.get("tunit", "s"))
    if interval is None and _positive(said.get("fps")):
        interval = 1 / _positive(said.get("fps"))
    return Scale(
        z=micrometres(said.get("spacing"), unit),
        y=micrometres(1 / per_y, per) if per_y else None,
        x=micrometres(1 / per_x, per) if per_x else None,
        t=interval,
    )


def _count(text: str | None) -> int:
    return max(1, int(text)) if text and text.isdecimal() and len(text) < 12 else 1


def _positive(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0
