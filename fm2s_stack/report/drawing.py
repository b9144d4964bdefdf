"""Pieces of a picture: grey panels, scale bars, captions, traces. Sizes in pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fm2s_stack.errors import OutputError, OutputExists, UsageError

Box = tuple[int, int, int, int]  # left, top, right, bottom
Float = NDArray[np.float64]

INK, FAINT, PAPER = "#22262b", "#9aa1a9", "#ffffff"
COLOURS = {"raw": "#a9afb8", "denoised": "#0b63ad", "truth": "#e07b00"}
SMOOTH = 3  # traces are drawn this much larger: PIL draws lines without antialiasing


@dataclass(frozen=True)
class Contrast:
    """The grey levels shown as black and as white."""

    low: float  #: shown black
    high: float  #: shown white, above `low`

    @classmethod
    def of(cls, plane: Float) -> Contrast:
        """From the 0.3 to the 99.8 percentile."""
        low, high = (float(v) for v in np.percentile(plane, (0.3, 99.8)))
        return cls(low, high if high > low else low + 1)

    def grey(self, plane: Float) -> NDArray[np.uint8]:
        """The plane in 8 bit, clipped."""
        part = (plane - self.low) / (self.high - self.low)
        return np.rint(255 * np.clip(part, 0, 1)).astype(np.uint8)


def panel(plane: Float, contrast: Contrast, size: tuple[int, int]) -> Image.Image:
    """A plane in grey, enlarged without blurring its pixels or reduced without aliasing."""
    method = Image.Resampling.NEAREST if size[0] >= plane.shape[1] else Image.Resampling.LANCZOS
    return Image.fromarray(contrast.grey(plane)).resize(size, method).convert("RGB")


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    size: int = 17,
    colour: str = INK,
    anchor: str = "ls",
) -> None:
    """Words at a point; `anchor` as in Pillow (``ls``: left end of the baseline)."""
    draw.text(at, words, fill=colour, font=font(size), anchor=anchor)


def scale_bar(draw: ImageDraw.ImageDraw, corner: tuple[int, int], length: int, label: str) -> None:
    """A white bar with its length written above, ending near the lower right corner."""
    right, bottom = corner[0] - 16, corner[1] - 16
    draw.rectangle((right - length - 1, bottom - 6, right + 1, bottom + 1), fill="black")
    draw.rectangle((right - length, bottom - 5, right, bottom), fill="white")
    middle = (right - length / 2, bottom - 12)
    draw.text(middle, label, "white", font(16), "ms", stroke_width=2, stroke_fill="black")


def round_length(longest: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    # The half is for a logarithm rounded up to a whole number.
    return float(max(step * power for step in (0.5, 1, 2, 5) if step * power <= longest))


def plain(number: float) -> str:
    """A round number without trailing zeros or exponent."""
    return f"{number:.10f}".rstrip("0").rstrip(".")


def traces(canvas: Image.Image, box: Box, lines: Mapping[str, Float], mark: float) -> None:
    """Curves on one scale, with the grey levels at its ends and a mark at one time.

    Parameters
    ----------
    canvas
        What is drawn on.
    box
        Where, the curves filling it; the grey levels stand to its left.
    lines
        Values over time by name, drawn in order, coloured by `COLOURS`; equally long.
    mark
        Time to mark, from 0 (left) to 1 (right).
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    low = min(float(line.min()) for line in lines.values())
    high = max(float(line.max()) for line in lines.values())
    high = high if high > low else low + 1
    large = Image.new("RGB", (width * SMOOTH, height * SMOOTH), PAPER)
    draw = ImageDraw.Draw(large)
    draw.line([(mark * large.width, 0), (mark * large.width, large.height)], "#d5d9de", SMOOTH)
    for name, line in lines.items():
        x = np.linspace(0, large.width - 1, len(line))
        y = (high - line) / (high - low) * (large.height - 4 * SMOOTH) + 2 * SMOOTH
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        draw.line(points, COLOURS[name], SMOOTH * (1 if name == "raw" else 2), joint="curve")
    canvas.paste(large.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    ink = ImageDraw.Draw(canvas)
    ink.line([(left - 6, top), (left - 6, bottom)], FAINT, 1)
    text(ink, (left - 12, top), f"{high:.4g}", 14, FAINT, "rt")
    text(ink, (left - 12, bottom), f"{low:.4g}", 14, FAINT, "rs")


def require_free(path: str | Path, *, overwrite: bool) -> Path:
    """The path of a picture to write.

    Raises
    ------
    OutputExists
        If something is there and `overwrite` is not set.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} exists already: overwrite it or choose another name")
    return target


def save_png(picture: Image.Image, target: Path) -> None:
    """Write a picture, which appears when it is complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            picture.save(partial, format="PNG", optimize=True)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot write the picture: {error}") from error


def require_png(path: str | Path, *, overwrite: bool) -> Path:
    """The path of a PNG to write.

    Raises
    ------
    UsageError
        If it is another file's.
    OutputExists
        If something is there and `overwrite` is not set.
    """
    target = require_free(path, overwrite=overwrite)
    if target.suffix.lower() != ".png":
        raise UsageError(f"{target}: the picture is a .png file")
    return target
