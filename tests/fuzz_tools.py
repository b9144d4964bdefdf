"""Damage to the files of an input, made from a number: the same number, the same damage.

A mutant is a copy of a seed's folder with one to three changes: bytes flipped, zeroed, inserted,
cut off or swapped; tags of a TIFF (tag, type, count, value, the pointer to the next directory);
keys and values of JSON; files deleted, emptied or exchanged.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
JSON_VALUES = (
    *(0, -1, 1, 2, 3, 5, 100, 4096, 10**6, 10**9, 10**12, 2**64, 1e308, 0.5, -2.5),
    *(True, None, "", "x", "0", "s0", "..", "../../x", "/tmp", "\0", [], {}, [1], ["t"], {"a": 1}),
    *("uint8", "int16", "float32", "float64", "<u2", ">u2", "|u1", "zstd", "bytes", "big"),
)
TAGS = (254, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325)
TAGS = (*TAGS, 338, 339, 32997, 33628, 33629, 42113, 50838, 50839, 51123)

Random = np.random.Generator
Mutation = Callable[[Path, Random], None]


def mutate(seed: Path, number: int, target: Path) -> list[str]:
    """Make mutant `number` of the seed in the folder `target`; returns what was done."""
    rng = np.random.default_rng([zlib.crc32(seed.name.encode()), number])
    shutil.copytree(seed, target)
    done = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        files = sorted(path for path in target.rglob("*") if path.is_file())
        if not files:
            break
        file = _one_of(rng, _favoured(files, rng))
        mutation = _one_of(rng, _mutations(file))
        mutation(file, rng)
        done.append(f"{mutation.__name__} {file.relative_to(target)}")
    return done


def _favoured(files: list[Path], rng: Random) -> list[Path]:
    """Metadata as often as the rest, of which there are more files."""
    metadata = [file for file in files if file.name in METADATA or file.suffix == ".xml"]
    return metadata if metadata and rng.random() < 0.5 else files


def _mutations(file: Path) -> list[Mutation]:
    anywhere: list[Mutation] = [flip_bytes, zero_run, insert_run, truncate, swap_runs]
    if file.name in METADATA:
        return [*anywhere[:1], truncate, *[change_json] * 12]
    if file.suffix in (".tif", ".tiff"):
        return [*anywhere, *[change_tag] * 6, swap_tags, link_directory, change_text, change_text]
    if file.suffix in (".xml", ".ome"):
        return [flip_bytes, truncate, *[change_text] * 5]
    if ".zarr" in str(file):
        return [*anywhere, delete, empty, exchange, append]
    return anywhere


def _one_of(rng: Random, choices: list):
    return choices[int(rng.integers(len(choices)))]


def _run(rng: Random, size: int) -> tuple[int, int]:
    """Start and end of a run of bytes, short more often than long."""
    start = int(rng.integers(size)) if size else 0
    return start, min(size, start + int(rng.choice([1, 2, 4, 16, 64, 400])))


def flip_bytes(file: Path, rng: Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(int(rng.choice([1, 2, 8]))):
        if data:
            data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
    file.write_bytes(data)


def zero_run(file: Path, rng: Random) -> None:
    data = bytearray(file.read_bytes())
    start, end = _run(rng, len(data))
    data[start:end] = bytes(end - start)
    file.write_bytes(data)


def insert_run(file: Path, rng: Random) -> None:
    data = bytearray(file.read_bytes())
    start, end = _run(rng, len(data))
    data[start:start] = rng.bytes(end - start)
    file.write_bytes(data)


def truncate(file: Path, rng: Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * rng.random())])


def append(file: Path, rng: Random) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 100))))


def swap_runs(file: Path, rng: Random) -> None:
    data = bytearray(file.read_bytes())
    (a, a_end), (b, b_end) = sorted((_run(rng, len(data)), _run(rng, len(data))))
    length = min(a_end - a, b_end - b, b - a)
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    file.write_bytes(data)


def delete(file: Path, rng: Random) -> None:
    file.unlink()


def empty(file: Path, rng: Random) -> None:
    file.write_bytes(b"")


def exchange(file: Path, rng: Random) -> None:
    """The content of another file of the same folder."""
    others = sorted(path for path in file.parent.iterdir() if path.is_file())
    other = _one_of(rng, others)
    mine, its = file.read_bytes(), other.read_bytes()
    file.write_bytes(its)
    other.write_bytes(mine)


def change_text(file: Path, rng: Random) -> None:
    """A digit, a word or a quoted value of readable text, at the same length."""
    data = bytearray(file.read_bytes())
    words = list(re.finditer(rb"\d+|[A-Za-z]{2,}", bytes(data)))
    texts = [word for word in words if b"0" <= word[0][:1] <= b"9"] if rng.random() < 0.7 else words
    if texts:
        place = _one_of(rng, texts)
        choices = [b"9" * 99, b"0" * 99, b"-1" + b" " * 99, b"../" * 33, b"\0" * 99, b"\xff" * 99]
        other = _one_of(rng, [*choices, _one_of(rng, words)[0].ljust(len(place[0]))])
        data[place.start() : place.end()] = other[: len(place[0])].ljust(len(place[0]))
    file.write_bytes(data)


def _entries(file: Path) -> tuple[str, bool, list[tuple[int, int]], list[int], list[int]]:
    """Byte order, BigTIFF; (place, code) of each tag; directories; pointers to the next one."""
    try:
        with tifffile.TiffFile(file, is_ome=False) as tiff:
            big, order = tiff.is_bigtiff, tiff.byteorder
            pages = [tiff.pages[i] for i in range(len(tiff.pages))]
            tags = [(tag.offset, int(tag.code)) for page in pages for tag in page.tags]
            starts = [page.offset for page in pages]
            head, each = (8, 20) if big else (2, 12)
            nexts = [page.offset + head + each * len(page.tags) for page in pages]
            return order, big, tags, starts, nexts
    except Exception:  # damaged by an earlier change of the same mutant
        return "<", False, [], [], []


def _put(data: bytearray, place: int, number: int, size: int, order: str) -> None:
    kind = "little" if order == "<" else "big"
    if place + size <= len(data):
        data[place : place + size] = (number % 2 ** (8 * size)).to_bytes(size, kind)


def change_tag(file: Path, rng: Random) -> None:
    """The tag, type, count or value of a directory's entry."""
    order, big, tags, starts, _ = _entries(file)
    data = bytearray(file.read_bytes())
    if tags:
        place, _ = _one_of(rng, tags)
        word = 8 if big else 4
        number = _one_of(rng, [*NUMBERS, *starts, len(data), len(data) - 8, *range(4, 40)])
        what = int(rng.choice(5, p=[0.1, 0.15, 0.2, 0.3, 0.25]))
        if what == 0:
            _put(data, place, _one_of(rng, list(TAGS)), 2, order)
        elif what == 1:
            _put(data, place + 2, int(rng.integers(0, 20)), 2, order)
        elif what == 2:
            _put(data, place + 4, number, word, order)
        elif what == 3:
            _put(data, place + 4 + word, number, word, order)
        else:
            _put(data, place + 4 + word, number, 2, order)
    file.write_bytes(data)


def swap_tags(file: Path, rng: Random) -> None:
    """Two entries exchange their type, count and value."""
    _, big, tags, _, _ = _entries(file)
    data = bytearray(file.read_bytes())
    if tags:
        length = 18 if big else 10
        a, b = (_one_of(rng, tags)[0] + 2 for _ in range(2))
        mine, its = bytes(data[a : a + length]), bytes(data[b : b + length])
        if a != b:
            data[a : a + length], data[b : b + length] = its, mine
    file.write_bytes(data)


def link_directory(file: Path, rng: Random) -> None:
    """The pointer to the next directory: an earlier or later one, the end, or anywhere."""
    order, big, _, starts, nexts = _entries(file)
    data = bytearray(file.read_bytes())
    if nexts:
        anywhere = int(rng.integers(len(data)))
        other = _one_of(rng, [*starts, 0, anywhere, len(data) - 4, len(data) + 10])
        _put(data, _one_of(rng, nexts), other, 8 if big else 4, order)
    file.write_bytes(data)


def change_json(file: Path, rng: Random) -> None:
    """A value of the metadata replaced, dropped, renamed, doubled or exchanged with another."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except ValueError:
        return flip_bytes(file, rng)
    places = list(_places(document))
    if not places:
        return None
    holder, key = _one_of(rng, places)
    other, other_key = _one_of(rng, places)
    what = int(rng.choice(5, p=[0.5, 0.15, 0.1, 0.1, 0.15]))
    if what == 0:
        holder[key] = _one_of(rng, list(JSON_VALUES))
    elif what == 1:
        del holder[key]
    elif what == 2 and isinstance(holder, dict):
        holder[_one_of(rng, [*holder, "x"])] = holder.pop(key)
    elif what == 3 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key], other[other_key] = other[other_key], holder[key]
    try:
        file.write_text(json.dumps(document))
    except (ValueError, RecursionError):  # a value exchanged with one around it
        truncate(file, rng)
    return None


def _places(node: object):
    """(container, key) of every value of a JSON document."""
    items = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type]
    for key, value in list(items):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)
