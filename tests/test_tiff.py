"""Real TIFF files, against tifffile reading the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiff_tools import opened, pixels

from fm2s_stack.errors import (
    UnsupportedPixels,
    UsageError,
)

GREY = {
    "tiff/two_photon_movie.tif": "tyx",
    "tiff/scanimage3_movie.tif": "tyx",
    "tiff/scanimage_int16_negative.tif": "zyx",
    "tiff/imagej_z5_bigendian.tif": "tyx",
    "tiff/ome/4D-series.ome.tif": "tzyx",
    "tiff/ome/multi-channel-time-series.ome.tif": "tcyx",
    "tiff/ome/multi-channel-z-series.ome.tif": "czyx",
    "tiff/ome/multi-channel.ome.tif": "cyx",
    "tiff/ome/single-channel.ome.tif": "yx",
    "tiff/ome/time-series.ome.tif": "tyx",
    "tiff/ome/z-series.ome.tif": "zyx",
    "tiff/ome/master/multifile-Z1.ome.tiff": "zyx",
    "tiff/codecs/gradient-1c-64b-float.tiff": "yx",
    "tiff/codecs/int16.tif": "yx",
    "tiff/codecs/int16_zstd.tif": "yx",
    "tiff/codecs/minisblack-1c-16b.tiff": "yx",
    "tiff/codecs/predictor-3-gray-f32.tif": "yx",
    "tiff/codecs/random-fp16.tiff": "yx",
}
COLOUR = [
    *(f"tiff/codecs/bigtiff/BigTIFF{name}.tif" for name in ("", "Long", "Motorola")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("deflate", "lzw", "lzw_12bps", "lzw_14bps")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("lzw_tiled", "multi_size", "uncompressed")),
    *(f"tiff/codecs/shapes_{name}.tif" for name in ("uncompressed_half", "zstd")),
]
ELSEWHERE = {
    "tiff/ome/181003_multi_pos_time_course_1_MMStack.ome.tif",
    *(f"tiff/ome/master/multifile-Z{n}.ome.tiff" for n in range(2, 6)),
    *(f"tiff/ome/companion/multifile-Z{n}.ome.tiff" for n in range(1, 6)),
}


def test_every_tiff_of_the_data_folder_is_tested(data: Path) -> None:
    there = {str(p.relative_to(data)) for p in (data / "tiff").rglob("*.tif*")}
    assert there == set(GREY) | set(COLOUR) | ELSEWHERE


@pytest.mark.parametrize("name", GREY)
def test_a_real_file_reads_as_tifffile_reads_it(data: Path, name: str) -> None:
    found = opened(data / name)
    with tifffile.TiffFile(data / name) as tiff:
        expected = tiff.series[0].asarray()
    assert found.image.axes == GREY[name]
    assert found.image.dtype == expected.dtype
    assert found.image.real_shape == (expected.shape if expected.ndim > 2 else expected.shape[-2:])
    np.testing.assert_array_equal(pixels(found).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", COLOUR)
def test_a_real_colour_file_is_refused(data: Path, name: str) -> None:
    with pytest.raises(UnsupportedPixels, match=f"{Path(name).name}.*colour"):
        opened(data / name)


def test_a_micromanager_file_gives_one_position_a_series(data: Path) -> None:
    path = data / "tiff/ome/181003_multi_pos_time_course_1_MMStack.ome.tif"
    expected = tifffile.imread(path)  # axes TRYX
    for position in (0, 1):
        found = opened(path, series=position)
        assert found.image.axes == "tyx"
        np.testing.assert_array_equal(pixels(found)[:, 0, 0], expected[:, position])
        assert not any("positions" in note for note in found.notes)
    found = opened(path)
    np.testing.assert_array_equal(pixels(found)[:, 0, 0], expected[:, 0])
    assert any("2 series or positions" in note for note in found.notes)
    assert found.image.scale.x == pytest.approx(5.2304)
    assert found.image.scale.t == pytest.approx(5.0)
    assert found.image.channels == ("Default",)
    assert found.image.timestamps is not None
    assert found.image.timestamps[:2] == pytest.approx((1.348, 5.264))
    assert "PropVal" in found.headers["MicroManagerMetadata"]
    with pytest.raises(UsageError, match=r"--series 2.*2 series"):
        opened(path, series=2)


@pytest.mark.parametrize(
    "member",
    ["companion/multifile.companion.ome"]
    + [f"{kind}/multifile-Z{n}.ome.tiff" for kind in ("companion", "master") for n in (1, 2, 5)],
)
def test_any_member_of_a_multi_file_ome_opens_the_whole(data: Path, member: str) -> None:
    folder = (data / "tiff/ome" / member).parent
    expected = [
        tifffile.TiffFile(folder / f"multifile-Z{n}.ome.tiff").pages[0] for n in range(1, 6)
    ]
    found = opened(data / "tiff/ome" / member)
    assert found.image.axes == "zyx"
    for z, page in enumerate(expected):
        np.testing.assert_array_equal(pixels(found)[0, 0, z], page.asarray())
    assert found.identity.digest == opened(folder / "multifile-Z3.ome.tiff").identity.digest


def test_all_members_given_in_any_number_are_one_recording(data: Path) -> None:
    folder = data / "tiff/ome/companion"
    files = sorted(folder.glob("*.tiff"))
    np.testing.assert_array_equal(pixels(opened(*files)), pixels(opened(files[0])))
