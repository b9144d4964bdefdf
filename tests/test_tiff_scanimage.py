"""ScanImage interleaving, with headers written as ScanImage writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.errors import StackUnreadable
from fm2s_stack.stack.reader import OpenOptions, Recording
from fm2s_stack.stack.scanimage import Setup, interleaved
from fm2s_stack.stack.tiff import open_tiff


def opened(*paths: Path, **options) -> Recording:
    return open_tiff(list(paths), OpenOptions(**options))


def numbered(recording: Recording) -> np.ndarray:
    """Which stored page each (t, c, z) came from: page n is filled with n - 1000."""
    array = recording.array.compute(scheduler="synchronous")
    assert array.dtype == np.int16
    assert (array == array[..., :1, :1]).all()
    return array[..., 0, 0].astype(int) + 1000


def write(path: Path, pages: int, said: dict[str, str], *, first: int = 0, rois: int = 0) -> Path:
    software = "\n".join(f"SI.{key} = {value}" for key, value in said.items())
    artist = {"RoiGroups": {"imagingRoiGroup": {"rois": [{"name": "a"}] * rois}}}
    tags = [(305, 2, None, software, True), (315, 2, None, json.dumps(artist), True)]
    channels = said.get("hChannels.channelSave", "1").count(";") + 1
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for page in range(first, first + pages):
            frame = page // channels
            text = f"frameNumbers = {frame + 1}\nframeNumberAcquisition = {frame + 1}\n"
            text += f"frameTimestamps_sec = {0.5 + frame / 30:.6f}\n"
            writer.write(
                np.full((4, 6), page - 1000, np.int16), photometric="minisblack", metadata=None,
                contiguous=False, description=text, software=False, extratags=tags,
            )  # fmt: skip
    return path


TWO_CHANNELS = {
    "hChannels.channelSave": "[1;3]",
    "hChannels.channelName": "{'GCaMP' 'unused' 'tdTomato' 'Channel 4'}",
    "hFastZ.enable": "false",
    "hStackManager.enable": "false",
    "hStackManager.numSlices": "9",
    "hRoiManager.scanFrameRate": "30",
    "hRoiManager.imagingFovUm": "[-300 -200;300 -200;300 200;-300 200]",
}
VOLUMES = {
    "hChannels.channelSave": "[1;2]",
    "hFastZ.enable": "true",
    "hFastZ.discardFlybackFrames": "true",
    "hFastZ.numDiscardFlybackFrames": "1",
    "hStackManager.enable": "true",
    "hStackManager.numSlices": "3",
    "hStackManager.framesPerSlice": "1",
    "hStackManager.stackZStepSize": "-15",
    "hRoiManager.scanFrameRate": "30",
    "hRoiManager.scanVolumeRate": "7.5",
}


def test_channels_are_taken_apart_and_named(tmp_path: Path) -> None:
    found = opened(write(tmp_path / "a.tif", 20, TWO_CHANNELS))
    assert found.format == "ScanImage TIFF"
    assert found.image.axes == "tcyx"
    assert found.image.channels == ("GCaMP", "tdTomato")
    np.testing.assert_array_equal(numbered(found)[:, :, 0], np.arange(20).reshape(10, 2))
    assert found.image.timestamps == pytest.approx([0.5 + t / 30 for t in range(10)], abs=1e-6)
    scale = found.image.scale
    assert (scale.x, scale.y, scale.t) == pytest.approx((100, 100, 1 / 30))
    assert "channelSave" in found.headers["Software"]


def test_asked_axes_keep_what_still_holds_of_the_header(tmp_path: Path) -> None:
    one = {**TWO_CHANNELS, "hChannels.channelSave": "1"}
    path = write(tmp_path / "a.tif", 6, one)
    assert opened(path, axes="TYX").image == opened(path).image
    mixed = opened(write(tmp_path / "b.tif", 6, TWO_CHANNELS), axes="TYX").image
    assert (mixed.scale.x, mixed.scale.y) == pytest.approx((100, 100))
    assert (mixed.scale.t, mixed.channels, mixed.timestamps) == (None, (), None)


def test_flyback_frames_are_dropped_aloud(tmp_path: Path) -> None:
    found = opened(write(tmp_path / "a.tif", 5 * 4 * 2, VOLUMES))
    pages = np.arange(40).reshape(5, 4, 2)[:, :3].transpose(0, 2, 1)  # t, z + flyback, c
    assert found.image.axes == "tczyx"
    np.testing.assert_array_equal(numbered(found), pages)
    assert any("1 fly-back frame(s)" in note for note in found.notes)
    assert found.image.scale.z == 15
    assert found.image.scale.t == pytest.approx(1 / 7.5)
    assert found.image.timestamps == pytest.approx([0.5 + 4 * t / 30 for t in range(5)], abs=1e-6)


@pytest.mark.parametrize("extra", [1, 2, 7])
def test_an_incomplete_last_volume_is_dropped_aloud(tmp_path: Path, extra: int) -> None:
    found = opened(write(tmp_path / "a.tif", 5 * 8 + extra, VOLUMES))
    assert found.array.shape[0] == 5
    assert any(f"incomplete: its {extra} page(s)" in note for note in found.notes)


def test_an_odd_page_of_two_channels_is_dropped_aloud(tmp_path: Path) -> None:
    found = opened(write(tmp_path / "a.tif", 21, TWO_CHANNELS))
    assert found.array.shape[:3] == (10, 2, 1)
    assert any("last frame is incomplete: its 1 page(s)" in note for note in found.notes)


def test_a_slow_stack_has_the_frames_of_a_slice_together(tmp_path: Path) -> None:
    slow = VOLUMES | {"hFastZ.enable": "false", "hStackManager.stackMode": "'slow'"}
    slow |= {"hStackManager.framesPerSlice": "10", "hScan2D.logAverageFactor": "2"}
    found = opened(write(tmp_path / "a.tif", 3 * 5 * 2, slow))
    expected = np.arange(30).reshape(3, 5, 2).transpose(1, 2, 0)  # z, t, c
    np.testing.assert_array_equal(numbered(found), expected)
    stopped = opened(write(tmp_path / "b.tif", 2 * 5 * 2, slow))
    np.testing.assert_array_equal(numbered(stopped), expected[:, :, :2])
    assert any("stopped after 2 of 3 slices" in note for note in stopped.notes)


def test_interleaving_goes_on_over_files_that_break_inside_a_volume(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / "a.tif", 14, VOLUMES),
        write(tmp_path / "b.tif", 14, VOLUMES, first=14),
        write(tmp_path / "c.tif", 12, VOLUMES, first=28),
    ]
    found = opened(*parts)
    pages = np.arange(40).reshape(5, 4, 2)[:, :3].transpose(0, 2, 1)
    np.testing.assert_array_equal(numbered(found), pages)
    # Page 14 is the fly-back of volume 1, page 28 the third slice of volume 3.
    assert found.breaks == (2, 3)
    with pytest.raises(StackUnreadable, match=r"b\.tif.*frame 8 .*inside a volume of 4"):
        opened(parts[1])


def test_files_with_other_channels_are_refused_by_name(tmp_path: Path) -> None:
    one = write(tmp_path / "a.tif", 8, TWO_CHANNELS)
    odd = write(tmp_path / "odd.tif", 8, TWO_CHANNELS | {"hChannels.channelSave": "1"})
    with pytest.raises(StackUnreadable, match=r"odd\.tif.*GCaMP"):
        opened(one, odd)


def test_several_regions_of_interest_are_refused_unless_axes_are_given(tmp_path: Path) -> None:
    said = TWO_CHANNELS | {"hRoiManager.mroiEnable": "1"}
    path = write(tmp_path / "a.tif", 8, said, rois=3)
    with pytest.raises(StackUnreadable, match=r"a\.tif.*3 regions of interest.*--axes TYX"):
        opened(path)
    np.testing.assert_array_equal(numbered(opened(path, axes="TYX"))[:, 0, 0], np.arange(8))
    assert opened(write(tmp_path / "b.tif", 8, said, rois=1)).array.shape[:2] == (4, 2)


def test_a_header_in_json_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", 12, {})
    header = {"SI": {"hChannels": {"channelSave": [[1], [2]]}, "hFastZ": {"enable": False}}}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for page in range(12):
            writer.write(
                np.full((4, 6), page - 1000, np.int16), photometric="minisblack", metadata=None,
                contiguous=False, software=json.dumps(header), description="SI.a=1",
            )  # fmt: skip
    np.testing.assert_array_equal(numbered(opened(path))[:, :, 0], np.arange(12).reshape(6, 2))


def test_scanimage_3_channels_and_slices(tmp_path: Path) -> None:
    said = ["state.configPath='C:'", "state.acq.savingChannel1=1", "state.acq.savingChannel2=1"]
    said += ["state.acq.numberOfChannelsSave=2", "state.acq.numberOfZSlices=3"]
    said += ["state.acq.numberOfFrames=2", "state.acq.averaging=0", "state.acq.zStepSize=2.5"]
    for pages, shape in ((12, (2, 2, 3)), (10, (5, 2, 1))):
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for page in range(pages):
                writer.write(
                    np.full((4, 6), page - 1000, np.int16), photometric="minisblack",
                    metadata=None, contiguous=False, description="\r".join(said),
                )  # fmt: skip
        found = opened(tmp_path / "a.tif")
        assert found.array.shape[:3] == shape
        assert any("taken as frames" in note for note in found.notes) == (pages == 10)
    assert found.image.channels == ("Channel 1", "Channel 2")


@given(
    channels=st.integers(1, 3),
    slices=st.integers(1, 4),
    frames=st.integers(1, 3),
    flyback=st.integers(0, 2),
    volumes=st.integers(1, 3),
    extra=st.integers(0, 40),
)
def test_interleaving_is_that_of_a_counter(
    channels: int, slices: int, frames: int, flyback: int, volumes: int, extra: int
) -> None:
    setup = Setup(tuple("abc"[:channels]), slices, frames, flyback)
    extra %= setup.volume * channels
    oracle = {}
    page = 0
    for volume in range(volumes):
        for z in range(slices):
            for frame in range(frames):
                for c in range(channels):
                    oracle[volume * frames + frame, c, z] = page
                    page += 1
        page += flyback * channels
    numbers, notes = interleaved(setup, page + extra)
    assert numbers.shape == (volumes * frames, channels, slices)
    assert {key: numbers[key] for key in oracle} == oracle
    assert len(notes) == (flyback > 0) + (extra > 0)
