"""``info --noise``: what is read for it, what is printed, and the picture."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tifffile
from bad_frame_tools import Pages, stack_of
from cli_tools import only_line, python
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_tools import poisson_pairs
from PIL import Image

from fm2s_stack.cli.describe_noise import noise_lines, plus_minus
from fm2s_stack.errors import NoiseUnknown, StackError
from fm2s_stack.job.noise import measure_noise
from fm2s_stack.noise_model import measure_movie
from fm2s_stack.report import noise_png
from fm2s_stack.report.axes import Axes, ticks


def noisy_pages(frames: int, side: int = 40, bad: frozenset = frozenset()) -> Pages:
    pixels = 10 * poisson_pairs(pairs=frames, side=side)[:, 0] + 100
    return Pages(np.rint(pixels).astype(np.uint16), bad)


@pytest.fixture
def noisy(tmp_path):
    path = tmp_path / "noisy.tif"
    frames = 10 * poisson_pairs(pairs=20, side=96).reshape(40, 96, 96) + 100
    tifffile.imwrite(path, np.rint(frames).astype(np.uint16), metadata={"axes": "TYX"})
    return path


@pytest.mark.parametrize(
    ("shape", "breaks", "frames", "method"),
    [
        ((300, 1, 1), (), 64, "frame differences"),
        ((9, 1, 1), (), 8, "frame differences"),
        ((9, 1, 1), (3, 6), 6, "frame differences"),
        ((4, 1, 1), (1, 2, 3), 4, "frame differences"),  # a frame a file is one recording
        ((5, 1, 1), (1, 2), 2, "frame differences"),
        ((1, 1, 7), (), 7, "spatial residuals"),
        ((6, 1, 5), (), 30, "frame differences"),
        ((1, 1, 1), (), 1, "spatial residuals"),
    ],
)
def test_pairs_are_of_one_trial_and_planes_alone_where_there_are_none(
    shape, breaks, frames, method
):
    pages = noisy_pages(math.prod(shape))
    model = measure_noise(stack_of(pages, shape, breaks), 0)
    assert (model.frames, model.method) == (frames, method)
    read = sorted(pages.reads)
    assert len(set(read)) == len(read) == frames
    if method == "frame differences":
        slices = shape[2]
        starts = read if slices > 1 else read[::2]
        assert all(page + slices in read or page - slices in read for page in starts)
        if slices == 1 and len(breaks) < shape[0] - 1:
            assert not {page + 1 for page in starts} & set(breaks)


def test_of_huge_planes_the_middle_of_a_few_is_measured(monkeypatch):
    monkeypatch.setattr("fm2s_stack.job.noise.SIDE", 24)
    monkeypatch.setattr("fm2s_stack.job.noise.PIXELS", 24 * 24 * 5)
    pages = noisy_pages(60)
    pages.pixels[:, :6] = 60000
    model = measure_noise(stack_of(pages, (60, 1, 1)), 0)
    assert model.frames == 10
    assert model.mean_level < 1000


class Heard:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def advance(self, count):
        assert count == 0


def test_pairs_with_a_bad_frame_are_left_out_and_said():
    heard = Heard()
    pages = noisy_pages(8, bad=frozenset({3}))
    assert measure_noise(stack_of(pages, (8, 1, 1)), 0, progress=heard).frames == 6
    assert len(heard.notes) == 1
    assert "frame 2 is left out" in heard.notes[0]
    with pytest.raises(StackError, match="none of the planes"):
        measure_noise(stack_of(noisy_pages(4, bad=frozenset(range(4))), (4, 1, 1)), 0)


def test_a_channel_without_noise_is_named():
    pages = noisy_pages(8)
    pages.pixels[1::2] = 7
    stack = stack_of(pages, (4, 2, 1))
    assert measure_noise(stack, 0).gain > 0
    with pytest.raises(NoiseUnknown, match=r"movie.tif, channel 1: noise: .* identical"):
        measure_noise(stack, 1)


def test_info_prints_the_noise_with_its_uncertainty(call, noisy):
    call("info", noisy, "--noise")
    assert "gain      10." in call.out or "gain      9." in call.out
    assert "at most" in call.out
    assert "by frame differences, from 40 frames" in call.out
    assert "noise:" not in call("info", noisy).out


def test_info_gives_the_noise_as_json(call, noisy):
    (noise,) = json.loads(call("info", noisy, "--noise", "--json").out)["noise"]
    assert noise["gain"] == pytest.approx(10, rel=0.1)
    assert abs(noise["gain"] - 10) < 4 * noise["gain_error"]
    assert noise["intercept"] == pytest.approx(100 - 1000, rel=0.2)
    assert noise["photons_at_mean_level"] == pytest.approx(22, rel=0.15)
    assert len(noise["correlation_rows"]) == len(noise["correlation_columns"]) == 3
    assert "noise" not in json.loads(call("info", noisy, "--json").out)


def test_each_channel_has_its_noise(call, tmp_path):
    frames = np.stack([poisson_pairs(pairs=8)[:, 0], 5 * poisson_pairs(1, pairs=8)[:, 0]], axis=1)
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, frames.astype(np.float32), metadata={"axes": "TCYX"}, ome=True)
    first, second = json.loads(call("info", path, "--noise", "--json").out)["noise"]
    assert second["gain"] == pytest.approx(5 * first["gain"], rel=0.1)
    call("info", path, "--noise-plot", tmp_path / "two.png")
    assert "channel 1:" in call.out
    with Image.open(tmp_path / "two.png") as picture:
        assert picture.format == "PNG"
        assert picture.height == 2 * 470


def test_a_picture_is_never_replaced_unasked_and_not_even_measured_for(call, noisy, monkeypatch):
    plot = noisy.with_name("noise.png")
    plot.write_bytes(b"mine")
    with monkeypatch.context() as patched:
        patched.setattr("fm2s_stack.job.noise.measure_noise", None)
        call("info", noisy, "--noise-plot", plot, code=1)
    assert "exists already" in only_line(call.err)
    assert plot.read_bytes() == b"mine"
    call("info", noisy, "--noise-plot", plot, "--overwrite")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in noisy.parent.iterdir() if "partial" in file.name] == []
    call("info", noisy, "--noise-plot", noisy.with_name("noise.jpg"), code=2)
    assert ".png" in only_line(call.err)


def test_info_of_what_has_no_noise_fails_in_one_line(call, tmp_path):
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, np.full((5, 32, 32), 5, np.uint8), metadata={"axes": "TYX"})
    call("info", path, "--noise", code=1)
    assert "identical" in only_line(call.err)


def test_measuring_noise_loads_no_torch(noisy):
    code = (
        "import sys; from fm2s_stack.cli.main import cli\n"
        "cli(['info', sys.argv[1], '--noise'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = python(code, noisy)
    assert done.returncode == 0, done.stderr


def test_what_is_known_of_darkness_and_clipping_is_said():
    frames = 10 * poisson_pairs() + 100
    unknown = "\n".join(noise_lines(measure_movie(frames)))
    assert "unknown" in unknown
    assert "clipped" not in unknown
    known = "\n".join(noise_lines(measure_movie(np.minimum(frames, 500), offset=100.0)))
    assert "at level 100, read noise" in known
    assert "at most" not in known
    assert "clipped   at level 500" in known


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (39.5512, 1.234, "39.6 ± 1.2"),
        (-7349.4, 221.0, "-7350 ± 220"),
        (0.00123, 0.00045, "0.00123 ± 0.00045"),
        (5.0, 0.0, "5"),
        (1e12, 2e10, "1e+12 ± 2e+10"),
    ],
)
def test_a_value_is_told_to_two_digits_of_its_error(value, error, text):
    assert plus_minus(value, error) == text


def test_the_points_of_the_picture_lie_where_the_levels_and_variances_are(tmp_path):
    model = measure_movie(10 * poisson_pairs() + 100)
    path = noise_png(tmp_path / "noise.png", {"a movie": model})
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    dots = np.argwhere((np.abs(pixels - (224, 123, 0)) < 30).all(axis=-1))
    dots = dots[dots[:, 1] < 640]
    levels = np.array([point.level for point in model.points])
    span = (dots[:, 1].max() - dots[:, 1].min()) / (levels.max() - levels.min())
    wide = model.level_range[1] - model.level_range[0]
    assert span * max(wide, np.ptp(levels)) == pytest.approx(520 / 1.1, abs=30)


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
@settings(deadline=None)
def test_ticks_are_a_few_round_values_inside_the_axis(low, span):
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 9
    assert min(found) >= low - 1e-6 * span
    assert max(found) <= low + span + 1e-6 * span


def test_a_value_falls_in_its_place_between_the_edges():
    axes = Axes((10, 20, 110, 220), (0.0, 4.0), (-1.0, 1.0))
    assert axes.at(0, -1) == (10, 220)
    assert axes.at(4, 1) == (110, 20)
    assert axes.at(1, 0) == (35, 120)
