import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from store_tools import SCALE, layout_of, random_pixels, sealed

from fm2s_stack.errors import OutputError, OutputExists, OutputIncomplete
from fm2s_stack.image import CANONICAL_AXES, Image
from fm2s_stack.store import export
from fm2s_stack.store.attributes import read_attributes

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.tuples(
        st.integers(2, 9), st.integers(2, 3), st.integers(2, 9), st.integers(1, 19),
        st.integers(2, 19),
    ),
    axes=st.sampled_from(["tczyx", "tyx", "zyx", "yx", "czyx", "tcyx", "tzyx", "cyx"]),
    version=st.sampled_from(["0.4", "0.5"]),
)  # fmt: skip
def test_an_ome_tiff_has_the_axes_and_pixels_of_the_output(
    tmp_path_factory, lengths, axes, version
):
    folder = tmp_path_factory.mktemp("tif")
    shape = tuple(n if a in axes else 1 for n, a in zip(lengths, CANONICAL_AXES, strict=True))
    pixels = random_pixels(shape, "uint16")
    sealed(folder / "o.zarr", pixels, axes=axes, version=version, zyx=True)
    export.export_tiff(folder / "o.zarr", folder / "o.ome.tif")
    real = [n for n, a in zip(shape, CANONICAL_AXES, strict=True) if a in axes]
    with tifffile.TiffFile(folder / "o.ome.tif") as tif:
        assert tif.is_ome and tif.is_bigtiff and len(tif.series) == 1
        series = tif.series[0]
        want = "".join(a for a, n in zip(axes, real, strict=True) if n > 1 or a in "yx").upper()
        assert series.axes == want
        np.testing.assert_array_equal(series.asarray(squeeze=False).ravel(), pixels.ravel())
        assert len(tif.pages) == np.prod(shape[:3])
        last = tif.pages[-1].asarray()
        np.testing.assert_array_equal(last.reshape(shape[3:]), pixels[-1, -1, -1])


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("uint8", "uint8"), ("int8", "int8"), ("uint16", "uint16"), ("int16", "int16"),
     ("uint32", "uint32"), ("int32", "int32"), ("float16", "float32"),
     ("float32", "float32"), ("float64", "float64")],
)  # fmt: skip
def test_every_dtype_is_exported(tmp_path, dtype, stored):
    pixels = random_pixels((5, 1, 1, 9, 7), dtype)
    sealed(tmp_path / "o.zarr", pixels, axes="tyx")
    export.export_tiff(tmp_path / "o.zarr", tmp_path / "o.tif")
    read = tifffile.imread(tmp_path / "o.tif")
    assert read.dtype == stored
    np.testing.assert_array_equal(read, pixels[:, 0, 0])


def ome_of(path):
    with tifffile.TiffFile(path) as tif:
        return ElementTree.fromstring(tif.ome_metadata)


def test_the_ome_xml_has_sizes_times_channels_and_provenance(tmp_path):
    pixels = random_pixels((3, 2, 1, 9, 7), "int16")
    names, times = ("GCaMP <6s> µ", "b\x00c"), (0.0, 0.1, 0.25)
    sealed(tmp_path / "o.zarr", pixels, axes="tcyx", scale=SCALE, channels=names,
           timestamps=times)  # fmt: skip
    export.export_tiff(tmp_path / "o.zarr", tmp_path / "o.tif")
    xml = ome_of(tmp_path / "o.tif")
    found = xml.find(f".//{OME}Pixels").attrib
    assert (found["PhysicalSizeX"], found["PhysicalSizeXUnit"]) == ("0.25", "µm")
    assert (found["PhysicalSizeY"], found["TimeIncrement"]) == ("0.5", "0.1")
    assert [c.attrib["Name"] for c in xml.iter(f"{OME}Channel")] == ["GCaMP <6s> µ", "b c"]
    planes = [p.attrib for p in xml.iter(f"{OME}Plane")]
    assert {(p["TheT"], float(p["DeltaT"])) for p in planes} == {
        ("0", 0.0), ("1", 0.1), ("2", 0.25),
    }  # fmt: skip
    assert len(planes) == 6
    told = json.loads(xml.find(f".//{OME}M[@K='fm2s_stack']").text)
    whole = read_attributes(tmp_path / "o.zarr")
    assert told == {key: value for key, value in whole.items() if key != "checksum"}
    assert told["status"] == "complete"


def test_what_is_unknown_is_left_out_of_the_ome_xml(tmp_path):
    sealed(tmp_path / "o.zarr", random_pixels((3, 1, 1, 9, 7), "uint8"), axes="tyx")
    export.export_tiff(tmp_path / "o.zarr", tmp_path / "o.tif")
    found = ome_of(tmp_path / "o.tif").find(f".//{OME}Pixels").attrib
    assert not [name for name in found if name.startswith(("Physical", "Time"))]


def test_a_large_tiff_has_room_for_every_page_without_writing_them(tmp_path):
    image = Image("tyx", (9000, 1, 1, 512, 512), np.dtype("uint16"))
    offset = export._write_empty_tiff(tmp_path / "big.tif", image, "{}")
    assert (tmp_path / "big.tif").stat().st_size > 2**32
    with tifffile.TiffFile(tmp_path / "big.tif") as tif:
        assert tif.series[0].shape == (9000, 512, 512)
        assert tif.pages[8999].dataoffsets[0] == offset + 8999 * 512 * 512 * 2


@pytest.mark.parametrize("write", [export.export_tiff, export.export_png])
def test_an_output_that_is_not_sealed_is_not_exported(tmp_path, write):
    layout_of(tmp_path / "o.zarr", (1, 1, 1, 9, 7), "uint8", axes="yx").create({})
    with pytest.raises(OutputIncomplete, match="incomplete"):
        write(tmp_path / "o.zarr", tmp_path / "o.any")
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


@pytest.mark.parametrize("write", [export.export_tiff, export.export_png])
def test_a_file_in_the_way_is_replaced_only_when_asked(tmp_path, write):
    sealed(tmp_path / "o.zarr", random_pixels((1, 1, 1, 9, 7), "uint8"), axes="yx")
    target = tmp_path / "o.any"
    target.write_text("precious")
    with pytest.raises(OutputExists, match=r"o\.any"):
        write(tmp_path / "o.zarr", target)
    assert target.read_text() == "precious"
    write(tmp_path / "o.zarr", target, overwrite=True)
    assert target.read_bytes()[:4] != b"prec"


@pytest.mark.parametrize("write", [export.export_tiff, export.export_png])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_missing_file_of_the_output_is_an_error_and_not_zeros(tmp_path, write, version):
    layout = sealed(tmp_path / "o.zarr", random_pixels((1, 1, 1, 19, 7), "uint8"), axes="yx",
                    version=version)  # fmt: skip
    key = "s0/c/0/0" if version == "0.5" else "s0/2/0"
    (tmp_path / "o.zarr" / key).unlink()
    with pytest.raises(OutputError, match=f"missing.*{key}"):
        write(layout.path, tmp_path / "o.any")
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


def test_damage_leaves_nothing_under_the_final_name(tmp_path):
    sealed(tmp_path / "o.zarr", random_pixels((9, 1, 1, 16, 16), "uint16"), axes="tyx")
    shard = tmp_path / "o.zarr/s0/c/2/0/0"
    content = bytearray(shard.read_bytes())
    content[50] ^= 1
    shard.write_bytes(content)
    with pytest.raises(OutputError, match="damaged"):
        export.export_tiff(tmp_path / "o.zarr", tmp_path / "o.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    sealed(tmp_path / "o.zarr", random_pixels((9, 1, 1, 16, 16), "uint16"), axes="tyx")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"o\.tif.*No space left"):
        export.export_tiff(tmp_path / "o.zarr", tmp_path / "o.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["o.zarr"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_png_has_the_pixels_and_the_provenance(tmp_path, dtype):
    pixels = random_pixels((1, 1, 1, 19, 7), dtype)
    sealed(tmp_path / "o.zarr", pixels, axes="yx")
    export.export_png(tmp_path / "o.zarr", tmp_path / "o.png")
    with Picture.open(tmp_path / "o.png") as picture:
        assert picture.mode == ("L" if dtype == "uint8" else "I;16")
        np.testing.assert_array_equal(np.asarray(picture), pixels[0, 0, 0])
        assert json.loads(picture.text["fm2s_stack"])["status"] == "complete"
    assert b"tEXtfm2s_stack" in (tmp_path / "o.png").read_bytes()


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "told"),
    [
        ((2, 1, 1, 9, 7), "tyx", "uint8", "one plane"),
        ((1, 1, 1, 9, 7), "yx", "float32", "float32"),
        ((1, 1, 1, 9, 7), "yx", "int16", "int16"),
    ],
)
def test_what_a_png_cannot_hold_is_refused_with_a_way_out(tmp_path, shape, axes, dtype, told):
    sealed(tmp_path / "o.zarr", random_pixels(shape, dtype), axes=axes)
    with pytest.raises(OutputError, match=f"{told}.*write .zarr or .tif"):
        export.export_png(tmp_path / "o.zarr", tmp_path / "o.png")
    assert not (tmp_path / "o.png").exists()
