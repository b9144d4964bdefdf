"""Names and links inside an input that lead out of its folder are refused, each with one line.

What the user names (a link as the input, a folder of links, a list file) may lead anywhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from tiff_tools import stack as numbered
from tiff_tools import write as write_tiff
from zarr_images import change, pixels_of, stored
from zarr_images import write as write_zarr

from fm2s_stack.errors import StackError, StackUnreadable
from fm2s_stack.stack.open import open_stack

OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="6"
SizeZ="1" SizeC="1" SizeT="2">
<TiffData FirstT="0" IFD="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:0</UUID></TiffData>
<TiffData FirstT="1" IFD="0" PlaneCount="1"><UUID FileName="{}">urn:uuid:1</UUID></TiffData>
</Pixels></Image></OME>"""
BINARY_ONLY = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<BinaryOnly MetadataFile="{}" UUID="urn:uuid:9"/></OME>'
)
PRAIRIE = (
    '<?xml version="1.0"?><PVScan version="5.4"><Sequence type="TSeries Timed Element">'
    '<Frame relativeTime="0"><File channel="1" page="1" filename="{}"/></Frame></Sequence></PVScan>'
)
LEADING_OUT = ["../out{0}", "{1}/out{0}", "sub/../../out{0}", "..\\out{0}", "C:\\out{0}", "c:o{0}"]


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The folder of an input; beside it lies what its names lead to."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    write_tiff(tmp_path / "out.tif", numbered(6, 8), metadata=None)
    write_zarr(tmp_path / "out.zarr", "tyx")
    return folder


def refused(path: Path, name: str = "") -> str:
    """The one line that refuses `path`, and names what leads out."""
    with pytest.raises(StackUnreadable) as caught:
        open_stack(path).array.compute(scheduler="synchronous")
    text = str(caught.value)
    assert "\n" not in text
    assert "out of" in text and name in text
    return text


def written(name: str, suffix: str, folder: Path) -> str:
    return name.format(suffix, folder.parent)


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_file_name_of_ome_xml(inside: Path, name: str) -> None:
    name = written(name, ".tif", inside)
    xml = OME.format(name).encode()
    write_tiff(inside / "a.ome.tif", numbered(6, 8), metadata=None, description=xml)
    refused(inside / "a.ome.tif", repr(name))


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_file_name_of_a_companion_file(inside: Path, name: str) -> None:
    name = written(name, ".tif", inside)
    (inside / "a.companion.ome").write_text(OME.format(name))
    write_tiff(inside / "a.ome.tif", numbered(6, 8), metadata=None)
    refused(inside / "a.companion.ome", repr(name))
    refused(inside, repr(name))


@pytest.mark.parametrize("name", [*LEADING_OUT, "../out.companion.ome"])
def test_the_metadata_file_of_a_member(inside: Path, name: str) -> None:
    (inside.parent / "out.companion.ome").write_text(OME.format("b.ome.tif"))
    name = written(name, ".tif", inside)
    xml = BINARY_ONLY.format(name).encode()
    write_tiff(inside / "a.ome.tif", numbered(6, 8), metadata=None, description=xml)
    refused(inside / "a.ome.tif", repr(name))


def test_a_link_that_ome_xml_names(inside: Path) -> None:
    (inside / "b.ome.tif").symlink_to(inside.parent / "out.tif")
    xml = OME.format("b.ome.tif").encode()
    write_tiff(inside / "a.ome.tif", numbered(6, 8), metadata=None, description=xml)
    refused(inside / "a.ome.tif", "'b.ome.tif'")


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_file_name_of_prairie_xml(inside: Path, name: str) -> None:
    name = written(name, ".tif", inside)
    (inside / "a.xml").write_text(PRAIRIE.format(name))
    refused(inside / "a.xml", repr(name))
    refused(inside, repr(name))


def test_a_link_that_prairie_xml_names(inside: Path) -> None:
    (inside / "a.xml").write_text(PRAIRIE.format("b.tif"))
    (inside / "b.tif").symlink_to(inside.parent / "out.tif")
    refused(inside / "a.xml", "b.tif")


@pytest.mark.parametrize("name", [*LEADING_OUT, "..", "s0/../../out{0}/s0"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_dataset_path_of_ome_zarr(inside: Path, version: str, name: str) -> None:
    name = written(name, ".zarr", inside)

    def leading_out(attributes: dict) -> None:
        ome = attributes.get("ome", attributes)
        ome["multiscales"][0]["datasets"][0]["path"] = name

    write_zarr(inside / "a.zarr", "tyx", version)
    change(inside / "a.zarr", leading_out)
    refused(inside / "a.zarr", repr(name))


def level(folder: Path) -> Path:
    return folder / "s0"


def chunks(folder: Path) -> Path:
    return folder / "s0" / "c" / "0"


def chunk(folder: Path) -> Path:
    return folder / "s0" / "c" / "1" / "0" / "0"


def metadata(folder: Path) -> Path:
    return folder / "s0" / "zarr.json"


def times(folder: Path) -> Path:
    return folder / "fm2s_stack"


@pytest.mark.parametrize("place", [level, chunks, chunk, metadata, times])
def test_a_link_in_ome_zarr(inside: Path, place: Callable[[Path], Path]) -> None:
    for folder in (inside.parent / "out.zarr", inside / "a.zarr"):
        write_zarr(folder, "tyx")
        change(folder, lambda a: a.update(fm2s_stack={"status": "complete"}))
        zarr.open_group(str(folder), mode="r+").create_array(
            "fm2s_stack/timestamps", data=np.array([0.0, 0.5, 1.25])
        )
    assert open_stack(inside / "a.zarr").image.timestamps == (0.0, 0.5, 1.25)
    linked = place(inside / "a.zarr")
    if linked.is_dir():
        shutil.rmtree(linked)
    else:
        linked.unlink()
    linked.symlink_to(place(inside.parent / "out.zarr"))
    refused(inside / "a.zarr", str(linked))


def test_a_link_in_a_plain_zarr_array(inside: Path) -> None:
    zarr.create_array(str(inside / "a.zarr"), data=stored("tyx"), dimension_names=("t", "y", "x"))
    (inside / "a.zarr" / "c").rename(inside.parent / "elsewhere")
    (inside / "a.zarr" / "c").symlink_to(inside.parent / "elsewhere")
    refused(inside / "a.zarr", str(inside / "a.zarr" / "c"))


@pytest.mark.parametrize("target", [".", "..", "loop"])
def test_a_link_that_goes_round_in_zarr_is_one_line(inside: Path, target: str) -> None:
    write_zarr(inside / "a.zarr", "tyx")
    (inside / "a.zarr" / "s0" / "loop").symlink_to(target)
    with pytest.raises(StackError, match="loop: a link") as caught:
        open_stack(inside / "a.zarr")
    assert "\n" not in str(caught.value)


def test_what_the_user_names_may_lead_anywhere(inside: Path) -> None:
    """An input that is a link, a folder of links, and a list file."""
    out = inside.parent / "out.tif"
    expected = tifffile.imread(out)
    (inside / "link.tif").symlink_to(out)
    np.testing.assert_array_equal(pixels_of(open_stack(inside / "link.tif"))[0, 0, 0], expected)
    (inside / "link.zarr").symlink_to(inside.parent / "out.zarr")
    np.testing.assert_array_equal(
        pixels_of(open_stack(inside / "link.zarr"))[:, 0, 0], stored("tyx")
    )
    for i in range(2):
        (inside / "sub" / f"{i}.tif").symlink_to(out)
    np.testing.assert_array_equal(pixels_of(open_stack(inside / "sub"))[1, 0, 0], expected)
    os.link(out, inside.parent / "other.tif")
    (inside / "list.txt").write_text(f"../out.tif\n{inside.parent / 'other.tif'}\n")
    np.testing.assert_array_equal(
        pixels_of(open_stack(inside / "list.txt"))[:, 0, 0], [expected, expected]
    )
