"""The saved page table: a shortcut that never changes a pixel and never fails a run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fm2s_stack.errors import UsageError
from fm2s_stack.stack import table_cache
from fm2s_stack.stack.layout import axes_as_asked, extended, guessed_axes, page_numbers
from fm2s_stack.stack.page_table import scan
from fm2s_stack.stack.reader import OpenOptions, Recording
from fm2s_stack.stack.tiff import open_tiff

PAGES = 150


def opened(path: Path, cache: Path | None) -> Recording:
    return open_tiff([path], OpenOptions(cache_dir=cache))


def page_by_page(path: Path, first: int = 0) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for page in range(PAGES):
            frame = np.full((6, 5), first + page, np.uint16)
            text = f"frameTimestamps_sec = {page / 10}\nSI.hChannels.channelSave = [1;2]"
            how = {"contiguous": False, "metadata": None, "photometric": "minisblack"}
            writer.write(frame, description=text, **how)
    return path


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files whose directories were walked."""
    seen: list[Path] = []

    def counted(path: Path):
        seen.append(path)
        return scan(path)

    monkeypatch.setattr(table_cache, "scan", counted)
    yield seen


def assert_same(one: Recording, two: Recording) -> None:
    assert one.image == two.image
    assert one.identity.digest == two.identity.digest
    assert (one.format, one.notes, one.headers) == (two.format, two.notes, two.headers)
    np.testing.assert_array_equal(one.array.compute(), two.array.compute())


def test_a_second_opening_walks_no_directory_and_is_the_same(
    tmp_path: Path, walks: list[Path]
) -> None:
    path = page_by_page(tmp_path / "a.tif")
    first = opened(path, tmp_path / "cache")
    second = opened(path, tmp_path / "cache")
    assert walks == [path]
    assert_same(first, second)
    assert second.image.timestamps is not None and len(second.image.timestamps) == PAGES // 2
    copy = tmp_path / "b.tif"
    copy.write_bytes(path.read_bytes())
    assert opened(copy, tmp_path / "cache").identity.digest == first.identity.digest


def test_the_cache_lies_in_the_users_cache_folder(
    tmp_path: Path, walks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    opened(page_by_page(tmp_path / "a.tif"), None)
    assert [p.suffix for p in (tmp_path / "xdg" / "fm2s-stack").iterdir()] == [".npz"]


@pytest.mark.parametrize("change", ["touch", "rewrite", "grow"])
def test_a_changed_file_is_walked_again(tmp_path: Path, walks: list[Path], change: str) -> None:
    path, cache = page_by_page(tmp_path / "a.tif"), tmp_path / "cache"
    opened(path, cache)
    status = path.stat()
    if change == "touch":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "rewrite":
        page_by_page(path, first=1000)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    else:
        with path.open("ab") as file:
            file.write(b"x")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = opened(path, cache)
    assert len(walks) == 2
    expected = tifffile.imread(path)[::2]
    np.testing.assert_array_equal(found.array[:, 0, 0].compute(), expected)


@pytest.mark.parametrize("position", [0, 40, 700, -400, -1])
def test_a_flipped_byte_of_the_cache_never_changes_a_pixel(
    tmp_path: Path, walks: list[Path], position: int
) -> None:
    path, cache = page_by_page(tmp_path / "a.tif"), tmp_path / "cache"
    first = opened(path, cache)
    (saved,) = cache.iterdir()
    data = bytearray(saved.read_bytes())
    data[position] ^= 0x10
    saved.write_bytes(data)
    assert_same(first, opened(path, cache))
    assert len(walks) == 2
    opened(path, cache)
    assert len(walks) == 2, "the damaged table was not replaced"


@pytest.mark.parametrize("content", [b"", b"short", pickle.dumps({"a": 1}), bytes(4000)])
def test_a_foreign_file_in_place_of_the_cache_is_ignored(
    tmp_path: Path, walks: list[Path], content: bytes
) -> None:
    path, cache = page_by_page(tmp_path / "a.tif"), tmp_path / "cache"
    first = opened(path, cache)
    (saved,) = cache.iterdir()
    saved.write_bytes(content)
    assert_same(first, opened(path, cache))


def test_the_table_of_another_path_is_not_taken(tmp_path: Path, walks: list[Path]) -> None:
    one, two = page_by_page(tmp_path / "a.tif"), page_by_page(tmp_path / "b.tif", first=500)
    os.utime(two, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))
    cache = tmp_path / "cache"
    opened(one, cache)
    (saved,) = cache.iterdir()
    opened(two, cache)
    (other,) = set(cache.iterdir()) - {saved}
    other.write_bytes(saved.read_bytes())
    assert opened(two, cache).array[0, 0, 0, 0, 0].compute() == 500
    assert len(walks) == 3


def test_an_unwritable_cache_never_fails_a_run(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "a.tif")
    (tmp_path / "file").write_text("no folder")
    assert opened(path, tmp_path / "file" / "cache").array.shape[0] == PAGES // 2
    assert opened(path, Path("/proc/nothing")).array.shape[0] == PAGES // 2
    # A folder stands where the table should go.
    opened(path, tmp_path / "cache")
    (saved,) = (tmp_path / "cache").iterdir()
    saved.unlink()
    saved.mkdir()
    assert opened(path, tmp_path / "cache").array.shape[0] == PAGES // 2
    assert list((tmp_path / "cache").iterdir()) == [saved]


def test_a_few_pages_leave_no_file_behind(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 6, 5), np.uint16))
    opened(tmp_path / "a.tif", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@given(
    order=st.permutations("tcz"),
    lengths=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    used=st.integers(0, 3),
)
def test_page_numbers_count_in_stored_order(
    order: list[str], lengths: tuple[int, ...], used: int
) -> None:
    axes, sizes = "".join(order[:used]), lengths[:used]
    numbers = page_numbers(axes, sizes)
    assert numbers.shape == tuple(dict(zip(axes, sizes, strict=True)).get(a, 1) for a in "tcz")
    for page, index in enumerate(np.ndindex(*sizes)):
        at = dict(zip(axes, index, strict=True))
        assert numbers[at.get("t", 0), at.get("c", 0), at.get("z", 0)] == page


@pytest.mark.parametrize(
    ("given", "lengths", "axes"),
    [("q", (9,), "t"), ("qq", (9, 4), "tz"), ("qqq", (9, 4, 2), "tzc"), ("QC", (9, 2), "tc")],
)
def test_unnamed_axes_are_guessed_aloud(given: str, lengths: tuple[int, ...], axes: str) -> None:
    found, note = guessed_axes(given, lengths, "a.tif")
    assert found == axes
    assert "9 frames" in note and "--axes" in note


def test_named_axes_are_not_guessed() -> None:
    assert guessed_axes("TZ", (9, 4), "a.tif") == ("tz", "")
    assert guessed_axes("", (), "a.tif") == ("", "")
    with pytest.raises(UsageError, match=r"a\.tif.*--axes"):
        guessed_axes("qqqq", (2, 2, 2, 2), "a.tif")


def test_a_recording_over_several_files_goes_on_frame_by_frame() -> None:
    assert extended("tzc", (3, 4, 2), 40, "a.tif") == ("tzc", (5, 4, 2))
    assert extended("q", (3,), 40, "a.tif") == ("q", (40,))
    assert extended("zc", (4, 2), 40, "a.tif") == ("tzc", (5, 4, 2))
    assert extended("", (), 40, "a.tif") == ("", ())
    with pytest.raises(ValueError, match=r"a\.tif.*41 pages"):
        extended("tzc", (3, 4, 2), 41, "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif.*48 pages"):
        extended("ztc", (3, 4, 2), 48, "a.tif")


def test_asked_axes_take_the_known_or_the_flat_shape() -> None:
    assert axes_as_asked("CZYX", (4, 3), 12, (6, 5), "a.tif") == ("cz", (4, 3))
    assert axes_as_asked("tyx", (4, 3), 12, (6, 5), "a.tif") == ("t", (12,))
    assert axes_as_asked("YX", (), 1, (6, 5), "a.tif") == ("", ())
