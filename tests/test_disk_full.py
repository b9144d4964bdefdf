"""Disks that are full, from any instant on, truly or by a limit of the size of files.

A run ends with one line and exit code 1, nothing looks whole that is not, and the same command
finishes once there is space, byte for byte as if nothing had been.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import only_line
from crash_tools import Server, content, words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a server, mounts a tmpfs")

QUICK = [("every", 1), ("tiff", 1)]
THOROUGH = [("every", 7), ("tiff", 7), ("stack", 5), ("frame", 5)]


def last_line(err: str) -> str:
    """The one line of the failure, which notes of progress may precede."""
    assert "Traceback" not in err, err
    return only_line(err.splitlines()[-1])


def looks_whole(folder: Path) -> bool:
    """Whether anybody could take the result for a finished one."""
    metadata = [folder / "out.zarr" / name for name in ("zarr.json", ".zattrs")]
    told = [file.read_text("utf-8") for file in metadata if file.exists()]
    return (folder / "out.tif").exists() or any('"status": "complete"' in text for text in told)


def finishes(server: Server, folder: Path, way: str, expected: dict) -> None:
    ended = server.run(folder, *words(way))
    assert ended.code == 0, ended.err
    found = content(folder)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def fill(server: Server, undisturbed, tmp_path: Path, way: str, count: int) -> None:
    expected = undisturbed(way)
    for instant in expected.instants(count):
        folder = expected.copy(tmp_path / "full")
        ended = server.run(folder, *words(way), at=instant, fault="full")
        if ended.code != 0:  # the last changes only remove
            assert ended.code == 1
            assert "No space left on device" in last_line(ended.err)
            # after the seal nothing but the removal of the journal is left
            assert not looks_whole(folder) or instant > 0.9 * expected.changes
        finishes(server, folder, way, expected.content)


@pytest.mark.parametrize(("way", "count"), QUICK)
def test_a_disk_that_fills_up_loses_nothing(server, undisturbed, tmp_path, way, count):
    fill(server, undisturbed, tmp_path, way, count)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "count"), THOROUGH)
def test_a_disk_that_is_full_from_any_change_on(server, undisturbed, tmp_path, way, count):
    fill(server, undisturbed, tmp_path, way, count)


@pytest.mark.parametrize(
    ("way", "bytes_", "named"),
    [
        ("stack", 3_000, "out.zarr.journal"),  # while the fit is journaled
        # while what is frozen is copied
        pytest.param("stack", 38_100, "journal", marks=pytest.mark.slow),
    ],
)
def test_a_limit_of_the_size_of_files_is_told(server, undisturbed, tmp_path, way, bytes_, named):
    expected = undisturbed(way)
    folder = expected.copy(tmp_path / "limited")
    ended = server.run(folder, *words(way), largest_file=bytes_)
    assert ended.code == 1
    line = last_line(ended.err)
    assert named in line
    assert "File too large" in line or "only part of" in line
    assert not looks_whole(folder)
    finishes(server, folder, way, expected.content)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a tmpfs can be mounted by root only")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave_free(disk: Path, bytes_: int) -> Path:
    """Fill a disk with a file but for so many bytes."""
    filler = disk.parent / "filler" if disk.is_file() else disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - bytes_))
    return filler


def test_a_disk_that_is_too_small_is_refused_before_the_fit(server, undisturbed, small_disk):
    folder = undisturbed("every").copy(small_disk / "work")
    filler = leave_free(small_disk, 8192)
    ended = server.run(folder, *words("every"))
    assert ended.code == 1
    line = only_line(ended.err)
    assert "MB are needed" in line
    assert "0.00 MB are free" in line
    assert sorted(path.name for path in folder.iterdir()) == ["movie.tif"]
    filler.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("left", [90_000, 250_000])
def test_a_run_on_a_full_tmpfs_goes_on_when_there_is_space(server, undisturbed, small_disk, left):
    expected = undisturbed("every")
    folder = expected.copy(small_disk / "work")
    filler = leave_free(small_disk, left)
    ended = server.run(folder, *words("every"))
    assert ended.code == 1
    assert "No space left on device" in last_line(ended.err)
    assert not looks_whole(folder)
    filler.unlink()
    finishes(server, folder, "every", expected.content)
