"""Outputs and journals that were moved, removed or damaged between runs or under them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import level, only_line
from crash_tools import Server, Undisturbed, content, done_once, journal_lines, untouched, words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a server, mounts a tmpfs")


def finishes(server: Server, folder: Path, way: str, expected: Undisturbed) -> None:
    ended = server.run(folder, *words(way))
    assert ended.code == 0, ended.err
    found = content(folder)
    assert found.keys() == expected.content.keys()
    assert [name for name in found if found[name] != expected.content[name]] == []


@pytest.fixture(scope="module")
def killed(server, undisturbed, tmp_path_factory) -> Path:
    """A folder with a run that was killed after it had journaled some of its units."""
    tmp_path = tmp_path_factory.mktemp("killed")
    expected = undisturbed("every")
    for instant in range(expected.changes * 6 // 10, expected.changes, 20):
        folder = expected.copy(tmp_path / "half")
        server.run(folder, *words("every"), at=instant)
        if 0 < len(units(folder)) < 4:
            return folder
    pytest.fail("no instant between the first unit and the last")


@pytest.fixture
def half(killed, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(killed, tmp_path / "half"))


def units(folder: Path) -> dict[str, tuple]:
    return {name: proof for name, proof in done_once(folder).items() if "unit" in name}


def test_garbage_in_a_journal_does_not_count(server, undisturbed, half):
    before = units(half)
    file = next(half.glob("*.journal/*.jsonl"))
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rpartition(b"\n")[2]
    forged = last.replace(b'"clipped":0', b'"clipped":7')
    assert forged != last
    lines = [forged, last[: len(last) // 2], b"\xff\x00garbage", b"", b"00000000 {}", b"{}"]
    (half / "out.zarr.journal" / "0-1-a.jsonl").write_bytes(b"\n".join(lines))
    (half / "out.zarr.journal" / "0-2-b.jsonl").write_bytes(b"")
    assert units(half).keys() == before.keys()
    finishes(server, half, "every", undisturbed("every"))


@pytest.mark.slow
def test_time_stamps_from_the_past_or_future_do_not_count(server, undisturbed, half):
    for number, path in enumerate(sorted(half.rglob("out.zarr*/**/*"))):
        os.utime(path, (4e9 * (number % 2),) * 2)
    before = units(half)
    assert before
    ended = server.run(half, *words("every"))
    assert ended.code == 0, ended.err
    assert untouched(half, before)
    assert f"{len(before)} of 4 units are done" in ended.err


@pytest.mark.slow
def test_an_output_renamed_with_its_journal_is_continued(server, undisturbed, half):
    done = len(units(half))
    (half / "out.zarr").rename(half / "new.zarr")
    (half / "out.zarr.journal").rename(half / "new.zarr.journal")
    before = units(half)
    ended = server.run(half, *(w.replace("out.zarr", "new.zarr") for w in words("every")))
    assert ended.code == 0, ended.err
    assert untouched(half, before)
    assert f"{done} of 4 units are done" in ended.err
    same_pixels(half / "new.zarr", undisturbed)


def test_an_output_renamed_without_its_journal_is_never_trusted(server, undisturbed, half):
    before = units(half)
    (half / "out.zarr").rename(half / "new.zarr")
    shutil.rmtree(half / "out.zarr.journal")
    for file in (half / "new.zarr" / "s0").rglob("c/*/*/*/*/*"):
        file.write_bytes(bytes(file.stat().st_size))  # of the right size, and zeros
    ended = server.run(half, *(w.replace("out.zarr", "new.zarr") for w in words("every")))
    assert ended.code == 0, ended.err
    assert not before.keys() & units(half).keys()
    same_pixels(half / "new.zarr", undisturbed)


def same_pixels(output: Path, undisturbed) -> None:
    expected = level(undisturbed("every").folder / "out.zarr")
    assert expected.any()
    assert (level(output) == expected).all()


@pytest.mark.parametrize("damage", ["flipped", pytest.param("gone", marks=pytest.mark.slow)])
@pytest.mark.parametrize("has_copy", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_damaged_networks_of_an_unfinished_output_are_never_used(
    server, undisturbed, half, damage, has_copy
):
    file = half / "out.zarr" / "fm2s_stack" / "weights" / "c" / "0" / "1" / "0" / "0"
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    if damage == "gone":
        file.unlink()
    if not has_copy:
        (half / "out.zarr.journal" / "frozen.zip").unlink()
        before = units(half)
        ended = server.run(half, *words("every"))
        assert ended.code == 1
        assert "--overwrite" in only_line(ended.err.splitlines()[-1])
        assert "Traceback" not in ended.err
        assert untouched(half, before)
        file.write_bytes(whole)
    finishes(server, half, "every", undisturbed("every"))


REMOVED = [
    pytest.param(name, count, marks=() if (name, count) == ("out.zarr", 1) else pytest.mark.slow)
    for name in ("out.zarr", "out.zarr.journal")
    for count in (1, 6)
]


@pytest.mark.parametrize(("name", "count"), REMOVED)
def test_what_is_removed_under_a_run_is_told(server, undisturbed, tmp_path, name, count):
    expected = undisturbed("every")
    # before that there is nothing to remove, or after it
    for instant in (i for i in expected.instants(count) if 40 < i < expected.changes - 12):
        folder = expected.copy(tmp_path / "removed")
        ended = server.run(folder, *words("every"), at=instant, fault=f"remove {name}")
        if ended.code == 0:  # a seal needs no journal
            assert name == "out.zarr.journal"
            assert content(folder).keys() == expected.content.keys()
        else:
            assert ended.code == 1
            assert "out.zarr" in only_line(ended.err.splitlines()[-1])
            assert "Traceback" not in ended.err
        finishes(server, folder, "every", expected)


def test_a_folder_of_the_name_of_the_journal_is_left_alone(server, undisturbed, tmp_path):
    expected = undisturbed("stack")
    folder = expected.copy(tmp_path / "diary")
    (folder / "out.zarr.journal" / "photos").mkdir(parents=True)
    (folder / "out.zarr.journal" / "photos" / "mouse.png").write_bytes(b"1")
    ended = server.run(folder, *words("stack"))
    assert ended.code == 1
    assert "out.zarr.journal is not a journal of fm2s-stack" in only_line(ended.err)
    shutil.copytree(expected.folder / "out.zarr", folder / "out.zarr")
    ended = server.run(folder, *words("stack"))
    assert ended.code == 0, ended.err
    assert (folder / "out.zarr.journal" / "photos" / "mouse.png").read_bytes() == b"1"


@pytest.mark.slow
def test_the_umask_holds_for_everything_that_is_written(server, undisturbed, tmp_path):
    folder = undisturbed("every").copy(tmp_path / "group")
    before = set(folder.rglob("*"))
    server.run(folder, *words("every"), at=340, umask=0o027)
    assert journal_lines(folder)
    modes = modes_of(set(folder.rglob("*")) - before)
    assert server.run(folder, *words("every"), umask=0o027).code == 0
    modes |= modes_of(set(folder.rglob("*")) - before)
    assert server.run(folder, *words("tiff"), umask=0o027).code == 0
    modes |= modes_of({folder / "out.tif"})
    assert modes == {(True, 0o750), (False, 0o640)}


def modes_of(paths: set[Path]) -> set[tuple[bool, int]]:
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in paths}


@pytest.fixture
def disk(tmp_path):
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a tmpfs can be mounted by root only")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_an_output_on_another_file_system_is_continued(server, undisturbed, tmp_path, disk):
    folder = undisturbed("every").copy(tmp_path / "here")
    there = [w.replace("out.zarr", str(disk / "new.zarr")) for w in words("every")]
    assert server.run(folder, *there, "--stop-after", "0.15s").code == 75
    ended = server.run(folder, *there)
    assert ended.code == 0, ended.err
    same_pixels(disk / "new.zarr", undisturbed)
    assert [path.name for path in disk.iterdir()] == ["new.zarr"]
    assert [path.name for path in folder.iterdir()] == ["movie.tif"]


def test_a_disk_that_is_read_only_is_refused_before_the_fit(server, undisturbed, disk):
    folder = undisturbed("every").copy(disk / "here")
    remount = ["mount", "-o", "remount,ro", str(disk)]
    if subprocess.run(remount, capture_output=True).returncode:
        pytest.skip("cannot be mounted again")
    ended = server.run(folder, *words("every"))
    assert ended.code == 1
    assert "cannot be written" in only_line(ended.err)
