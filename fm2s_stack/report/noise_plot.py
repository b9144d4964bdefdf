"""A picture of a noise measurement: variance against level, and the correlation in space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from fm2s_stack.noise_model import NoiseModel
from fm2s_stack.report import drawing
from fm2s_stack.report.axes import Axes, draw_axes, draw_line

WIDTH, ROW = 1100, 470  #: of the picture, and its height for each measurement; pixels
PLOT = (120, 100, 640, 390)  #: left, top, right, bottom of the variances, pixels
CELL = 44  #: side of a square of the correlation, pixels
KERNEL = (740, 84)  #: left and top of the correlation, pixels
CURVE = 60  #: points of the line
LINE, DOT = drawing.COLOURS["denoised"], drawing.COLOURS["truth"]


def noise_png(
    path: str | Path, models: Mapping[str, NoiseModel], *, overwrite: bool = False
) -> Path:
    """Write a PNG of noise measurements, one below the other.

    On the left the variance around some grey levels with the line through them, on the right the
    autocorrelation of the noise.

    Parameters
    ----------
    path
        The PNG to write; it appears when it is complete.
    models
        What was measured, by title.
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
    canvas = Image.new("RGB", (WIDTH, ROW * len(models)), drawing.PAPER)
    for row, (title, model) in enumerate(models.items()):
        _draw_model(canvas, title, model, ROW * row)
    drawing.save_png(canvas, target)
    return target


def _draw_model(canvas: Image.Image, title: str, model: NoiseModel, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    drawing.text(draw, (40, top + 44), f"Noise of {title}", 24)
    where = f"{model.frames} frames, {model.method}"
    drawing.text(draw, (WIDTH - 40, top + 44), where, 15, drawing.FAINT, "rs")
    _draw_variances(canvas, model, top)
    _draw_correlation(draw, model, top)


def _draw_variances(canvas: Image.Image, model: NoiseModel, top: int) -> None:
    axes = _axes(model, top)
    draw = ImageDraw.Draw(canvas)
    draw_axes(draw, axes, "grey level", "variance, grey levels squared")
    levels = np.linspace(*axes.x, CURVE)
    line = list(zip(levels.tolist(), model.variance(levels).tolist(), strict=True))
    draw_line(canvas, axes, line, LINE, 2)
    for level, variance, error in model.points:
        x, y = axes.at(level, variance)
        _, low = axes.at(level, max(variance - error, axes.y[0]))
        _, high = axes.at(level, min(variance + error, axes.y[1]))
        draw.line([(x, low), (x, high)], DOT, 1)
        draw.circle((x, y), 4, DOT)
    words = f"gain {model.gain:.4g}, intercept {model.intercept:.4g}"
    drawing.text(draw, (axes.box[0] + 14, axes.box[1] + 16), words, 15, LINE)


def _axes(model: NoiseModel, top: int) -> Axes:
    levels = [*model.level_range, *(point.level for point in model.points)]
    low, high = min(levels), max(levels)
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - room, high + room
    most = max([float(model.variance(high)), *(p.variance + p.error for p in model.points)])
    left, upper, right, lower = PLOT
    return Axes((left, top + upper, right, top + lower), (low, high), (0.0, 1.1 * most))


def _draw_correlation(draw: ImageDraw.ImageDraw, model: NoiseModel, top: int) -> None:
    whole = model.whole_autocorrelation
    left, upper = KERNEL[0], top + KERNEL[1]
    drawing.text(draw, (left, upper - 12), "correlation with the pixels around", 15)
    for (row, column), value in np.ndenumerate(whole):
        x, y = left + column * CELL, upper + row * CELL
        draw.rectangle((x, y, x + CELL - 2, y + CELL - 2), _shade(value))
        ink = drawing.PAPER if abs(value) > 0.6 else drawing.INK
        words = f"{round(value, 2) + 0.0:.2f}"
        drawing.text(draw, (x + CELL / 2 - 1, y + CELL / 2 - 1), words, 13, ink, "mm")
    below = upper + len(whole) * CELL + 22
    drawing.text(draw, (left, below), f"± {model.correlation_error:.2g}", 15, drawing.FAINT)


def _shade(correlation: float) -> tuple[int, int, int]:
    """White at 0, to the colour of the line at 1 and of the dots at -1."""
    full = ImageColor.getrgb(LINE if correlation > 0 else DOT)[:3]
    # The root shows small correlations.
    part = float(np.sqrt(min(abs(correlation), 1.0)))
    red, green, blue = (round(255 + part * (colour - 255)) for colour in full)
    return red, green, blue
