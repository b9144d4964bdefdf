"""Excluded frames come out as they are, and nothing else depends on what is in them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from bad_frame_tools import damage_page
from excluded_tools import (
    EXCLUDED,
    FRAMES,
    KEPT,
    frames_of,
    pixels,
    with_garbage,
    write_list,
    write_movie,
)

from fm2s_stack import denoise_stack, fit_stack, load_denoisers, open_stack
from fm2s_stack.errors import NonFinitePixels, UsageError
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.store.attributes import read_attributes

PRESET = FitSettings(find_preset("srdtrans"), draws=2, crop=32)
AUTO = FitSettings(Auto(), draws=6, crop=32)
EVERY = {"mode": "every", "every": 12}
FITS = {
    "one network": PRESET,
    "a network a frame": replace(PRESET, mode="frame", draws=1),
    "networks of windows": replace(PRESET, **EVERY),
    "auto": AUTO,
    "auto, causal": replace(AUTO, preset=Auto(causal=True)),
    "auto, four neighbours": replace(AUTO, preset=Auto(neighbours=4)),
    "auto, no neighbours": FitSettings(Auto(neighbours=0), draws=1),
    "auto, windows": replace(AUTO, **EVERY),
    "auto, constant pixels kept": replace(AUTO, nan="keep"),
}
HERE, PLAIN = RunSettings(device="cpu", threads=2), WriteSettings()
#: those that show the most; the others are in the slow tier
QUICK = ("one network", "a network a frame", "networks of windows", "auto")


def fits(*, trained_together: bool = False):
    """Names of all fits, most of them slow."""
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name, fit in FITS.items()
        if fit.mode != "frame" or not trained_together
    ]


def made(path, fit=AUTO, name="out.zarr", write=PLAIN, run=HERE, **options):
    """The pixels of a run on a movie, and its output."""
    given = {"exclude_frames": EXCLUDED, **options}
    output = path.with_name(name)
    denoise_stack(open_stack(path, **given), output, fit, write=write, run=run)
    return pixels(output), output


def require_same_but_excluded(one, other):
    """Assert that networks, noise, background, maps and all other pixels are the same bits."""
    for a, b in zip(load_denoisers(one), load_denoisers(other), strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        assert a.intensity == b.intensity
        if hasattr(a, "noise"):
            assert a.noise == b.noise
            for name, array in getattr(a, "study", {}).items():
                np.testing.assert_array_equal(array, b.study[name])
    np.testing.assert_array_equal(pixels(one)[KEPT], pixels(other)[KEPT])


@pytest.mark.parametrize("name", fits())
def test_what_is_in_excluded_frames_shows_in_no_other_bit(tmp_path, name):
    fit, movie = FITS[name], frames_of()
    one, first = made(write_movie(tmp_path / "a.tif", movie), fit, "a.zarr")
    garbage = with_garbage(movie)
    other, second = made(write_movie(tmp_path / "b.tif", garbage), fit, "b.zarr")
    np.testing.assert_array_equal(one[EXCLUDED], movie[EXCLUDED])
    np.testing.assert_array_equal(other[EXCLUDED], garbage[EXCLUDED])
    np.testing.assert_array_equal(one[KEPT], other[KEPT])
    assert not np.array_equal(one[KEPT], movie[KEPT])
    if fit.mode != "frame":
        require_same_but_excluded(first, second)
    shown = [read_attributes(output) for output in (first, second)]
    assert shown[0]["intensity"] == shown[1]["intensity"]
    assert shown[0]["noise"] == shown[1]["noise"]


def test_float_frames_may_hold_what_no_other_frame_may(tmp_path):
    movie = frames_of("float32")
    expected, _ = made(write_movie(tmp_path / "a.tif", movie), AUTO, "a.zarr")
    garbage = with_garbage(movie)
    path = write_movie(tmp_path / "b.tif", garbage)
    found, _ = made(path, AUTO, "b.zarr")
    np.testing.assert_array_equal(found[KEPT], expected[KEPT])
    np.testing.assert_array_equal(found[EXCLUDED], garbage[EXCLUDED])
    half, _ = made(path, PRESET, "half.zarr", WriteSettings(dtype="float16"))
    limit = np.finfo("float16").max
    clipped = np.where(np.isinf(garbage), garbage, np.clip(garbage, None, limit)).astype("float16")
    np.testing.assert_array_equal(half[EXCLUDED], clipped[EXCLUDED])
    with pytest.raises(NonFinitePixels, match=r"b\.tif: frame 0 has NaN .*uint16 cannot hold"):
        made(path, PRESET, "i.zarr", WriteSettings(dtype="uint16"))


@pytest.mark.parametrize("fit", [PRESET, AUTO], ids=["preset", "auto"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint32"])
def test_grey_levels_are_clipped_to_the_wanted_type_never_wrapped(tmp_path, fit, dtype):
    movie = with_garbage(frames_of())
    found, output = made(
        write_movie(tmp_path / "m.tif", movie), fit, "o.zarr", WriteSettings(dtype=dtype)
    )
    limits = (0, 2**32 - 1) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    wide = movie[EXCLUDED].astype(float)
    np.testing.assert_array_equal(found[EXCLUDED], np.clip(wide, *limits).astype(dtype))
    clipped = int((wide > limits[1]).sum())
    assert read_attributes(output)["clipped"] >= clipped
    if dtype in ("float32", "uint32"):
        assert read_attributes(output)["clipped"] == 0


def test_excluding_none_changes_no_bit_and_no_term(tmp_path):
    path = write_movie(tmp_path / "m.tif", frames_of()[1:20])
    found, one = made(path, AUTO, "a.zarr", exclude_frames=[])
    (tmp_path / "none.txt").write_text("# none\n")
    other, two = made(path, AUTO, "b.zarr", exclude_frames=tmp_path / "none.txt")
    np.testing.assert_array_equal(found, other)
    assert read_attributes(one)["token"] == read_attributes(two)["token"]


def test_the_end_that_is_excluded_is_as_if_the_recording_ended_before(tmp_path):
    movie = frames_of()[1:20]
    path = write_movie(tmp_path / "m.tif", movie)
    whole, _ = made(path, AUTO, "a.zarr", exclude_frames=[], frames=(0, 14))
    found, _ = made(path, AUTO, "b.zarr", exclude_frames=[(14, 19)])
    np.testing.assert_array_equal(found[:14], whole)
    np.testing.assert_array_equal(found[14:], movie[14:])


def test_a_selection_counts_excluded_frames_from_the_first_of_the_source(tmp_path):
    movie = frames_of()
    path = write_movie(tmp_path / "m.tif", movie)
    found, output = made(path, AUTO, "a.zarr", frames=(10, 38))
    inside = [t - 10 for t in EXCLUDED if 10 <= t < 38]
    np.testing.assert_array_equal(found[inside], movie[10:38][inside])
    told = read_attributes(output)
    assert told["selection"]["excluded"] == [[20, 24], [27, 28], [30, 31], [33, 34], [36, 37]]
    garbage = write_movie(tmp_path / "g.tif", with_garbage(movie))
    other, _ = made(garbage, AUTO, "b.zarr", frames=(10, 38))
    rest = [t for t in range(28) if t not in inside]
    np.testing.assert_array_equal(found[rest], other[rest])
    with pytest.raises(UsageError, match="all of the frames that are selected, 20 to 23 of"):
        open_stack(path, exclude_frames=EXCLUDED, frames=(20, 24))


@pytest.mark.slow
@pytest.mark.parametrize("along", ["t", "z"])
def test_volumes_are_excluded_whole_in_every_channel(tmp_path, along):
    rng = np.random.default_rng(2)
    light = rng.gamma(2, 20, (9, 1, 2, 1, 1)) * rng.gamma(4, 0.5, (6, 1, 36, 40))
    movie = rng.poisson(light).astype(np.uint16)  # tzcyx
    garbage, out = movie.copy(), [0, 3, 4]
    kept = [t for t in range(9) if t not in out]
    garbage[out] = rng.integers(0, 65536, movie[out].shape)
    results = []
    for name, content in (("a", movie), ("b", garbage)):
        told = {"imagej": True, "metadata": {"axes": "TZCYX"}}
        tifffile.imwrite(tmp_path / f"{name}.tif", content, **told)
        run, write = replace(HERE, along=along), WriteSettings(chunks=(2, 36, 40))
        path = tmp_path / f"{name}.tif"
        found, _ = made(path, AUTO, f"{name}.zarr", write, run, exclude_frames=out)
        np.testing.assert_array_equal(found[out], content[out].transpose(0, 2, 1, 3, 4))
        results.append(found)
    np.testing.assert_array_equal(results[0][kept], results[1][kept])


@pytest.mark.parametrize("name", fits(trained_together=True))
def test_how_units_and_blocks_are_cut_shows_in_no_pixel(tmp_path, monkeypatch, name):
    path = write_movie(tmp_path / "m.tif", frames_of())
    expected, _ = made(path, FITS[name], "whole.zarr")
    monkeypatch.setattr("fm2s_stack.stack.pages.BLOCK_BYTES", 3 * 48 * 48 * 2)
    assert max(open_stack(path).array.chunks[0]) == 3
    write = WriteSettings(chunks=(5, 32, 48))
    found, _ = made(path, FITS[name], "cut.zarr", write, replace(HERE, threads=1))
    np.testing.assert_array_equal(found, expected)


def test_what_is_trained_on_in_parts_holds_none_of_them_either(tmp_path, monkeypatch):
    monkeypatch.setattr("fm2s_stack.job.auto_sampling.TRAINED_PIXELS", 4 * 18 * 24 * 24)
    movie = frames_of()
    one, _ = made(write_movie(tmp_path / "a.tif", movie), AUTO, "a.zarr")
    other, _ = made(write_movie(tmp_path / "b.tif", with_garbage(movie)), AUTO, "b.zarr")
    np.testing.assert_array_equal(one[KEPT], other[KEPT])


def test_excluded_frames_take_no_bad_frames_place(tmp_path):
    movie = frames_of()
    path = tmp_path / "m.tif"
    write_movie(path, movie, compression="zlib", metadata={"axes": "TYX"})
    damage_page(path, 25)
    damage_page(path, 24)
    fit = replace(AUTO, on_bad_frame="previous")
    _, output = made(path, fit)
    rows = read_attributes(output)["bad_frames"]["first"]
    # 20 to 23 are excluded: the nearest before is 19.
    assert [(row["t"], row["made_of"]) for row in rows] == [(24, [19]), (25, [19])]


def test_grey_levels_to_show_are_not_those_of_excluded_frames(tmp_path):
    path, write = write_movie(tmp_path / "m.tif", frames_of()), WriteSettings(chunks=(4, 48, 48))
    _, output = made(path, PRESET, "o.zarr", write)
    shown = read_display(output)
    assert 0 < shown["start"] < shown["end"] < 20_000
    assert shown["end"] < pixels(output)[KEPT].max() + 1


def read_display(output):
    told = json.loads((output / "zarr.json").read_text())["attributes"]["ome"]
    return told["omero"]["channels"][0]["window"]


def test_networks_of_excluded_frames_are_zeros_with_no_loss(tmp_path):
    movie = frames_of()
    _, output = made(write_movie(tmp_path / "m.tif", movie), FITS["a network a frame"])
    weights, loss = pixels(output / "fm2s_stack", "weights"), pixels(output / "fm2s_stack", "loss")
    assert not weights[EXCLUDED].any() and np.isnan(loss[EXCLUDED]).all()
    assert weights[KEPT].any(axis=-1).all() and np.isfinite(loss[KEPT]).all()
    told = np.array(read_attributes(output)["loss"], float).reshape(FRAMES)
    np.testing.assert_array_equal(np.isnan(told), [t in EXCLUDED for t in range(FRAMES)])


def test_the_library_trains_without_them_too(tmp_path):
    movie = frames_of()
    paths = [
        write_movie(tmp_path / f"{i}.tif", m) for i, m in enumerate((movie, with_garbage(movie)))
    ]
    for fit in (PRESET, AUTO):
        stacks = [open_stack(path, exclude_frames=write_list(tmp_path)) for path in paths]
        (one,), (other,) = (fit_stack(stack, fit, run=HERE) for stack in stacks)
        np.testing.assert_array_equal(one.weights, other.weights)
        (with_all,) = fit_stack(open_stack(paths[1]), fit, run=HERE)
        assert not np.array_equal(one.weights, with_all.weights)


def test_every_other_frame_may_be_excluded(tmp_path):
    movie = frames_of()[1:20].repeat(2, axis=0)
    odd, even = np.arange(1, 38, 2), np.arange(0, 38, 2)
    movie[odd] = 65535
    path = write_movie(tmp_path / "m.tif", movie)
    found, output = made(path, AUTO, exclude_frames=odd.tolist())
    noise = read_attributes(output)["noise"][0]
    assert noise["method"] == "frame differences"
    np.testing.assert_array_equal(found[odd], movie[odd])
    assert found[even].max() < 65535


@pytest.mark.parametrize("fit", [PRESET, AUTO], ids=["preset", "auto"])
def test_a_window_that_is_excluded_whole_is_joined_to_another(tmp_path, fit):
    path, out = write_movie(tmp_path / "m.tif", frames_of()[1:20]), [(0, 5), (10, 16)]
    windows = replace(fit, mode="every", every=5)
    found, output = made(path, windows, exclude_frames=out)
    (denoiser,) = load_denoisers(output)
    assert denoiser.positions.tolist() == [7.0, 16.5]  # of 0 to 14, and of 15 to 18
    assert np.isfinite(found).all()


def test_one_frame_that_is_left_has_no_neighbours_and_is_denoised_by_itself(tmp_path):
    path = write_movie(tmp_path / "m.tif", frames_of()[:3])
    with pytest.raises(UsageError, match="has one plane left"):
        made(path, replace(AUTO, preset=Auto(neighbours=1)), exclude_frames=[0, 2])
    for name, fit in (("a.zarr", PRESET), ("b.zarr", FitSettings(draws=1))):
        found, _ = made(path, fit, name, exclude_frames=[0, 2])
        np.testing.assert_array_equal(found[[0, 2]], frames_of()[[0, 2]])
        assert not np.array_equal(found[1], frames_of()[1])
