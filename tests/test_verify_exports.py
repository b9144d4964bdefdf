"""`fm2s-stack verify` checks a TIFF to the last byte, and a PNG by its own checksums."""

from __future__ import annotations

import json

import numpy as np
import tifffile
from PIL import Image
from verify_tools import (
    output_of,
)

from fm2s_stack.check.verify import verify_output


def test_a_tiff_is_checked_to_the_last_byte(movie, tmp_path):
    out = output_of(movie, tmp_path / "out.tif")
    assert verify_output(out).is_good
    pixels, content = tifffile.imread(out), out.read_bytes()
    assert pixels.shape == (12, 48, 48)
    rng = np.random.default_rng(2)
    for place_in_file in [*rng.integers(len(content), size=60), 3, 8, len(content) - 1]:
        damaged = bytearray(content)
        damaged[place_in_file] ^= 1 << int(rng.integers(8))
        out.write_bytes(damaged)
        assert not verify_output(out).is_good, place_in_file
    out.write_bytes(content[:-1])
    assert not verify_output(out).is_good
    out.write_bytes(content)
    found = verify_output(out, movie)
    assert found.is_good
    assert "no networks" in found.source.skipped


def test_a_tiff_without_a_checksum_is_told_to_be_unchecked(movie, tmp_path, call):
    """As an earlier version wrote them: neither terms nor a checksum."""
    out = tmp_path / "old.tif"
    note = json.dumps({"status": "complete", "pixel_version": 1})
    tifffile.imwrite(
        out, np.zeros((2, 8, 8), np.uint16), photometric="minisblack", ome=True,
        metadata={"axes": "TYX", "MapAnnotation": {"fm2s_stack": note}},
    )  # fmt: skip
    call("verify", out, "--quiet")
    assert "not checked: pixels" in call.out


def test_a_png_is_checked_by_its_own_checksums(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 250, (48, 48)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    out = output_of(tmp_path / "in.png", tmp_path / "out.png", mode="frame", chunks=None)
    assert verify_output(out).is_good
    content = out.read_bytes()
    for place_in_file in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[place_in_file] ^= 4
        out.write_bytes(damaged)
        assert not verify_output(out).is_good, place_in_file
