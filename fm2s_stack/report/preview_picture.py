"""One picture of a preview: a frame as recorded and by each setting, and what was removed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fm2s_stack.metrics import doubts_of
from fm2s_stack.preview import Preview, Tried
from fm2s_stack.report import drawing

Float = NDArray[np.float64]

MARGIN, GAP = 40, 14
WIDEST, LEAST = 1900, 1240  #: of the picture, pixels
PANEL = 540  #: largest width of a panel, pixels
FRAME = "#ffd23f"  #: of the enlarged part
CHOSEN = drawing.COLOURS["denoised"]  #: of the name of the best setting
LINE = 22  #: height of a line of text, pixels
SPREAD = 3.0  #: deviations of the residual that are shown black and white
LETTER = 8.4  #: mean width of a letter of the captions, pixels


@dataclass(frozen=True)
class Layout:
    """Where things are in the picture, in pixels."""

    columns: int  #: panels side by side
    shape: tuple[int, int]  #: rows and columns of the plane
    zoom: tuple[int, int]  #: the same of the enlarged part

    @property
    def panel(self) -> int:
        """Width of every panel."""
        room = min(PANEL, (WIDEST - 2 * MARGIN - (self.columns - 1) * GAP) // self.columns)
        # Whole multiples keep every pixel a square of one size.
        even = room // self.shape[1] * self.shape[1]
        return even if even > 0.75 * room else room

    @property
    def width(self) -> int:
        """Of the picture."""
        return max(LEAST, self.left(self.columns) - GAP + MARGIN)

    def left(self, column: int) -> int:
        """Left edge of a column of panels."""
        return MARGIN + column * (self.panel + GAP)

    @property
    def whole(self) -> tuple[int, int]:
        """Width and height of the frame."""
        return self.panel, max(1, round(self.panel * self.shape[0] / self.shape[1]))

    @property
    def enlarged(self) -> tuple[int, int]:
        """Width and height of the enlarged part."""
        return self.panel, max(1, round(self.panel * self.zoom[0] / self.zoom[1]))

    @property
    def tops(self) -> tuple[int, int, int]:
        """Tops of the rows of frames, enlarged parts and residuals."""
        first = 116
        second = first + self.whole[1] + GAP
        return first, second, second + self.enlarged[1] + GAP

    @property
    def text_top(self) -> int:
        """Top of the measures below the panels."""
        return self.tops[2] + self.whole[1] + 12


def preview_png(path: str | Path, preview: Preview, *, overwrite: bool = False) -> Path:
    """Write a PNG of a preview.

    A column for the recording and for each setting: the frame at one contrast, a part of it
    enlarged, and what the setting removed, at a grey scale of its own around 0; below, the
    measures that need no truth, and which setting is chosen.

    Parameters
    ----------
    path
        The PNG to write; it appears when it is complete.
    preview
        What to draw.
    overwrite
        Replace a file that is there.

    Raises
    ------
    UsageError
        If the path is not that of a PNG.
    OutputExists
        If `path` exists and `overwrite` is not set.
    OutputError
        If it cannot be written.
    """
    target = drawing.require_png(path, overwrite=overwrite)
    drawing.save_png(compose(preview), target)
    return target


def compose(preview: Preview) -> Image.Image:
    """The picture of a preview."""
    rows, columns = preview.part.zoom
    zoom = (rows.stop - rows.start, columns.stop - columns.start)
    raw = preview.raw.astype(float)
    layout = Layout(1 + len(preview.tried), (raw.shape[0], raw.shape[1]), zoom)
    letters = int((layout.width - 2 * MARGIN) / LETTER)
    words = [line for text in caption(preview) for line in textwrap.wrap(text, letters)]
    measured = max(len(lines) for _, lines in map(measures, preview.tried))
    below = layout.text_top + (measured + 1) * LINE + 14
    height = below + len(words) * LINE + MARGIN
    canvas = Image.new("RGB", (layout.width, height), drawing.PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_title(draw, layout, preview)
    best = preview.chosen or preview.tried[0]
    contrast = drawing.Contrast.of(_shown(best.plane.astype(float)))
    scale = residual_scale(preview)
    _draw_column(canvas, layout, 0, "as recorded", raw, contrast, preview)
    for column, one in enumerate(preview.tried, 1):
        plane = one.plane.astype(float)
        name = f"{one.name} (chosen)" if one is preview.chosen else one.name
        _draw_column(canvas, layout, column, name, plane, contrast, preview)
        _draw_residual(canvas, layout, column, raw - plane, scale)
        _draw_measures(draw, layout, column, one)
    _draw_legend(canvas, layout, contrast, scale)
    for number, line in enumerate(words):
        drawing.text(draw, (MARGIN, below + (number + 1) * LINE), line, 16)
    return canvas


def residual_scale(preview: Preview) -> float:
    """Grey levels of the residual that are shown white, and with a minus black; above 0.

    One for all settings: three deviations of the largest residual.
    """
    left = (_shown((preview.raw - one.plane).astype(float)) for one in preview.tried)
    return SPREAD * max(float(residual.std()) for residual in left) or 1.0


def _shown(plane: Float) -> Float:
    """The pixels that are finite; 0 where none is."""
    finite = plane[np.isfinite(plane)]
    return finite if finite.size else np.zeros(1)


def caption(preview: Preview) -> list[str]:
    """What is said below the panels, a paragraph each."""
    part = preview.part
    (top, bottom), (left, right) = part.rows, part.columns
    planes = "frames" if part.along == "t" else "slices"
    looked = f"{len(part.numbers)} of {part.of} {planes}" if part.of > 1 else "the one plane"
    chosen = [preview.reason]
    if preview.chosen is not None and (doubts := doubts_of(preview.chosen.measures)):
        chosen.append(f"look at the residual: {' and '.join(doubts)}")
    return [
        f"{'; '.join(chosen)}.",
        f"A preview of a part: fitted shortly, and measured, on {looked}, rows {top} to "
        f"{bottom - 1}, columns {left} to {right - 1}. A run uses the whole recording.",
        *(f"Note: {note}." for note in preview.notes),
    ]


def measures(one: Tried) -> tuple[str, list[str]]:
    """Name of a setting, and what was measured of it, a line each."""
    found, lines = one.measures, []
    if found.noise is not None:
        noise = found.noise
        lines.append(f"noise {noise.raw:.3g} to {noise.result:.3g} ({-noise.reduction:.1f} dB)")
    if found.static is not None and found.static.lost is not None:
        lines.append(f"structure removed {100 * found.static.lost:.1f} %")
    dynamic = found.dynamic
    if dynamic is not None and dynamic.lost is not None and dynamic.error is not None:
        part, error = 100 * dynamic.lost, 100 * dynamic.error
        lines.append(f"changes removed {part:.1f} ± {error:.1f} %")
    lines.append(f"removed {found.removed:.3g}, excess correlation {found.whiteness.excess:.2f}")
    if one.excess is not None:
        lines.append(f"error beyond the best {one.excess:.3g}")
    return one.name, lines


def _draw_title(draw: ImageDraw.ImageDraw, layout: Layout, preview: Preview) -> None:
    part, right = preview.part, layout.width - MARGIN
    title = ", ".join(filter(None, [Path(preview.path).name, preview.channel, part.place]))
    drawing.text(draw, (MARGIN, 52), f"Preview of {title}", 26)
    if part.of > 1:
        where = f"of {part.of} {'frames' if part.along == 't' else 'slices'}"
        drawing.text(draw, (right, 52), where, 16, drawing.FAINT, "rs")


def _draw_column(
    canvas: Image.Image,
    layout: Layout,
    column: int,
    name: str,
    plane: Float,
    contrast: drawing.Contrast,
    preview: Preview,
) -> None:
    draw, left, (top, zoom_top, _) = ImageDraw.Draw(canvas), layout.left(column), layout.tops
    plane = np.where(np.isfinite(plane), plane, contrast.low)
    is_chosen = column > 0 and preview.tried[column - 1] is preview.chosen
    drawing.text(draw, (left, top - 12), name, 20, CHOSEN if is_chosen else drawing.INK)
    canvas.paste(drawing.panel(plane, contrast, layout.whole), (left, top))
    rows, columns = preview.part.zoom
    scale = layout.panel / plane.shape[1]
    corners = (columns.start, rows.start, columns.stop, rows.stop)
    x0, y0, x1, y1 = (corner * scale for corner in corners)
    draw.rectangle((left + x0, top + y0, left + x1 - 1, top + y1 - 1), outline=FRAME, width=2)
    enlarged = drawing.panel(plane[rows, columns], contrast, layout.enlarged)
    canvas.paste(enlarged, (left, zoom_top))
    wide, high = layout.enlarged
    box = (left, zoom_top, left + wide - 1, zoom_top + high - 1)
    draw.rectangle(box, outline=FRAME, width=2)


def _draw_residual(
    canvas: Image.Image, layout: Layout, column: int, residual: Float, scale: float
) -> None:
    around = drawing.Contrast(-scale, scale)
    filled = np.where(np.isfinite(residual), residual, 0)
    canvas.paste(drawing.panel(filled, around, layout.whole), (layout.left(column), layout.tops[2]))


def _draw_measures(draw: ImageDraw.ImageDraw, layout: Layout, column: int, one: Tried) -> None:
    _, lines = measures(one)
    for number, line in enumerate(lines, 1):
        at = (layout.left(column), layout.text_top + number * LINE)
        size = 15 if layout.panel > 280 else 12
        drawing.text(draw, at, line, size)


def _draw_legend(
    canvas: Image.Image, layout: Layout, contrast: drawing.Contrast, scale: float
) -> None:
    """What greys mean, in the place where the recording has no residual."""
    draw, left, top = ImageDraw.Draw(canvas), layout.left(0), layout.tops[2]
    shown = (
        ("frames, all alike", f"{contrast.low:.4g}", f"{contrast.high:.4g}"),
        ("what was removed: recorded minus result", f"{-scale:.4g}", f"{scale:.4g}"),
    )
    ramp = np.linspace(0, 1, layout.panel)[None]
    for number, (words, low, high) in enumerate(shown):
        y = top + 30 + number * 96
        size = 16 if layout.panel > 300 else 12
        drawing.text(draw, (left, y), words, size)
        strip = drawing.panel(ramp, drawing.Contrast(0, 1), (layout.panel, 20))
        canvas.paste(strip, (left, y + 10))
        draw.rectangle((left, y + 10, left + layout.panel - 1, y + 29), outline=drawing.FAINT)
        drawing.text(draw, (left, y + 50), low, 15)
        drawing.text(draw, (left + layout.panel, y + 50), high, 15, anchor="rs")
        middle = (left + layout.panel / 2, y + 50)
        drawing.text(draw, middle, "0" if number else "grey levels", 15, drawing.FAINT, "ms")
