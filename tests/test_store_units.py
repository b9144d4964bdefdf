"""Units of an output: written side by side, written again, torn, and refused."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import zarr
from store_tools import (
    block_mean,
    box_of,
    layout_of,
    random_pixels,
    units_of,
    write_all,
)

from fm2s_stack.errors import OutputError
from fm2s_stack.plan import Unit
from fm2s_stack.store.files import sync_file

VERSIONS = ("0.4", "0.5")


def test_threads_may_write_all_units_at_once(tmp_path):
    pixels = random_pixels((40, 1, 1, 33, 31), "uint16")
    layout = layout_of(tmp_path / "o.zarr", pixels.shape, "uint16", axes="tyx", count=3)
    layout.create({})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda u: layout.write(u, box_of(pixels, u)), units_of(pixels.shape)))
    for k in range(3):
        stored = zarr.open_array(str(tmp_path / f"o.zarr/s{k}"), mode="r")[...]
        want = block_mean(pixels, (1, 1, 1, 2**k, 2**k)).reshape(stored.shape)
        np.testing.assert_array_equal(stored, want)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_unit_written_again_replaces_all_of_it(tmp_path, version):
    pixels = random_pixels((6, 1, 1, 9, 9), "uint16")
    layout = layout_of(tmp_path / "o.zarr", pixels.shape, "uint16", axes="tyx", version=version)
    write_all(layout, pixels)
    unit = units_of(pixels.shape)[0]
    layout.write(unit, np.zeros(unit.shape, dtype=np.uint16))
    stored = zarr.open_array(str(tmp_path / "o.zarr/s0"), mode="r")[...]
    assert not stored[:4].any()
    np.testing.assert_array_equal(stored[4:], pixels[4:, 0, 0])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_torn_file_is_no_obstacle_to_writing_it_again(tmp_path, version):
    pixels = random_pixels((6, 1, 1, 9, 9), "uint16")
    path = tmp_path / "o.zarr"
    layout = layout_of(path, pixels.shape, "uint16", axes="tyx", version=version)
    write_all(layout, pixels)
    for unit in units_of(pixels.shape):
        for key in layout.keys(unit):
            (path / key).write_bytes((path / key).read_bytes()[:20])
    with pytest.raises((ValueError, RuntimeError)):
        zarr.open_array(str(path / "s0"), mode="r")[...]
    for unit in units_of(pixels.shape):
        layout.write(unit, box_of(pixels, unit))
    np.testing.assert_array_equal(zarr.open_array(str(path / "s0"), mode="r")[...], pixels[:, 0, 0])


def test_a_flipped_bit_in_a_shard_is_an_error_and_not_a_pixel(tmp_path):
    pixels = random_pixels((4, 1, 1, 16, 16), "uint16")
    layout = write_all(layout_of(tmp_path / "o.zarr", pixels.shape, "uint16", axes="tyx"), pixels)
    shard = tmp_path / "o.zarr" / layout.keys(units_of(pixels.shape)[0])[0]
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(str(tmp_path / "o.zarr/s0"), mode="r")[...]


def test_removed_files_are_gone_and_can_be_flushed_once_written(tmp_path):
    pixels = random_pixels((4, 1, 1, 16, 16), "uint16")
    layout = write_all(layout_of(tmp_path / "o.zarr", pixels.shape, "uint16", axes="tyx"), pixels)
    [unit] = units_of(pixels.shape)
    layout.remove(unit)
    assert not [key for key in layout.keys(unit) if (tmp_path / "o.zarr" / key).exists()]
    for key in layout.write(unit, pixels):
        sync_file(tmp_path / "o.zarr" / key)


def test_a_unit_that_owns_half_a_file_is_refused(tmp_path):
    pixels = random_pixels((8, 1, 1, 16, 16), "uint16")
    layout = layout_of(tmp_path / "o.zarr", pixels.shape, "uint16", axes="tyx")
    layout.create({})
    half = Unit(0, (2, 6), 0, (0, 1), (0, 16), (0, 16))
    with pytest.raises(OutputError, match="whole files"):
        layout.write(half, pixels[2:6])
    assert not (tmp_path / "o.zarr/s0/c").exists()


@pytest.mark.parametrize("wrong", ["dtype", "shape"])
def test_pixels_that_do_not_fit_are_refused(tmp_path, wrong):
    layout = layout_of(tmp_path / "o.zarr", (4, 1, 1, 16, 16), "uint16", axes="tyx")
    layout.create({})
    pixels = np.zeros((4, 1, 1, 16, 16), "int16" if wrong == "dtype" else "uint16")
    [unit] = units_of(pixels.shape)
    with pytest.raises(OutputError, match=r"unit 0|uint16"):
        layout.write(unit, pixels if wrong == "dtype" else pixels[:3])


def test_shards_in_ome_zarr_04_are_refused(tmp_path):
    layout = layout_of(tmp_path / "o.zarr", (4, 1, 1, 16, 16), "uint16", axes="tyx")
    with pytest.raises(OutputError, match=r"0\.4"):
        replace(layout, version="0.4").create({})
