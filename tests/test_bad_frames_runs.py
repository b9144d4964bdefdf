"""Runs over recordings with frames that cannot be read, from the command line."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from bad_frame_tools import damage_page
from cli_tools import attributes, level, recording

from fm2s_stack import open_stack


@pytest.fixture
def damaged(tmp_path):
    """A movie of 12 frames of which 0, 5 and 6 cannot be read; beside it the same, whole."""
    recording(tmp_path / "whole.tif")
    path = recording(tmp_path / "movie.tif", compression="zlib")
    for page in (0, 5, 6):
        damage_page(path, page)
    return path


def repaired(path, chosen):
    """The whole movie with frames put in place of others by hand."""
    whole = tifffile.imread(path.parent / "whole.tif").astype(float)
    frames = np.stack([whole[i] if np.ndim(i) == 0 else i @ whole[[4, 7]].swapaxes(0, 1)
                       for i in chosen])  # fmt: skip
    fixed = path.parent / "fixed.tif"
    tifffile.imwrite(fixed, np.round(frames).astype(np.uint16), photometric="minisblack")
    return fixed


def test_a_bad_frame_stops_the_run_by_default_and_is_named(call, damaged, tmp_path):
    line = call.refused(damaged, tmp_path / "out.zarr")
    assert "frame 0: " in line
    assert "movie.tif" in line
    assert "--on-bad-frame" in line


@pytest.mark.parametrize("fit", [("--fit", "stack"), ("--fit", "frame"), ("--fit-every", 4)])
def test_previous_gives_what_a_movie_repaired_by_hand_gives(call, damaged, tmp_path, fit):
    fixed = repaired(damaged, [1, 1, 2, 3, 4, 4, 4, 7, 8, 9, 10, 11])
    call.denoise(fixed, tmp_path / "want.zarr", *fit)
    call.denoise(damaged, tmp_path / "out.zarr", *fit, "--on-bad-frame", "previous")
    for number in range(len(list((tmp_path / "want.zarr").glob("s*")))):
        np.testing.assert_array_equal(
            level(tmp_path / "out.zarr", number), level(tmp_path / "want.zarr", number)
        )
    assert "3 planes were bad and made up:" in call.err
    for line in ("frame 0 cannot be read", "frame 5 cannot be read", "frame 6 cannot be read"):
        assert line in call.err
    told = attributes(tmp_path / "out.zarr")
    assert told["settings"]["fit"]["on_bad_frame"] == "previous"
    assert told["bad_frames"]["count"] == 3
    rows = [(row["t"], row["c"], row["z"], row["made_of"]) for row in told["bad_frames"]["first"]]
    assert rows == [(0, 0, 0, [1]), (5, 0, 0, [4]), (6, 0, 0, [4])]
    assert str(tmp_path) not in str(told)
    assert attributes(tmp_path / "want.zarr")["bad_frames"] == {"count": 0, "first": []}
    assert "made up   3 planes" in call("info", tmp_path / "out.zarr").out


def test_interpolated_frames_lie_between_their_neighbours(call, damaged, tmp_path):
    middle = [np.array([2, 1]) / 3, np.array([1, 2]) / 3]
    fixed = repaired(damaged, [1, 1, 2, 3, 4, *middle, 7, 8, 9, 10, 11])
    call.denoise(fixed, tmp_path / "net.zarr")
    one_net = ("--fit-from", tmp_path / "net.zarr")
    call.denoise(damaged, tmp_path / "out.zarr", *one_net, "--on-bad-frame", "interpolate")
    np.testing.assert_array_equal(level(tmp_path / "out.zarr"), level(tmp_path / "net.zarr"))
    told = attributes(tmp_path / "out.zarr")
    assert told["settings"]["fit"]["on_bad_frame"] == "interpolate"
    assert [row["made_of"] for row in told["bad_frames"]["first"]] == [[1], [4, 7], [4, 7]]


def test_units_and_selections_cut_otherwise_give_the_same_pixels(
    call, damaged, tmp_path, monkeypatch
):
    how = ("--on-bad-frame", "interpolate")
    call.denoise(damaged, tmp_path / "net.zarr", *how)
    monkeypatch.setattr("fm2s_stack.plan.SHARD_PLANES", 2)
    monkeypatch.setattr("fm2s_stack.job.planning.SHARD_PLANES", 2)
    monkeypatch.setattr("fm2s_stack.stack.pages.BLOCK_BYTES", 3 * 48 * 48 * 2)
    how += ("--fit-from", tmp_path / "net.zarr", "--chunks", "2,48,48")
    call.denoise(damaged, tmp_path / "cut.zarr", *how)
    np.testing.assert_array_equal(level(tmp_path / "cut.zarr"), level(tmp_path / "net.zarr"))
    told = [attributes(tmp_path / name)["bad_frames"] for name in ("net.zarr", "cut.zarr")]
    assert told[0] == told[1]
    call.denoise(damaged, tmp_path / "part.zarr", *how, "--frames", "3:9")
    np.testing.assert_array_equal(level(tmp_path / "part.zarr"), level(tmp_path / "net.zarr")[3:9])


def test_only_the_plane_of_the_bad_channel_is_made_up(call, tmp_path):
    shape, how = (6, 2, 48, 48), {"imagej": True, "metadata": {"axes": "TCYX"}}
    path = recording(tmp_path / "two.tif", shape, compression="zlib", **how)
    call.denoise(path, tmp_path / "want.zarr")
    damage_page(path, 7)  # frame 3, channel 1
    assert open_stack(path).array.shape == (6, 2, 1, 48, 48)
    policy = ("--on-bad-frame", "previous", "--fit-from", tmp_path / "want.zarr")
    call.denoise(path, tmp_path / "out.zarr", *policy)
    got, want = level(tmp_path / "out.zarr"), level(tmp_path / "want.zarr")
    np.testing.assert_array_equal(got[:, 0], want[:, 0])
    np.testing.assert_array_equal(got[:, 1], want[[0, 1, 2, 2, 4, 5], 1])
    (row,) = attributes(tmp_path / "out.zarr")["bad_frames"]["first"]
    assert (row["t"], row["c"], row["z"], row["made_of"]) == (3, 1, 0, [2])


def test_a_recording_without_one_readable_frame_is_refused(call, tmp_path):
    path = recording(tmp_path / "movie.tif", (3, 48, 48), compression="zlib")
    for page in range(3):
        damage_page(path, page)
    line = call.refused(path, tmp_path / "out.zarr", "--on-bad-frame", "previous")
    assert "nor can any other frame" in line
