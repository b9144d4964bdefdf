"""The line of trust at the end of a run: what it says, where it is kept, when there is none."""

from __future__ import annotations

import json
import re
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr
from bad_frame_tools import Pages, damage_page, stack_of
from cli_tools import attributes, level, recording
from PIL import Image
from resume_tools import CHUNKS, FIT, HERE, denoise

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.job.planning import plan_stack
from fm2s_stack.job.trust import measure_trust
from fm2s_stack.metrics import trust_line, without_truth
from fm2s_stack.settings import RunSettings, WriteSettings
from fm2s_stack.stopping import Stop

LINES = re.compile(r"^Trust\b.*$", re.MULTILINE)


def line_of(raw: np.ndarray, result: np.ndarray) -> str:
    return trust_line(without_truth(raw, result))


@pytest.fixture
def long_movie(tmp_path):
    return recording(tmp_path / "movie.tif", (40, 48, 48))


@pytest.fixture
def four_units(tmp_path):
    return open_stack(recording(tmp_path / "movie.tif", (200, 32, 32)))


def test_a_run_ends_with_what_the_measures_say_of_all_its_pixels(call, long_movie, tmp_path):
    out = tmp_path / "o.zarr"
    call.denoise(long_movie, out)
    expected = line_of(tifffile.imread(long_movie), level(out))
    assert call.err.splitlines()[-1] == expected
    assert "decibels" not in expected and "dB in flat regions" in expected
    assert attributes(out)["trust"] == [expected]
    assert expected in call("info", out).out.splitlines()
    call.denoise(long_movie, out, "--json")
    assert json.loads(call.out)["trust"] == [expected]


def test_the_summary_tells_it_and_quiet_runs_print_none_but_keep_it(call, long_movie, tmp_path):
    call.denoise(long_movie, tmp_path / "a.zarr", "--json")
    told = json.loads(call.out)["trust"]
    assert len(told) == 1
    assert LINES.findall(call.err) == []
    call.denoise(long_movie, tmp_path / "b.zarr", "--quiet")
    assert call.err == ""
    assert attributes(tmp_path / "b.zarr")["trust"] == told


def test_each_channel_has_a_line_with_its_name(call, tmp_path):
    path = tmp_path / "two.ome.tif"
    pixels = np.random.default_rng(0).poisson(100, (26, 2, 40, 40)).astype(np.uint16)
    pixels[:, 1] *= 3
    names = {"axes": "TCYX", "Channel": {"Name": ["green", "red"]}}
    tifffile.imwrite(path, pixels, metadata=names)
    out = tmp_path / "o.zarr"
    call.denoise(path, out)
    green, red = LINES.findall(call.err)
    result = level(out)
    assert green == line_of(pixels[:, 0], result[:, 0]).replace("Trust:", "Trust, channel green:")
    assert red == line_of(pixels[:, 1], result[:, 1]).replace("Trust:", "Trust, channel red:")
    call.denoise(path, tmp_path / "r.zarr", "--channel", "red")
    (alone,) = LINES.findall(call.err)
    assert alone.startswith("Trust: ")


@pytest.mark.parametrize(("shape", "axes"), [((30, 40, 40), "ZYX"), ((3, 30, 40, 40), "TZYX")])
def test_a_z_stack_is_judged_along_z(call, tmp_path, shape, axes):
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).poisson(90, shape).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})
    out = tmp_path / "o.zarr"
    call.denoise(path, out, "--along", "z")
    one = (1,) if axes == "TZYX" else ()
    assert LINES.findall(call.err) == [line_of(pixels[one], level(out)[one])]


def test_of_a_movie_of_volumes_the_middle_slice_is_judged(call, tmp_path):
    path = tmp_path / "volumes.tif"
    pixels = np.random.default_rng(0).poisson(90, (26, 5, 40, 40)).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "TZYX"})
    call.denoise(path, tmp_path / "o.zarr")
    expected = line_of(pixels[:, 2], level(tmp_path / "o.zarr")[:, 2])
    assert LINES.findall(call.err) == [expected]


def test_of_a_large_plane_the_middle_is_judged(tmp_path):
    pixels = np.random.default_rng(0).poisson(50, (3, 300, 420)).astype(np.uint16)
    summary = denoise_stack(stack_of(Pages(pixels), (3, 1, 1)), tmp_path / "o.zarr", FIT, run=HERE)
    result = level(tmp_path / "o.zarr").reshape(pixels.shape)
    middle = (slice(None), slice(22, 278), slice(82, 338))
    assert summary.trust == (line_of(pixels[middle], result[middle]),)


def test_tiffs_and_pngs_tell_it_too(call, long_movie, tmp_path):
    call.denoise(long_movie, tmp_path / "o.tif")
    (line,) = LINES.findall(call.err)
    assert line == line_of(tifffile.imread(long_movie), tifffile.imread(tmp_path / "o.tif"))
    assert line in call("info", tmp_path / "o.tif").out
    image = np.random.default_rng(1).poisson(60, (48, 48)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "i.png")
    call.denoise(tmp_path / "i.png", tmp_path / "o.png")
    (line,) = LINES.findall(call.err)
    result = np.asarray(Image.open(tmp_path / "o.png"))
    assert line == line_of(image[None], result[None])


def test_pixels_without_light_do_not_hinder(call, long_movie, tmp_path):
    pixels = tifffile.imread(long_movie).astype(np.float32)
    pixels[:, :4] = np.nan
    tifffile.imwrite(tmp_path / "registered.tif", pixels, photometric="minisblack")
    call.denoise(tmp_path / "registered.tif", tmp_path / "o.zarr", "--nan", "keep")
    (line,) = LINES.findall(call.err)
    assert "nan" not in line and "dB" in line


def test_frames_that_were_made_up_are_left_out(call, tmp_path):
    path, out = tmp_path / "m.tif", tmp_path / "o.zarr"
    recording(path, (40, 48, 48), compression="zlib")
    good = np.delete(tifffile.imread(path), [7, 20], axis=0)
    damage_page(path, 7)
    damage_page(path, 20)
    call.denoise(path, out, "--on-bad-frame", "previous")
    assert attributes(out)["bad_frames"]["count"] == 2
    assert LINES.findall(call.err) == [line_of(good, np.delete(level(out), [7, 20], axis=0))]


def test_shares_say_nothing_and_the_seal_says_it_where_it_is_given_the_input(call, tmp_path):
    movie = recording(tmp_path / "movie.tif", (130, 32, 32))
    call.denoise(movie, tmp_path / "whole.zarr")
    (expected,) = LINES.findall(call.err)
    for name, more, lines in (
        ("told", ("--source", movie), [expected]),
        ("untold", (), []),
        ("gone", ("--source", tmp_path / "gone.tif"), []),
    ):
        out = tmp_path / f"{name}.zarr"
        call.denoise(movie, out, "--prepare")
        for share in ("1/2", "2/2"):
            call.denoise(movie, out, "--units", share)
            assert LINES.findall(call.err) == []
        call("seal", out, *more)
        assert LINES.findall(call.err) == lines
        assert attributes(out)["trust"] == (lines or None)
        assert attributes(out)["status"] == "complete"
        assert ("not measured" in call.err) == (name == "gone")


def test_another_input_does_not_judge_a_result(call, tmp_path):
    movie = recording(tmp_path / "movie.tif", (70, 32, 32))
    other = recording(tmp_path / "other.tif", (71, 32, 32))
    call.denoise(movie, tmp_path / "o.zarr", "--prepare")
    call.denoise(movie, tmp_path / "o.zarr", "--units", "1/1")
    call("seal", tmp_path / "o.zarr", "--source", other)
    assert "not what the output was made of" in call.err
    assert attributes(tmp_path / "o.zarr")["trust"] is None


def test_a_stop_meanwhile_leaves_what_the_same_command_completes(four_units, tmp_path, monkeypatch):
    whole = denoise(four_units, tmp_path / "whole.zarr")
    stop = Stop()

    def impatient(*words, check, **options):
        stop.request("enough")
        return measure_trust(*words, check=check, **options)

    monkeypatch.setattr("fm2s_stack.pipeline.measure_trust", impatient)
    with pytest.raises(StoppedEarly, match="4 of 4 units are done; run the same command again"):
        denoise(four_units, tmp_path / "o.zarr", stop=stop)
    assert attributes(tmp_path / "o.zarr")["status"] == "incomplete"
    monkeypatch.undo()
    assert denoise(four_units, tmp_path / "o.zarr").trust == whole.trust != ()


def test_an_input_that_is_gone_by_then_costs_the_line_alone(four_units, tmp_path, monkeypatch):
    def gone(*words, **options):
        (tmp_path / "movie.tif").unlink()
        return measure_trust(*words, **options)

    monkeypatch.setattr("fm2s_stack.pipeline.measure_trust", gone)
    summary = denoise(four_units, tmp_path / "o.zarr")
    assert summary.trust == ()
    assert attributes(tmp_path / "o.zarr")["status"] == "complete"


@pytest.mark.parametrize("shape", [(130, 256, 256), (20, 300, 256), (1, 512, 512), (5, 64, 900)])
def test_the_plan_counts_the_memory_that_judging_takes(tmp_path, shape):
    stack = stack_of(Pages(np.ones(shape, np.uint16)), (shape[0], 1, 1))
    little = RunSettings(device="cpu", threads=1, memory=2**20)
    write = WriteSettings(pyramid="none")
    held = plan_stack(stack, FIT, write=write, run=little, trained=True).projected_bytes
    store = zarr.create_array(
        str(tmp_path / "s0"), shape=stack.image.shape, dtype="uint16",
        chunks=(1, 1, 1, *shape[1:]),
    )  # fmt: skip
    store[...] = np.random.default_rng(0).integers(0, 90, stack.image.shape)
    measure_trust(stack, tmp_path, "t", (), lambda: None)
    tracemalloc.start()
    measure_trust(stack, tmp_path, "t", (), lambda: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < held - 450 * 2**20


def test_it_is_looked_whether_to_stop_between_runs_of_planes(tmp_path):
    pixels = np.random.default_rng(0).poisson(50, (64, 32, 32)).astype(np.uint16)
    stack = stack_of(Pages(pixels), (64, 1, 1))
    denoise_stack(stack, tmp_path / "o.zarr", FIT, run=HERE, write=CHUNKS)
    looks = []
    measure_trust(stack, tmp_path / "o.zarr", "t", (), lambda: looks.append(1))
    assert len(looks) == 5
