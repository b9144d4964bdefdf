"""Bruker recordings: structure, times and scale come from the Prairie XML."""

from __future__ import annotations

import pickle
import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fm2s_stack.errors import StackError, StackTruncated, StackUnreadable, UsageError
from fm2s_stack.stack.open import open_stack

RNG = np.random.default_rng(3)
SHARD_NEW = """<PVStateShard>
  <PVStateValue key="framePeriod" value="0.033"/>
  <PVStateValue key="micronsPerPixel"><IndexedValue index="XAxis" value="1.1"/>
    <IndexedValue index="YAxis" value="1.2"/><IndexedValue index="ZAxis" value="5"/></PVStateValue>
</PVStateShard>"""
SHARD_OLD = """<PVStateShard>
  <Key key="framePeriod" permissions="Read, Write, Save" value="0.033"/>
  <Key key="micronsPerPixel_XAxis" permissions="Read" value="1.1"/>
  <Key key="micronsPerPixel_YAxis" permissions="Read" value="1.2"/>
  <Key key="micronsPerPixel_ZAxis" permissions="Read" value="5"/>
</PVStateShard>"""
TIMED, ZSERIES, VOLUMES = "TSeries Timed Element", "ZSeries", "TSeries ZSeries Element"


def frame_xml(
    files: Sequence[tuple[str, int]], time: float, start: float, depth: float | None
) -> str:
    entries = "".join(
        f'<File channel="{c}" channelName="Ch{c}" page="{page}" filename="{name}"/>'
        for c, (name, page) in enumerate(files, 1)
    )
    z = (
        '<PVStateShard><PVStateValue key="positionCurrent"><SubindexedValues index="ZAxis">'
        f'<SubindexedValue subindex="0" value="{depth}"/>'
        '<SubindexedValue subindex="1" value="100"/>'
        "</SubindexedValues></PVStateValue></PVStateShard>"
        if depth is not None
        else ""
    )
    return (
        f'<Frame relativeTime="{time}" absoluteTime="{start + time}" index="1">{entries}'
        f'<ExtraParameters lastGoodFrame="0"/>{z}</Frame>'
    )


def record(
    folder: Path,
    kind: str,
    shape: tuple[int, int, int],
    *,
    shard: str = SHARD_NEW,
    depths: Sequence[Sequence[float]] | None = None,
    extra: str = "",
) -> np.ndarray:
    """A recording of (cycles, frames a cycle, channels), with OME-XML that lies."""
    cycles, frames, channels = shape
    pixels = RNG.integers(0, 8000, (*shape, 8, 9), dtype=np.uint16)
    body = ""
    for s in range(cycles):
        entries = ""
        for i in range(frames):
            files = []
            for c in range(channels):
                name = f"T-001_Cycle{s + 1:05d}_Ch{c + 1}_{i + 1:06d}.ome.tif"
                lie = f'<OME><Image><Pixels><UUID FileName="{name}0"/></Pixels></Image></OME>'
                tifffile.imwrite(folder / name, pixels[s, i, c], description=lie, metadata=None)
                files.append((name, 1))
            depth = depths[s][i] if depths else None
            entries += frame_xml(files, 0.033 * i, 10.0 * s + 2, depth)
        body += f'<Sequence type="{kind}" cycle="{s + 1}" {extra}>{entries}</Sequence>'
    head = '<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.4" date="1/2/2020">'
    text = f"{head}{shard}{body}</PVScan>"
    (folder / "T-001.xml").write_text(text)
    return pixels


def edit(folder: Path, old: str, new: str) -> None:
    xml = folder / "T-001.xml"
    assert old in xml.read_text()
    xml.write_text(xml.read_text().replace(old, new, 1))


@pytest.mark.parametrize("shard", [SHARD_NEW, SHARD_OLD], ids=["since 5", "before 5"])
def test_a_timed_series_has_its_pixels_times_and_scale(tmp_path, shard):
    pixels = record(tmp_path, TIMED, (1, 6, 2), shard=shard)
    stack = open_stack(tmp_path)
    assert stack.image.axes == "tcyx"
    np.testing.assert_array_equal(stack.array[:, :, 0].compute(), pixels[0])
    assert stack.image.channels == ("Ch1", "Ch2")
    assert stack.image.timestamps == pytest.approx([0.033 * i for i in range(6)])
    scale = stack.image.scale
    assert (scale.x, scale.y, scale.z, scale.t) == (1.1, 1.2, None, 0.033)
    assert stack.breaks == ()
    assert "framePeriod = 0.033" in stack.headers["Prairie View"]


def test_the_whole_xml_is_kept_byte_for_byte(tmp_path):
    record(tmp_path, TIMED, (1, 3, 1))
    xml = tmp_path / "T-001.xml"
    text = xml.read_text().replace('encoding="utf-8"', 'encoding="latin-1"') + "<!-- \xb5m -->\r\n"
    xml.write_bytes(text.encode("latin-1"))
    headers = open_stack(tmp_path).headers
    assert headers["T-001.xml"].encode("utf-8", "surrogateescape") == text.encode("latin-1")
    assert "framePeriod = 0.033" in headers["Prairie View"]


def test_a_long_xml_is_not_kept_nor_read_into_memory(tmp_path):
    record(tmp_path, TIMED, (1, 3, 1))
    line = " " * 999 + "\n"
    edit(tmp_path, "</PVScan>", line * 60_000 + "</PVScan>")
    tracemalloc.start()
    stack = open_stack(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(stack.headers) == ["Prairie View"]
    assert any("57 MB of text" in note for note in stack.notes)
    assert peak < 40e6


def test_the_xml_itself_opens_the_same_stack(tmp_path):
    record(tmp_path, TIMED, (1, 3, 1))
    assert open_stack(tmp_path / "T-001.xml").identity == open_stack(tmp_path).identity


def test_cycles_follow_each_other_with_a_break_at_each(tmp_path):
    pixels = record(tmp_path, TIMED, (3, 4, 1))
    stack = open_stack(tmp_path)
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), pixels.reshape(12, 8, 9))
    assert stack.breaks == (4, 8)
    assert stack.image.timestamps[4] == pytest.approx(10.0)
    assert stack.select(frames=(3, 9)).breaks == (1, 5)


def test_one_z_series_has_slices(tmp_path):
    pixels = record(tmp_path, ZSERIES, (1, 5, 1), depths=[[0, 2.5, 5, 7.5, 10]])
    stack = open_stack(tmp_path)
    assert stack.image.axes == "zyx"
    np.testing.assert_array_equal(stack.array[0, 0].compute(), pixels[0, :, 0])
    assert stack.image.scale.z == pytest.approx(2.5)


def test_a_series_of_volumes_has_frames_and_slices(tmp_path):
    pixels = record(tmp_path, VOLUMES, (3, 4, 2))
    stack = open_stack(tmp_path)
    assert stack.image.axes == "tczyx"
    np.testing.assert_array_equal(stack.array.compute(), pixels.transpose(0, 2, 1, 3, 4))
    assert stack.image.scale.z == 5
    assert stack.image.scale.t == pytest.approx(10)


def test_volumes_recorded_downwards_are_turned_to_the_first(tmp_path):
    up = [0.0, 5.0, 10.0]
    pixels = record(
        tmp_path, VOLUMES, (3, 3, 1), depths=[up, up[::-1], up], extra='bidirectionalZ="True"'
    )
    pixels[1] = pixels[1, ::-1]
    np.testing.assert_array_equal(open_stack(tmp_path).array[:, 0].compute(), pixels[:, :, 0])


def test_both_ways_without_positions_is_told(tmp_path):
    record(tmp_path, VOLUMES, (2, 3, 1), extra='bidirectionalZ="True"')
    assert any("both ways" in note for note in open_stack(tmp_path).notes)


def test_a_last_volume_cut_short_is_dropped_aloud_and_an_inner_one_refused(tmp_path):
    record(tmp_path, VOLUMES, (3, 3, 1))
    xml = (tmp_path / "T-001.xml").read_text()

    def without(name: str) -> str:
        return re.sub(rf"<Frame (?:(?!</Frame>).)*{name}.*?</Frame>", "", xml, flags=re.DOTALL)

    (tmp_path / "T-001.xml").write_text(without("Cycle00003_Ch1_000003"))
    stack = open_stack(tmp_path)
    assert stack.array.shape[:3] == (2, 1, 3)
    assert any("dropped the last volume" in note for note in stack.notes)
    (tmp_path / "T-001.xml").write_text(without("Cycle00002_Ch1_000002"))
    with pytest.raises(StackTruncated, match="cycle 2 has 2 slices"):
        open_stack(tmp_path)


def test_multi_page_files_are_read_by_page(tmp_path):
    pixels = RNG.integers(0, 8000, (6, 8, 9), dtype=np.uint16)
    for part in range(2):
        file = tmp_path / f"part{part}.ome.tif"
        tifffile.imwrite(file, pixels[3 * part : 3 * part + 3], metadata=None)
    frames = "".join(
        frame_xml([(f"part{i // 3}.ome.tif", i % 3 + 1)], 0.1 * i, 0, None) for i in range(6)
    )
    (tmp_path / "T-001.xml").write_text(
        f'<PVScan version="5.6">{SHARD_NEW}<Sequence type="{TIMED}">{frames}</Sequence></PVScan>'
    )
    stack = open_stack(tmp_path)
    np.testing.assert_array_equal(stack.array[:, 0, 0].compute(), pixels)
    assert stack.image.scale.t == pytest.approx(0.1)
    assert any("framePeriod" in note for note in stack.notes)


def test_a_missing_file_is_named_at_open(tmp_path):
    record(tmp_path, TIMED, (1, 4, 1))
    (tmp_path / "T-001_Cycle00001_Ch1_000003.ome.tif").unlink()
    with pytest.raises(StackTruncated, match="Ch1_000003"):
        open_stack(tmp_path)


def test_a_file_with_more_pages_than_the_xml_says_is_refused(tmp_path):
    pixels = record(tmp_path, TIMED, (1, 4, 1))
    file = tmp_path / "T-001_Cycle00001_Ch1_000003.ome.tif"
    tifffile.imwrite(file, pixels[0, :2, 0], metadata=None, photometric="minisblack")
    with pytest.raises(StackUnreadable, match="Ch1_000003"):
        open_stack(tmp_path).array.compute()


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/hosts", "..\\secret.tif", "", "C:x.tif"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    record(folder, TIMED, (1, 2, 1))
    (tmp_path / "secret.tif").write_bytes(
        (folder / "T-001_Cycle00001_Ch1_000001.ome.tif").read_bytes()
    )
    edit(folder, "T-001_Cycle00001_Ch1_000002.ome.tif", name)
    with pytest.raises(StackUnreadable, match="out of its folder"):
        open_stack(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<PVScan ", '<!DOCTYPE a [<!ENTITY b "c">]><PVScan ', "DOCTYPE"),
        ("<PVScan ", '<!-- <PVScan --><!DOCTYPE a [<!ENTITY b "c">]><PVScan ', "DOCTYPE"),
        ("</Sequence></PVScan>", "", "cut short"),
        ('page="1"', 'page="0"', "page '0'"),
        (TIMED, "Linescan", "line scan"),
        ("</PVScan>", f'<Sequence type="{ZSERIES}"><Frame/></Sequence></PVScan>', "mixes"),
        ('channel="1"', 'channel="3"', "channels"),
    ],
)
def test_xml_that_cannot_be_meant_is_refused_in_one_line(tmp_path, old, new, says):
    record(tmp_path, TIMED, (1, 3, 2))
    edit(tmp_path, old, new)
    with pytest.raises(StackError, match=says) as caught:
        open_stack(tmp_path)
    assert "\n" not in str(caught.value)


def test_axes_and_series_are_not_for_bruker(tmp_path):
    record(tmp_path, TIMED, (1, 2, 1))
    for options in ({"axes": "ZYX"}, {"series": 1}):
        with pytest.raises(UsageError):
            open_stack(tmp_path, **options)


def test_times_that_do_not_increase_are_left_out_aloud(tmp_path):
    record(tmp_path, TIMED, (1, 3, 1))
    xml = (tmp_path / "T-001.xml").read_text()
    (tmp_path / "T-001.xml").write_text(xml.replace("Time=", "NoTime="))
    stack = open_stack(tmp_path)
    assert stack.image.timestamps is None
    assert stack.image.scale.t == 0.033
    assert any("times" in note for note in stack.notes)


def test_the_stack_pickles(tmp_path):
    pixels = record(tmp_path, TIMED, (1, 3, 1))
    stack = pickle.loads(pickle.dumps(open_stack(tmp_path)))
    np.testing.assert_array_equal(stack.plane(2, 0, 0), pixels[0, 2, 0])
