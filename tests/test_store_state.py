import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from store_tools import layout_of, random_pixels, sealed

from fm2s_stack.errors import OutputError, OutputExists, OutputIncomplete
from fm2s_stack.store import attributes as state
from fm2s_stack.store.files import replacing

VERSIONS = ("0.4", "0.5")
SHAPE = (4, 2, 1, 16, 16)


@pytest.fixture(params=VERSIONS)
def output(request, tmp_path):
    layout = layout_of(tmp_path / "o.zarr", SHAPE, "uint16", axes="tcyx", version=request.param)
    layout.create({"seed": 7})
    return tmp_path / "o.zarr"


def test_status_tells_what_stands_at_a_path(tmp_path, output):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.zarr").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    zarr.create_array(str(tmp_path / "plain"), shape=(2,), dtype="u1")
    zarr.create_group(str(tmp_path / "old"), zarr_format=2, attributes={"multiscales": []})
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "zarr.json").write_text("{")
    found = {
        name: state.output_status(tmp_path / name)
        for name in ("none", "empty", "file.zarr", "folder", "plain", "old", "torn", "o.zarr")
    }
    assert found == {
        "none": "absent", "empty": "empty", "file.zarr": "foreign", "folder": "foreign",
        "plain": "foreign", "old": "foreign", "torn": "foreign", "o.zarr": "incomplete",
    }  # fmt: skip
    state.seal(output, {})
    assert state.output_status(output) == "complete"


def test_attributes_change_and_everything_else_stays(output):
    before = dict(zarr.open_group(str(output), mode="r").attrs)
    state.set_attributes(output, seed=8, timings={"fit": np.float32(1.5)}, note=float("nan"))
    after = dict(zarr.open_group(str(output), mode="r").attrs)
    changed = {"seed": 8, "timings": {"fit": 1.5}, "note": None}
    assert after == {**before, "fm2s_stack": {**before["fm2s_stack"], **changed}}
    assert state.read_attributes(output) == after["fm2s_stack"]
    assert not list(output.glob("*.partial*")) + list(output.glob(".*.partial*"))


def test_the_seal_sets_the_display_range_with_the_status(output):
    state.seal(output, {"clipped": 3}, windows=[(10, 200.5), (5, 5)])
    attributes = dict(zarr.open_group(str(output), mode="r").attrs)
    assert attributes["fm2s_stack"]["status"] == "complete"
    assert attributes["fm2s_stack"]["clipped"] == 3
    channels = attributes.get("ome", attributes)["omero"]["channels"]
    assert channels[0]["window"] == {"min": 0, "max": 65535, "start": 10, "end": 200.5}
    assert channels[1]["window"]["start"] < channels[1]["window"]["end"]


def test_a_change_that_cannot_be_written_leaves_the_old_file(output, monkeypatch):
    files = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        state.seal(output, {})
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == files


def test_an_unsealed_output_is_refused_by_name(output):
    with pytest.raises(OutputIncomplete, match=re.escape(str(output))) as refused:
        state.require_complete(output)
    assert "continues it" in str(refused.value)
    state.seal(output, {})
    state.require_complete(output)


def test_a_zarr_of_others_is_not_read_or_changed_as_ours(tmp_path):
    zarr.create_group(str(tmp_path / "g"), attributes={"mine": 1})
    with pytest.raises(OutputError, match="did not write"):
        state.read_attributes(tmp_path / "g")
    with pytest.raises(OutputError, match="did not write"):
        state.set_attributes(tmp_path / "g", status="complete")
    assert dict(zarr.open_group(str(tmp_path / "g"), mode="r").attrs) == {"mine": 1}


@pytest.mark.parametrize("kind", ["ours", "array", "group2", "empty", "torn"])
def test_overwriting_removes_any_zarr(tmp_path, kind):
    path = tmp_path / "o.zarr"
    if kind == "ours":
        sealed(path, random_pixels(SHAPE, "uint16"), axes="tcyx")
    elif kind == "array":
        zarr.create_array(str(path), data=np.ones(5), zarr_format=2)
    elif kind == "group2":
        zarr.create_group(str(path), zarr_format=2).create_array("a", data=np.ones(3))
    else:
        path.mkdir()
        if kind == "torn":
            (path / "zarr.json").write_text("{")
    state.clear_output(path)
    assert not path.exists()
    state.clear_output(path)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_overwriting_spares_what_is_no_zarr(tmp_path, kind):
    path = tmp_path / "o.zarr"
    target = tmp_path / "real.zarr"
    sealed(target, random_pixels(SHAPE, "uint16"), axes="tcyx")
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("precious")
    else:
        path.symlink_to(target)
    with pytest.raises(OutputExists, match=re.escape(str(path))):
        state.clear_output(path)
    assert state.output_status(target) == "complete"
    if kind != "link":
        assert "precious" in (path if kind == "file" else path / "thesis.txt").read_text()


def test_a_removal_cut_short_reads_as_incomplete_and_can_go_on(tmp_path, monkeypatch):
    path = tmp_path / "o.zarr"
    sealed(path, random_pixels(SHAPE, "uint16"), axes="tcyx")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            state.clear_output(path)
    assert state.output_status(path) == "incomplete"
    state.clear_output(path)
    assert not path.exists()


def test_a_replaced_file_is_whole_or_untouched(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert target.read_text() == "old"
    with replacing(target) as temporary:
        temporary.write_text(json.dumps({"new": 1}))
        assert target.read_text() == "old"
    assert json.loads(target.read_text()) == {"new": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


HANGS = """
import sys, time
from pathlib import Path
from fm2s_stack.store.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def replace(target, text):
    with replacing(target) as temporary:
        temporary.write_text(text)


@pytest.fixture
def hanging():
    """Start processes that hang while they replace a file; all are killed in the end."""
    started = []

    def start(target):
        command = [sys.executable, "-c", HANGS, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, target.with_name(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only old files are removed")
def test_the_leftover_of_a_killed_writer_goes_with_the_next_success(tmp_path, hanging):
    (killed, leftover), (_, living) = hanging(tmp_path / "a.tif"), hanging(tmp_path / "a.tif")
    other, of_other = hanging(tmp_path / "a.b.tif")
    for process in (killed, other):
        process.send_signal(signal.SIGKILL)
        process.wait()
    week_ago = time.time() - 7 * 86400
    os.utime(living, (week_ago, week_ago))  # its process was halted for a week
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.tif"):
        raise RuntimeError
    assert not leftover.exists()  # it may be what fills the disk
    replace(tmp_path / "a.tif", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", living.name, of_other.name}


def test_the_leftover_of_another_host_goes_when_it_is_old(tmp_path):
    with replacing(tmp_path / "a.tif") as temporary:
        temporary.write_text("whole")
        place = re.search(r"[0-9a-f]{8}(?=-)", temporary.name)[0]
    elsewhere = place.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    far = tmp_path / temporary.name.replace(place, elsewhere)
    far.write_text("half")
    replace(tmp_path / "a.tif", "again")
    assert far.exists()
    two_days_ago = time.time() - 2 * 86400
    os.utime(far, (two_days_ago, two_days_ago))
    replace(tmp_path / "a.tif", "again")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_own_files_of_similar_names_are_not_swept(tmp_path):
    names = [".a.old.partial.tif", ".a.0-1-0.partial.tif", "a.01234567-1-012345.partial.tif"]
    for name in names:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    replace(tmp_path / "a.tif", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", *names}
