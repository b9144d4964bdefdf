import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr.utils import info
from store_tools import (
    SCALE,
    block_mean,
    box_of,
    ceil_div,
    layout_of,
    random_pixels,
    sealed,
    units_of,
    write_all,
)

from fm2s_stack.errors import OutputExists
from fm2s_stack.image import CANONICAL_AXES
from fm2s_stack.plan import Request, make_plan
from fm2s_stack.store.attributes import output_status
from fm2s_stack.store.ngff import read_image
from fm2s_stack.store.omezarr import OutputLayout

VERSIONS = ("0.4", "0.5")


def files_expected(level):
    sides = level.shard or level.chunk
    return math.prod(ceil_div(n, side) for n, side in zip(level.shape, sides, strict=True))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "dtype",
    "uint8 int8 uint16 int16 uint32 int32 float16 float32 float64".split(),  # noqa: SIM905
)
def test_every_dtype_reads_back_with_zarr_alone(tmp_path, version, dtype):
    pixels = random_pixels((5, 2, 1, 9, 7), dtype)
    write_all(layout_of(tmp_path / "o.zarr", pixels.shape, dtype, version=version), pixels)
    for k in range(2):
        stored = zarr.open_array(str(tmp_path / "o.zarr" / f"s{k}"), mode="r")
        assert stored.dtype == pixels.dtype
        want = block_mean(pixels, (1, 1, 1, 2**k, 2**k))
        np.testing.assert_allclose(stored[...], want, rtol=0 if k == 0 else 1e-3)
        if pixels.dtype.kind in "iu":
            np.testing.assert_array_equal(stored[...], want)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.tuples(
        st.integers(1, 6), st.integers(1, 2), st.integers(1, 6), st.integers(1, 13),
        st.integers(1, 13),
    ),
    axes=st.sampled_from(["tczyx", "tyx", "zyx", "yx", "czyx", "tcyx", "tzyx"]),
    version=st.sampled_from(VERSIONS),
    zyx=st.booleans(),
    zeros=st.booleans(),
)  # fmt: skip
def test_any_shape_comes_back_and_every_file_exists(
    tmp_path_factory, lengths, axes, version, zyx, zeros
):
    path = tmp_path_factory.mktemp("any") / "o.zarr"
    shape = tuple(n if a in axes else 1 for n, a in zip(lengths, CANONICAL_AXES, strict=True))
    pixels = random_pixels(shape, "uint16") * (0 if zeros else 1)
    layout = layout_of(path, shape, "uint16", axes=axes, version=version, count=3, zyx=zyx)
    layout.create({})
    keys = []
    for unit in units_of(shape):
        written = layout.write(unit, box_of(pixels, unit))
        assert written == layout.keys(unit)
        keys += written
    files = {
        p.relative_to(path).as_posix()
        for p in path.rglob("*")
        if p.is_file() and not p.name.startswith(".z") and p.name != "zarr.json"
    }
    assert files == set(keys) and len(keys) == len(set(keys))
    assert len(files) == sum(map(files_expected, layout.levels))
    for k, level in enumerate(layout.levels):
        stored = zarr.open_array(str(path / f"s{k}"), mode="r")
        real = [n for n, a in zip(level.shape, CANONICAL_AXES, strict=True) if a in axes]
        assert list(stored.shape) == real
        np.testing.assert_array_equal(
            stored[...], block_mean(pixels, level.factor).reshape(stored.shape)
        )


def test_nan_is_left_out_of_the_pyramid_and_infinity_is_not(tmp_path):
    pixels = random_pixels((1, 1, 2, 5, 6), "float32")
    pixels[0, 0, 0, :2, :2] = np.nan
    pixels[0, 0, 0, 2, 2] = np.nan
    pixels[0, 0, 1, 4, 5] = np.inf
    write_all(layout_of(tmp_path / "o.zarr", pixels.shape, "float32", axes="zyx"), pixels)
    level1 = zarr.open_array(str(tmp_path / "o.zarr/s1"), mode="r")[...]
    want = block_mean(pixels, (1, 1, 1, 2, 2)).reshape(level1.shape)
    np.testing.assert_allclose(level1, want, rtol=1e-6)
    assert np.isnan(level1[0, 0, 0]) and np.isinf(level1[1, 2, 2]) and np.isfinite(level1[0, 1, 1])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx", "tcyx", "tczyx"])
def test_the_output_validates_and_names_its_scale(tmp_path, version, axes):
    lengths = dict(zip(CANONICAL_AXES, (5, 2, 3, 12, 10), strict=True))
    shape = tuple(lengths[a] if a in axes else 1 for a in CANONICAL_AXES)
    path = tmp_path / "o.zarr"
    names = ("GCaMP", "tdTomato") if "c" in axes else ()
    options = {"axes": axes, "version": version, "scale": SCALE, "channels": names}
    sealed(path, random_pixels(shape, "uint16"), count=3, **options)

    model = ome_zarr_models.open_ome_zarr(zarr.open_group(str(path), mode="r"), version=version)
    yaozarrs.validate_zarr_store(path)
    [node] = info(str(path))
    assert tuple(node.data[0].shape) == tuple(lengths[a] for a in axes)

    attributes = model.attributes if version == "0.4" else model.attributes.ome
    [multiscale] = attributes.multiscales
    steps = {"t": 0.1, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    assert [(a.name, a.unit) for a in multiscale.axes] == [(a, units.get(a)) for a in axes]
    third = multiscale.datasets[2].coordinateTransformations
    assert third[0].scale == [steps[a] * (4 if a in "yx" else 1) for a in axes]
    assert third[1].translation == [steps[a] * (1.5 if a in "yx" else 0) for a in axes]
    omero = attributes.omero if version == "0.5" else attributes.omero.model_dump()
    assert [c["label"] for c in omero["channels"]] == list(names or ("Channel 0",))


def test_what_is_unknown_claims_no_unit(tmp_path):
    sealed(tmp_path / "o.zarr", random_pixels((3, 1, 1, 8, 8), "uint16"), axes="tyx")
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="r")
    [multiscale] = group.attrs["ome"]["multiscales"]
    assert [axis.get("unit") for axis in multiscale["axes"]] == [None] * 3
    assert read_image(tmp_path / "o.zarr").scale == replace(SCALE, z=None, y=None, x=None, t=None)


def test_the_image_of_an_output_reads_back(tmp_path):
    path = tmp_path / "o.zarr"
    layout = sealed(path, random_pixels((3, 2, 1, 8, 9), "int16"), axes="tcyx",
                    scale=replace(SCALE, z=None), channels=("a", "b"))  # fmt: skip
    assert read_image(path) == layout.image


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_output_says_incomplete_and_is_not_made_twice(tmp_path, version):
    path = tmp_path / "o.zarr"
    layout = layout_of(path, (4, 1, 1, 16, 16), "uint16", axes="tyx", version=version)
    layout.create({"seed": 3})
    assert output_status(path) == "incomplete"
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(OutputExists, match="--overwrite"):
        layout.create({"seed": 4})
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_layout_travels_to_another_process(tmp_path):
    layout = layout_of(tmp_path / "o.zarr", (4, 1, 1, 16, 16), "uint16", axes="tyx")
    assert pickle.loads(pickle.dumps(layout)) == layout


def test_the_metadata_is_strict_json(tmp_path):
    path = tmp_path / "o.zarr"
    layout = layout_of(path, (4, 1, 1, 16, 16), "float32", axes="tyx")
    layout.create({"loss": float("nan"), "best": np.float32("inf")})

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    for file in Path(path).rglob("zarr.json"):
        json.loads(file.read_text(), parse_constant=refuse)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 70), st.integers(1, 2), st.integers(1, 20), st.integers(1, 40),
        st.integers(1, 600),
    ),
    along=st.sampled_from("tz"),
    pyramid=st.sampled_from(["yx", "zyx", "none"]),
    sharded=st.booleans(),
)  # fmt: skip
def test_what_the_planner_plans_can_be_written(tmp_path_factory, shape, along, pyramid, sharded):
    shape = tuple(min(n, 2) if a not in (along + "yx") else n
                  for n, a in zip(shape, CANONICAL_AXES, strict=True))  # fmt: skip
    plan = make_plan(Request(shape, along, 2, 2, 1, pyramid=pyramid, sharded=sharded))
    path = tmp_path_factory.mktemp("plan") / "o.zarr"
    pixels = random_pixels(shape, "uint16")
    layout = OutputLayout(
        str(path), layout_of(path, shape, "uint16").image, plan.levels, "0.5" if sharded else "0.4"
    )
    layout.create({})
    owned = [key for unit in plan.units for key in layout.write(unit, box_of(pixels, unit))]
    assert len(owned) == len(set(owned))
    np.testing.assert_array_equal(zarr.open_array(str(path / "s0"), mode="r")[...], pixels)
    assert len(owned) == sum(map(files_expected, plan.levels))
