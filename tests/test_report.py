"""Before-and-after pictures: what they choose to show, and that the pixels shown are true."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fm2s_stack.errors import OutputError, OutputExists, UsageError
from fm2s_stack.report import before_after_png
from fm2s_stack.report.before_after import Layout
from fm2s_stack.report.drawing import plain, round_length
from fm2s_stack.report.view import TRACE_FRAMES, cell_traces, choose_view


def movie_with_a_cell(
    frames: int = 40, shape: tuple[int, int] = (60, 80), at: tuple[int, int] = (22, 57)
) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    movie = rng.integers(90, 110, (frames, *shape))
    y, x = np.ogrid[: shape[0], : shape[1]]
    disc = np.hypot(y - at[0], x - at[1]) < 6
    movie[frames // 2 : frames // 2 + 3, disc] += 200
    movie[:, 5:12, 5:12] += 500  # bright and never changing
    return movie.astype(np.uint16)


def test_the_cell_that_brightens_is_shown_in_a_frame_where_it_does() -> None:
    view = choose_view(movie_with_a_cell())
    assert abs(view.y - 22) <= 1
    assert abs(view.x - 57) <= 1
    assert 20 <= view.frame < 23
    assert view.times == range(40)
    assert choose_view(movie_with_a_cell(), frame=7).frame == 7


def test_traces_are_the_means_of_the_same_pixels_in_both_recordings() -> None:
    movie = movie_with_a_cell()
    view = choose_view(movie)
    traces = cell_traces({"raw": movie + 1, "denoised": movie}, view)
    y, x = np.mgrid[:60, :80]
    disc = np.hypot(y - view.y, x - view.x) <= 5
    np.testing.assert_allclose(traces["denoised"].disc, movie[:, disc].mean(axis=1))
    np.testing.assert_allclose(traces["raw"].disc, movie[:, disc].mean(axis=1) + 1)
    np.testing.assert_array_equal(traces["raw"].pixel, traces["denoised"].pixel + 1)
    assert (movie[:, disc] == traces["denoised"].pixel[:, None]).all(axis=0).sum() == 1


def test_a_long_recording_shows_a_bounded_time_around_the_event() -> None:
    still = da.zeros((100_000, 8, 9), chunks=(1000, 8, 9), dtype=np.uint8)
    view = choose_view(still, frame=99_990)
    assert view.times == range(100_000 - TRACE_FRAMES, 100_000)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 90), st.integers(1, 90))
def test_what_is_shown_lies_inside_whatever_the_shape(frames: int, height: int, width: int) -> None:
    movie = np.random.default_rng(1).normal(size=(frames, height, width))
    view = choose_view(movie)
    assert 0 <= view.y < height
    assert 0 <= view.x < width
    for part, length in zip(view.zoom, (height, width), strict=True):
        assert 0 <= part.start < part.stop <= length
    assert len(view.times) == frames
    traces = cell_traces({"denoised": movie}, view)["denoised"]
    assert len(traces.pixel) == len(traces.disc) == frames


def test_the_panels_hold_the_frame_pixel_by_pixel_at_one_contrast(tmp_path: Path) -> None:
    raw = np.random.default_rng(2).integers(0, 4000, (3, 48, 48)).astype(np.uint16)
    denoised = raw // 2
    path = before_after_png(tmp_path / "new" / "look.png", raw, denoised, frame=1)
    picture = np.asarray(Image.open(path))
    layout = Layout(columns=2, panel=(480, 480), traces=True)
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    low, high = np.percentile(denoised[1], (0.3, 99.8))
    zoom = choose_view(denoised, 1).zoom
    marked = np.zeros((48, 48), bool)  # near the frame drawn around the enlarged part
    marked[max(0, zoom[0].start - 1) : zoom[0].stop + 1, max(0, zoom[1].start - 1) :] = True
    for column, plane in enumerate((raw[1], denoised[1])):
        left, top = layout.left(column), layout.frames_top
        shown = picture[top + 5 : top + 480 : 10, left + 5 : left + 480 : 10, 0].astype(float)
        expected = 255 * np.clip((plane - low) / (high - low), 0, 1)
        assert np.abs(shown - expected)[~marked].max() <= 0.5


@pytest.mark.parametrize(
    ("frames", "shown", "caption"), [(20, 0, "frame 0 (0 to 19)"), (3, 2, "frame 2 (0 to 2)")]
)
def test_the_caption_counts_frames_from_0_and_names_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, shown: int, caption: str
) -> None:
    written = []
    draw = ImageDraw.ImageDraw.text

    def spy(self, at, words, *args, **options):  # type: ignore[no-untyped-def]
        written.append(words)
        return draw(self, at, words, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    movie = movie_with_a_cell(frames)
    before_after_png(tmp_path / "a.png", movie, movie, frame=shown)
    assert [words for words in written if words.startswith("frame")] == [caption]


def test_lazy_arrays_and_a_truth_make_the_same_picture_as_arrays(tmp_path: Path) -> None:
    movie = movie_with_a_cell()
    kinds = (movie, da.from_array(movie, chunks=(7, 60, 80)))
    pictures = [
        before_after_png(tmp_path / f"{i}.png", kind, kind, kind, pixel_size=0.5).read_bytes()
        for i, kind in enumerate(kinds)
    ]
    assert pictures[0] == pictures[1]


def test_a_plane_alone_has_no_traces(tmp_path: Path) -> None:
    plane = movie_with_a_cell()[20]
    alone = Image.open(before_after_png(tmp_path / "one.png", plane, plane))
    movie = Image.open(before_after_png(tmp_path / "many.png", *[np.stack([plane] * 3)] * 2))
    assert alone.width == movie.width
    assert alone.height < movie.height


def test_a_constant_movie_and_a_real_one_are_drawn(tmp_path: Path, data: Path) -> None:
    flat = np.full((4, 30, 200), 7, np.uint8)
    assert Image.open(before_after_png(tmp_path / "flat.png", flat, flat)).width > 400
    real = tifffile.imread(data / "tiff" / "two_photon_movie.tif")
    mean = np.broadcast_to(real.mean(axis=0), real.shape)
    path = before_after_png(tmp_path / "real.png", real, mean, pixel_size=1, frame_interval=0.1)
    assert np.asarray(Image.open(path)).std() > 30


@given(st.floats(1e-3, 1e5))
def test_scale_bars_have_round_lengths_that_fit(longest: float) -> None:
    length = round_length(longest)
    assert longest / 2.5 - 1e-12 <= length <= longest
    assert plain(length).strip("0.") in ("1", "2", "5")


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    movie = movie_with_a_cell(4)
    with pytest.raises(UsageError, match=r"\(4, 60, 80\).*\(3, 60, 80\)"):
        before_after_png(tmp_path / "a.png", movie, movie[:3])
    with pytest.raises(UsageError, match="frame 4"):
        before_after_png(tmp_path / "a.png", movie, movie, frame=4)
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(OutputExists, match=r"a\.png exists"):
        before_after_png(tmp_path / "a.png", movie, movie)
    assert (tmp_path / "a.png").read_text() == "mine"
    with pytest.raises(OutputError, match="cannot write"):
        before_after_png(tmp_path / "a.png" / "b.png", movie, movie)
    before_after_png(tmp_path / "a.png", movie, movie, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
