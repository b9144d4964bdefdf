"""Axis letters of a stored array, and lengths and times in whatever unit a file gives them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fm2s_stack.errors import UsageError
from fm2s_stack.image import CANONICAL_AXES

if TYPE_CHECKING:
    import dask.array as da

# Both signs for micro are in use: U+00B5 in OME-XML, U+03BC in what people type.
_MICROMETRES = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("micrometers", "micrometres", r"\u00b5m"), 1.0),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "\u212b", "angstrom", "angstroms", "ångström"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 1e4),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1e6),
    **dict.fromkeys(("in", "inch", "inches"), 25400.0),
}
_SECONDS = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("µs", "μs", "us", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}


def parse_axes(text: str, ndim: int, path: str) -> str:
    """Axes as the user gives them, one letter an axis of the stored array.

    Parameters
    ----------
    text
        Letters of ``tczyx`` in stored order, either case, such as ``"TZYX"``.
    ndim
        Number of axes the stored array has.
    path
        The input, for the message.

    Returns
    -------
    str
        The letters in lower case, in stored order, `ndim` of them.

    Raises
    ------
    UsageError
        If a letter is unknown or repeated, y or x is missing, or there are not `ndim` letters.
    """
    axes = text.strip().lower()
    if set(axes) - set(CANONICAL_AXES) or len(set(axes)) != len(axes) or not set("yx") <= set(axes):
        raise UsageError(
            f"--axes {text}: give each axis of {path} once, in stored order, of the letters "
            "t, c, z, y and x, with y and x among them (for example TYX)"
        )
    if len(axes) != ndim:
        raise UsageError(
            f"--axes {text}: {len(axes)} letters, but {path} has {ndim} axes; give one letter each"
        )
    return axes


def canonical_order(axes: str) -> str:
    """The letters of `axes` in the order of ``tczyx``."""
    return "".join(a for a in CANONICAL_AXES if a in axes)


def to_canonical(array: da.Array, axes: str) -> da.Array:
    """The array with the five axes ``tczyx``; those it lacks get length one.

    Parameters
    ----------
    array
        Any shape, one axis a letter of `axes`.
    axes
        Letters of ``tczyx`` in stored order, none repeated.
    """
    import dask.array as da

    ordered: da.Array = da.transpose(array, [axes.index(a) for a in canonical_order(axes)])
    five: da.Array = ordered[tuple(slice(None) if a in axes else None for a in CANONICAL_AXES)]
    return five


def micrometres(value: object, unit: str | None) -> float | None:
    """A length in micrometres; None if the unit is unknown or the value no positive number."""
    return _converted(value, unit, _MICROMETRES)


def seconds(value: object, unit: str | None) -> float | None:
    """A time in seconds; None if the unit is unknown or the value no positive number."""
    return _converted(value, unit, _SECONDS)


def _converted(value: object, unit: str | None, factors: dict[str, float]) -> float | None:
    factor = factors.get(str(unit or "").strip().lower())
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number * factor if factor and math.isfinite(number) and number > 0 else None
