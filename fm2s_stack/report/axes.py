"""A pair of axes in a picture: where values fall, and the ticks beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fm2s_stack.report import drawing


@dataclass(frozen=True)
class Axes:
    """A plot's place in a picture and the values at its edges."""

    box: drawing.Box  #: left, top, right, bottom, pixels
    x: tuple[float, float]  #: values at the left and right edge
    y: tuple[float, float]  #: values at the lower and upper edge

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a value falls in the picture, pixels."""
        left, top, right, bottom = self.box
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)


def draw_axes(draw: ImageDraw.ImageDraw, axes: Axes, x_name: str, y_name: str) -> None:
    """The lower and left edge with ticks at round values, and their names."""
    left, top, right, bottom = axes.box
    draw.line([(left, top), (left, bottom), (right, bottom)], drawing.FAINT, 1)
    for value in ticks(*axes.x):
        x, _ = axes.at(value, axes.y[0])
        draw.line([(x, bottom), (x, bottom + 5)], drawing.FAINT, 1)
        drawing.text(draw, (x, bottom + 20), f"{value:.10g}", 13, drawing.FAINT, "ms")
    for value in ticks(*axes.y):
        _, y = axes.at(axes.x[0], value)
        draw.line([(left - 5, y), (left, y)], drawing.FAINT, 1)
        drawing.text(draw, (left - 9, y), f"{value:.10g}", 13, drawing.FAINT, "rm")
    drawing.text(draw, (right, bottom + 42), x_name, 15, drawing.INK, "rs")
    drawing.text(draw, (left, top - 12), y_name, 15)


def draw_line(
    canvas: Image.Image, axes: Axes, points: list[tuple[float, float]], colour: str, width: int
) -> None:
    """A smooth line through values, as wide as `width` pixels."""
    left, top, right, bottom = axes.box
    smooth = drawing.SMOOTH
    size = ((right - left) * smooth, (bottom - top) * smooth)
    mask = Image.new("L", size, 0)
    places = [axes.at(*point) for point in points]
    inner = [((x - left) * smooth, (y - top) * smooth) for x, y in places]
    ImageDraw.Draw(mask).line(inner, 255, width * smooth, joint="curve")
    small = mask.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    canvas.paste(colour, (left, top), small)


def ticks(low: float, high: float) -> list[float]:
    """Round values from `low` to `high`, about five of them."""
    step = drawing.round_length((high - low) / 3)
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor((high - first * step) / step + 1e-9)) + 1
    # Adding 0 takes the sign from a -0.0.
    return [float((first + i) * step) + 0.0 for i in range(count)]
