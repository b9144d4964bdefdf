"""The texts that ImageJ keeps beside the ImageDescription: Info, and the labels of slices.

Fiji puts the metadata of the original file into Info. Both lie in the private tags 50838 (byte
counts) and 50839 (ij.io.TiffEncoder, ``writeMetaData``).
"""

from __future__ import annotations

import struct

from fm2s_stack.errors import StackError
from fm2s_stack.stack.ifd import Entry, TiffBytes

BYTE_COUNTS, METADATA = 50838, 50839
_INFO, _LABELS = b"info", b"labl"


def imagej_texts(tiff: TiffBytes, entries: dict[int, Entry]) -> dict[str, str]:
    """``ImageJ Info`` and ``ImageJ Labels``, a line a slice; empty where there are none.

    Damaged ones are left out: they say nothing about where pixels are.
    """
    if BYTE_COUNTS not in entries or METADATA not in entries:
        return {}
    try:
        counts = tiff.integers(entries[BYTE_COUNTS], "ImageJ byte counts").tolist()
        data = tiff.raw(entries[METADATA], "ImageJ metadata")
        found = _parts(data, counts, tiff.order)
    except (StackError, struct.error, UnicodeDecodeError, IndexError):
        return {}
    texts = {"ImageJ Info": found.get(_INFO), "ImageJ Labels": found.get(_LABELS)}
    return {name: "\n".join(lines) for name, lines in texts.items() if lines}


def _parts(data: bytes, counts: list[int], order: str) -> dict[bytes, list[str]]:
    """Texts by type: the header lists types and how many parts of each follow."""
    found: dict[bytes, list[str]] = {}
    encoding = "utf-16-be" if order == ">" else "utf-16-le"
    part, start = 1, counts[0]
    for place in range(4, counts[0], 8):
        kind, number = struct.unpack_from(f"{order}4sI", data, place)
        kind = kind if order == ">" else kind[::-1]
        for count in counts[part : part + number]:
            if kind in (_INFO, _LABELS):
                text = data[start : start + count].decode(encoding)
                found.setdefault(kind, []).append(text)
            start += count
        part += number
    return found
