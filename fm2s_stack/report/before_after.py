"""One picture of what denoising did: a frame, an enlarged part, the traces of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics.sample import Recording
from fm2s_stack.report import drawing
from fm2s_stack.report.view import CELL_RADIUS, View, cell_traces, choose_view

Float = NDArray[np.float64]

MARGIN, GAP = 40, 16
PANEL = 480  # about the width of a panel
TRACE_HEIGHT, TRACE_GAP = 130, 44
AXIS = 60  # room for the grey levels left of the traces


@dataclass(frozen=True)
class Layout:
    """Where things are in the picture, in pixels."""

    columns: int  #: panels side by side
    panel: tuple[int, int]  #: width and height of a whole frame
    traces: bool  #: whether traces are drawn

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        width = 2 * MARGIN + self.columns * self.panel[0] + (self.columns - 1) * GAP
        return width, self.traces_top + (2 * (TRACE_HEIGHT + TRACE_GAP) + 50 if self.traces else 0)

    @property
    def frames_top(self) -> int:
        """Top of the row of whole frames."""
        return 112

    @property
    def zooms_top(self) -> int:
        """Top of the row of enlarged parts, squares as wide as a frame."""
        return self.frames_top + self.panel[1] + GAP

    @property
    def traces_top(self) -> int:
        """Top of what is below the panels."""
        return self.zooms_top + self.panel[0] + MARGIN

    def left(self, column: int) -> int:
        """Left edge of a column of panels."""
        return MARGIN + column * (self.panel[0] + GAP)


def before_after_png(
    path: str | Path,
    raw: Recording,
    denoised: Recording,
    truth: Recording | None = None,
    *,
    title: str = "Before and after",
    frame: int | None = None,
    pixel_size: float | None = None,
    frame_interval: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a PNG that compares a recording before and after denoising.

    One frame, raw and denoised (and true) at the same contrast; below, a part of it
    enlarged; below, for recordings, the traces of the pixel and the cell that brighten most.

    Parameters
    ----------
    path
        The PNG to write; it appears when it is complete.
    raw, denoised, truth
        Shape (t, y, x), or (y, x) for a single plane, in the same grey levels; numpy, zarr
        or Dask arrays, read a frame at a time.
    title
        Written on top.
    frame
        Which frame to show; None: the one in which the chosen cell is brightest.
    pixel_size
        Micrometres, for the scale bars; None: none is drawn.
    frame_interval
        Seconds, for the time axis; None: it counts frames.
    overwrite
        Replace what stands at `path`.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UsageError
        If shapes differ or `frame` is not there.
    OutputExists
        If `path` exists and `overwrite` is not set.
    OutputError
        If it cannot be written.
    """
    target = drawing.require_free(path, overwrite=overwrite)
    recordings = _named(raw, denoised, truth)
    view = choose_view(recordings["denoised"], frame)
    picture = _compose(recordings, view, title, pixel_size, frame_interval)
    drawing.save_png(picture, target)
    return target


def _named(raw: Recording, denoised: Recording, truth: Recording | None) -> dict[str, Recording]:
    given = {"raw": raw, "denoised": denoised} | ({} if truth is None else {"truth": truth})
    shapes = {name: tuple(array.shape) for name, array in given.items()}
    if len(set(shapes.values())) > 1 or len(raw.shape) not in (2, 3) or 0 in raw.shape:
        raise UsageError(f"before and after: shapes {shapes}; expected one shape, (t, y, x)")
    if len(raw.shape) == 3:
        return given
    return {name: np.asarray(array[:])[None] for name, array in given.items()}


def _compose(
    recordings: dict[str, Recording],
    view: View,
    title: str,
    pixel_size: float | None,
    frame_interval: float | None,
) -> Image.Image:
    planes = {n: np.asarray(a[view.frame], dtype=float) for n, a in recordings.items()}
    layout = Layout(len(planes), _panel_size(planes["raw"].shape), len(view.times) > 1)
    canvas = Image.new("RGB", layout.size, drawing.PAPER)
    draw = ImageDraw.Draw(canvas)
    drawing.text(draw, (MARGIN, 52), title, 28)
    # Frames count from 0 everywhere: "frame 0 of 20" would read as one of 21.
    last = recordings["raw"].shape[0] - 1
    where = f"frame {view.frame} (0 to {last})" if layout.traces else ""
    drawing.text(draw, (layout.size[0] - MARGIN, 52), where, 17, drawing.FAINT, "rs")
    contrast = drawing.Contrast.of(planes.get("truth", planes["denoised"]))
    for column, (name, plane) in enumerate(planes.items()):
        left = layout.left(column)
        drawing.text(draw, (left, layout.frames_top - 12), name, 20)
        _draw_panels(canvas, layout, left, plane, contrast, view)
    if pixel_size is not None:
        _draw_scale_bars(draw, layout, planes["raw"].shape[1], view, pixel_size)
    if layout.traces:
        _draw_traces(canvas, layout, recordings, view, frame_interval)
    return canvas


def _panel_size(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = shape
    longest = max(height, width)
    # Whole multiples keep every pixel a square of one size.
    factor = round(PANEL / longest) if longest < 1.5 * PANEL else PANEL / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _draw_panels(
    canvas: Image.Image,
    layout: Layout,
    left: int,
    plane: Float,
    contrast: drawing.Contrast,
    view: View,
) -> None:
    draw = ImageDraw.Draw(canvas)
    rows, columns = view.zoom
    scale = layout.panel[0] / plane.shape[1]
    canvas.paste(drawing.panel(plane, contrast, layout.panel), (left, layout.frames_top))
    frame = [left + columns.start * scale, layout.frames_top + rows.start * scale]
    frame += [left + columns.stop * scale, layout.frames_top + rows.stop * scale]
    draw.rectangle(frame, outline="#ffd23f", width=2)
    side = layout.panel[0]
    canvas.paste(drawing.panel(plane[view.zoom], contrast, (side, side)), (left, layout.zooms_top))
    draw.rectangle(
        (left, layout.zooms_top, left + side - 1, layout.zooms_top + side - 1),
        outline="#ffd23f",
        width=2,
    )
    if layout.traces:
        zoomed = side / (columns.stop - columns.start)
        y = layout.zooms_top + (view.y - rows.start + 0.5) * zoomed
        x = left + (view.x - columns.start + 0.5) * zoomed
        draw.circle((x, y), (CELL_RADIUS + 0.5) * zoomed, outline="#ffd23f", width=2)


def _draw_scale_bars(
    draw: ImageDraw.ImageDraw, layout: Layout, width: int, view: View, pixel_size: float
) -> None:
    right = layout.left(0) + layout.panel[0]
    zoom_width = view.zoom[1].stop - view.zoom[1].start
    for columns, bottom in (
        (width, layout.frames_top + layout.panel[1]),
        (zoom_width, layout.zooms_top + layout.panel[0]),
    ):
        micrometres = drawing.round_length(columns * pixel_size / 3)
        length = round(micrometres / pixel_size * layout.panel[0] / columns)
        # The font of Pillow has no µ.
        label = f"{drawing.plain(micrometres)} um"
        drawing.scale_bar(draw, (right, bottom), length, label)


def _draw_traces(
    canvas: Image.Image,
    layout: Layout,
    recordings: dict[str, Recording],
    view: View,
    frame_interval: float | None,
) -> None:
    draw = ImageDraw.Draw(canvas)
    # The truth last but one: where it is hidden, the denoised trace lies on it.
    order: list[str] = [name for name in ("raw", "truth", "denoised") if name in recordings]
    cell = cell_traces(recordings, view)
    rows = {
        "one pixel of the circled cell": {name: cell[name].pixel for name in order},
        "mean over the circle": {name: cell[name].disc for name in order},
    }
    left, right = MARGIN + AXIS, layout.size[0] - MARGIN
    mark = (view.frame - view.times.start) / (len(view.times) - 1)
    top = layout.traces_top
    _draw_legend(draw, right, top + 18, order)
    for caption, lines in rows.items():
        drawing.text(draw, (left, top + 18), caption, 17)
        box = (left, top + 32, right, top + 32 + TRACE_HEIGHT)
        drawing.traces(canvas, box, lines, mark)
        top += TRACE_HEIGHT + TRACE_GAP
    _draw_time_bar(draw, right - left, (right, top + 8), view, frame_interval)


def _draw_time_bar(
    draw: ImageDraw.ImageDraw,
    width: int,
    right_end: tuple[int, int],
    view: View,
    frame_interval: float | None,
) -> None:
    right, top = right_end
    step, unit = (frame_interval, "s") if frame_interval else (1.0, "frames")
    span = (len(view.times) - 1) * step
    length = drawing.round_length(span / 6)
    bar = round(width * length / span)
    draw.line([(right - bar, top), right_end], drawing.INK, 3)
    label = f"{drawing.plain(length)} {unit}"
    drawing.text(draw, (right - bar / 2, top + 22), label, 16, anchor="ms")


def _draw_legend(draw: ImageDraw.ImageDraw, right: int, baseline: int, names: list[str]) -> None:
    for name in reversed(names):
        drawing.text(draw, (right, baseline), name, 16, drawing.INK, "rs")
        right -= 8 + round(draw.textlength(name, drawing.font(16)))
        draw.line([(right - 26, baseline - 5), (right, baseline - 5)], drawing.COLOURS[name], 4)
        right -= 44
