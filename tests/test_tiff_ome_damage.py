"""OME-TIFF whose files, pages or metadata are missing, damaged or lead astray."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile
from tiff_tools import opened, stack, write

from fm2s_stack.errors import (
    StackTruncated,
    StackUnreadable,
)

OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="6"
SizeZ="1" SizeC="1" SizeT="2" PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5">
<Channel ID="c" Name="GFP"/>
<TiffData FirstT="0" IFD="0" PlaneCount="1"><UUID FileName="{0}">urn:uuid:0</UUID></TiffData>
<TiffData FirstT="1" IFD="{2}" PlaneCount="1"><UUID FileName="{1}">urn:uuid:1</UUID></TiffData>
<Plane TheT="0" TheC="0" TheZ="0" DeltaT="0"/>
<Plane TheT="1" TheC="0" TheZ="0" DeltaT="250" DeltaTUnit="ms"/>
</Pixels></Image></OME>"""


def two_files(folder: Path, *, second: str = "b.ome.tif", page: int = 0) -> Path:
    xml = OME.format("a.ome.tif", second, page).encode()
    folder.mkdir(exist_ok=True)
    write(folder / "a.ome.tif", stack(6, 8), metadata=None, description=xml)
    write(folder / "b.ome.tif", stack(6, 8) + 100, metadata=None)
    return folder / "a.ome.tif"


def test_ome_metadata_is_carried_over_two_files(tmp_path: Path) -> None:
    found = opened(two_files(tmp_path / "in"))
    assert found.array[:, 0, 0, 0, 0].compute().tolist() == [0, 100]
    assert found.image.timestamps == (0.0, 0.25)
    assert (found.image.scale.x, found.image.scale.y) == (0.25, 0.5)
    assert found.image.scale.t == 0.25
    assert found.image.channels == ("GFP",)


def test_a_missing_ome_sibling_is_an_error_not_zeros(tmp_path: Path) -> None:
    path = two_files(tmp_path / "in")
    (tmp_path / "in" / "b.ome.tif").unlink()
    with pytest.raises(StackTruncated, match=r"a\.ome\.tif.*'b\.ome\.tif'.*not there"):
        opened(path)


def test_an_ome_sibling_without_the_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackTruncated, match=r"page 1 of b\.ome\.tif"):
        opened(two_files(tmp_path / "in", page=1))


@pytest.mark.parametrize(
    "name", ["../out.tif", "{out}", "sub/../../out.tif", "..\\\\out.tif", "link.tif", "C:out.tif"]
)
def test_an_ome_name_that_leads_out_of_the_folder_is_not_followed(
    tmp_path: Path, name: str
) -> None:
    out = write(tmp_path / "out.tif", stack(6, 8), metadata=None)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "link.tif").symlink_to(out)
    path = two_files(tmp_path / "in", second=name.format(out=out))
    with pytest.raises(StackUnreadable, match="leads out of its folder"):
        opened(path)


def test_an_ome_plane_without_a_page_is_an_error(tmp_path: Path) -> None:
    xml = OME.format("a.ome.tif", "a.ome.tif", 1).replace('SizeT="2"', 'SizeT="3"')
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for i in range(3):
            how = {"contiguous": False, "metadata": None, "photometric": "minisblack"}
            writer.write(stack(6, 8) + i, description=xml.encode() if i == 0 else None, **how)
    with pytest.raises(StackTruncated, match="1 planes have no page, first that of frame 2"):
        opened(path)
    found = opened(path, axes="TYX")
    assert found.array[:, 0, 0, 0, 0].compute().tolist() == [0, 1, 2]
    assert any("OME metadata is not used" in note for note in found.notes)


def test_a_renamed_ome_file_is_read_and_said(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.tif", stack(4, 6, 8), ome=True, metadata={"axes": "TYX"})
    (tmp_path / "a.ome.tif").rename(tmp_path / "other.ome.tif")
    assert opened(tmp_path / "other.ome.tif").array.shape[0] == 4
    old = OME.format("old.ome.tif", "old.ome.tif", 1)
    with tifffile.TiffWriter(tmp_path / "new.ome.tif") as writer:
        for i in range(2):
            how = {"contiguous": False, "metadata": None, "photometric": "minisblack"}
            writer.write(stack(6, 8) + i, description=old.encode() if i == 0 else None, **how)
    found = opened(tmp_path / "new.ome.tif")
    assert found.array.shape[0] == 2
    assert any("old.ome.tif" in note for note in found.notes)


@pytest.mark.parametrize(
    ("old", "new"),
    [("</OME>", "<OME>"), ("XYZCT", "XYZZT"), ('SizeT="2"', 'SizeT="-2"'), ('SizeT="2"', "")],
)
def test_damaged_ome_xml_is_refused(tmp_path: Path, old: str, new: str) -> None:
    xml = OME.format("a.ome.tif", "a.ome.tif", 0).replace(old, new)
    path = write(tmp_path / "a.ome.tif", stack(6, 8), metadata=None, description=xml.encode())
    with pytest.raises(StackUnreadable, match=r"a\.ome\.tif: its OME-XML is damaged"):
        opened(path)
