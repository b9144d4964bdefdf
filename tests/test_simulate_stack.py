"""The simulated z-stack against geometry and optics."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fm2s_stack import open_stack
from fm2s_stack.errors import UsageError
from fm2s_stack.simulate import (
    Simulation,
    cell_regions,
    delta_f_over_f,
    noisy_frame,
    truth_frame,
    write_simulation,
)
from fm2s_stack.simulate.volume import all_cells, neuropil_layer, slice_light

STACK = Simulation(frames=1, slices=21, height=96, width=112, seed=4)


def test_cells_are_balls_that_appear_and_vanish_with_depth() -> None:
    fine = replace(STACK, slices=81, slice_spacing=0.5, cell_density=3e-4, pixel_size=0.5)
    fine = replace(fine, height=200, width=200)
    cells = all_cells(fine)
    areas = np.stack(
        [np.bincount(cell_regions(fine, i).ravel(), minlength=len(cells) + 1) for i in range(81)]
    )[:, 1:]
    room = np.minimum.reduce([cells.y, 199 - cells.y, cells.x, 199 - cells.x])
    room = np.minimum(room, np.minimum(cells.z, 80 - cells.z))
    whole = np.flatnonzero(room > 1.25 * cells.radius)
    assert len(whole) >= 2
    for cell in whole:
        ball = 4 / 3 * np.pi * cells.radius[cell] ** 3
        assert areas[:, cell].sum() == pytest.approx(ball, rel=0.08)
        thickness = (areas[:, cell] > 0).sum()
        assert thickness == pytest.approx(2 * cells.radius[cell], abs=1.1)
        assert areas[:, cell].argmax() == pytest.approx(cells.z[cell], abs=2.5)


def test_cells_stand_as_dense_through_depth_as_the_section_of_a_movie() -> None:
    deep = replace(STACK, slices=100, height=200, width=200)
    cells = all_cells(deep)
    depth, diameter = 99 * 2.0, 12.5
    assert len(cells) == round(0.0011 / diameter * 200 * 200 * (depth + diameter))
    places = np.stack([cells.y, cells.x, cells.z * 2.0], axis=1)
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    assert apart[np.triu_indices(len(cells), 1)].min() > 0.9 * diameter
    assert np.histogram(cells.z, 4, (0, 99))[0].min() > 0.15 * len(cells)


def test_the_light_falls_exponentially_with_depth() -> None:
    empty = replace(STACK, cell_density=1e-9, neuropil=0, vessels=0, scattering=30)
    means = [truth_frame(empty, i).mean() - 200 for i in (0, 5, 20)]
    assert means[1] / means[0] == pytest.approx(np.exp(-10 / 30), rel=1e-3)
    assert means[2] / means[0] == pytest.approx(np.exp(-40 / 30), rel=1e-3)


def test_the_optics_blur_along_z_and_keep_the_light_of_a_cell() -> None:
    plain = replace(STACK, slices=121, slice_spacing=0.5, height=64, width=64, cell_density=1e-4)
    plain = replace(plain, seed=8, neuropil=0, background=1e-9, vessels=0, scattering=1e9)
    cells = all_cells(plain)
    apart = np.hypot(*(np.subtract.outer(v, v) for v in (cells.y, cells.x)))
    alone = (apart + 1e9 * np.eye(len(cells))).min(axis=0) > 24
    inner = np.abs(cells.z - 60) * 0.5 < 30 - cells.radius - 9
    cell = np.flatnonzero(alone & inner)[0]
    box = tuple(slice(max(0, int(v - 12)), int(v + 13)) for v in (cells.y[cell], cells.x[cell]))
    depth = np.arange(121) * 0.5

    def total_and_variance(blur: float) -> tuple[float, float]:
        stack = replace(plain, axial_blur=blur)
        profile = np.array([slice_light(stack, i)[box].sum() for i in range(121)])
        mean = profile @ depth / profile.sum()
        return profile.sum(), profile @ (depth - mean) ** 2 / profile.sum()

    (sharp_light, sharp), (blurred_light, blurred) = map(total_and_variance, (0.01, 3.0))
    assert blurred_light == pytest.approx(sharp_light, rel=0.01)
    assert blurred - sharp == pytest.approx(9, rel=0.05)


def test_neuropil_is_as_rough_at_every_depth_and_forgets_itself_over_micrometres() -> None:
    layers = np.stack([neuropil_layer(STACK, depth) for depth in np.arange(0, 60, 0.7)])
    assert layers.mean() == pytest.approx(1, rel=0.05)
    rough = np.log(layers).std(axis=(1, 2))
    assert rough.mean() == pytest.approx(np.sqrt(0.2**2 + 0.2**2 + 0.15**2), rel=0.1)
    assert rough.min() > 0.8 * rough.mean()
    assert rough.max() < 1.2 * rough.mean()
    alike = np.corrcoef(layers.reshape(len(layers), -1))
    assert np.diag(alike, 1).min() > 0.8
    assert abs(np.diag(alike, 60).mean()) < 0.15


def test_vessels_run_through_the_slices() -> None:
    stack = replace(STACK, vessels=3, cell_density=1e-9, neuropil=0, scattering=1e9)
    bright = replace(stack, vessels=0)
    dark = np.stack([slice_light(stack, i) / slice_light(bright, i) < 0.5 for i in range(21)])
    assert 0.001 < dark.mean() < 0.3
    for upper, lower in pairwise(dark):
        if upper.sum() > 30 and lower.sum() > 30:
            assert (upper & lower).any()
    assert (dark[0] != dark[20]).any()


def test_a_slice_is_the_same_whatever_was_made_before_and_noise_differs_by_slice() -> None:
    forwards = [noisy_frame(STACK, i) for i in range(4)]
    backwards = [noisy_frame(replace(STACK, seed=4), i) for i in (3, 2, 1, 0)][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    noise = [(noisy_frame(STACK, i) - truth_frame(STACK, i)).ravel() for i in (1, 2)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.05
    other = truth_frame(replace(STACK, seed=9), 1)
    assert np.abs(other - truth_frame(STACK, 1)).max() > 100


def test_a_z_stack_is_written_with_its_axes_scale_truth_and_labels(tmp_path: Path) -> None:
    asked = replace(STACK, slices=5, slice_spacing=3.5, height=40, width=48)
    counts: list[int] = []
    files = write_simulation(tmp_path / "depth.tif", asked, progress=counts.append)
    assert counts == [1, 2, 3, 4, 5]
    for path, plane in [
        *((files.movie, noisy_frame), (files.truth, truth_frame), (files.regions, cell_regions))
    ]:
        with tifffile.TiffFile(path) as tiff:
            assert tiff.series[0].axes == "ZYX"
            pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
            assert pixels["PhysicalSizeZ"] == 3.5
            stored = tiff.asarray()
        np.testing.assert_array_equal(stored, [plane(asked, i) for i in range(5)])
    stack = open_stack(files.movie)
    assert stack.array.shape == (1, 1, 5, 40, 48)
    assert (stack.image.axes, stack.image.scale.z) == ("zyx", 3.5)
    traces = files.traces.read_text().splitlines()
    assert len(traces) == 2
    values = np.array(traces[1].split(",")[2:], dtype=float)
    np.testing.assert_allclose(values, delta_f_over_f(asked, 0), atol=1e-6)
    table = np.genfromtxt(files.cells, delimiter=",", names=True)
    np.testing.assert_allclose(table["z_slice"], all_cells(asked).z, atol=1e-3)


@pytest.mark.parametrize(
    ("field", "value"), [("frames", 2), ("motion", 2.0), ("bleaching", 0.5), ("touching", 3)]
)
def test_what_a_movie_has_alone_is_refused_in_a_z_stack(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"{field} is {value}, expected .* z-stack"):
        replace(STACK, **{field: value})


def test_the_command_makes_movies_and_z_stacks(call, tmp_path: Path) -> None:
    options = ("--motion", 3, "--bleaching", 0.5, "--touching", 2, "--saturation", 2000)
    call("simulate", tmp_path / "m.tif", "--frames", 4, "--size", 160, "--photons", 300, *options)
    movie = tifffile.imread(tmp_path / "m.tif")
    assert (movie.shape, movie.max()) == ((4, 160, 160), 2000)
    call("simulate", tmp_path / "z.tif", "--slices", 3, "--size", "40x48", "--slice-spacing", 4)
    assert tifffile.imread(tmp_path / "z.tif").shape == (3, 40, 48)
    assert "z_regions.tif" in call.err
    call("simulate", tmp_path / "y.tif", "--slices", 3, "--frames", 9, code=2)
    assert "frames is 9, expected 1 in a z-stack of 3 slices" in call.err
    call("simulate", tmp_path / "y.tif", "--motion", 100, code=2)
    assert "motion is 100.0, expected 0 to 64" in call.err
    assert not (tmp_path / "y.tif").exists()
