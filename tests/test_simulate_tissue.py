"""Bleaching, motion, saturation, touching cells and regions of the simulated movie."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from fm2s_stack.errors import UsageError
from fm2s_stack.simulate import (
    Simulation,
    cell_regions,
    delta_f_over_f,
    displacement,
    noisy_frame,
    truth_frame,
    write_simulation,
)
from fm2s_stack.simulate.activity import cell_light
from fm2s_stack.simulate.motion import moved
from fm2s_stack.simulate.scene import neuropil_texture, scene

SMALL = Simulation(frames=6, height=48, width=64, seed=5)
FIELD = Simulation(frames=900, height=128, width=160, seed=5, motion=3.0)


def path_of(simulation: Simulation, frames: int) -> NDArray:
    return np.array([displacement(simulation, i) for i in range(frames)])


def rows_of(path: Path) -> tuple[list[str], NDArray]:
    with path.open() as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=float)


def test_settings_of_earlier_versions_give_the_pixels_of_earlier_versions() -> None:
    pixels = noisy_frame(SMALL, 3)[::16, ::16]
    assert pixels.tolist() == [[332, 344, 288, 301], [204, 191, 267, 296], [366, 282, 641, 294]]
    other = Simulation(height=40, width=30, seed=7, dtype="int16", correlation=0.27, photons=80)
    pixels = noisy_frame(other, 40)[::16, ::10]
    assert pixels.tolist() == [[439, 293, 447], [488, 222, -18], [246, 37, 310]]


@pytest.mark.parametrize("lost", [0.3, 0.6])
def test_bleaching_takes_its_part_of_the_light_exponentially_and_none_of_the_offset(
    lost: float,
) -> None:
    fresh = replace(SMALL, frames=101)
    bleached = replace(fresh, bleaching=lost)
    for frame, left in [(0, 1), (50, (1 - lost) ** 0.5), (100, 1 - lost)]:
        light, full = (truth_frame(s, frame) - 200.0 for s in (bleached, fresh))
        np.testing.assert_allclose(light, left * full, atol=1e-3)
        np.testing.assert_array_equal(delta_f_over_f(bleached, frame), delta_f_over_f(fresh, frame))


def test_the_field_moves_slowly_and_in_jerks_as_far_as_asked_and_no_farther() -> None:
    path = path_of(replace(FIELD, frame_interval=1 / 10), 6000)
    far = np.hypot(*path.T)
    assert 0.85 * 3 < far.max() < 3
    assert 0.2 * 3 < np.median(far) < 0.6 * 3
    step = np.hypot(*np.diff(path_of(FIELD, 6000), axis=0).T)
    assert np.median(step) < 0.1
    assert 0.3 < step.max() < 3
    fine = np.hypot(*np.diff(path_of(replace(FIELD, frame_interval=1e-4), 4000), axis=0).T)
    assert fine.max() < 0.02
    assert not np.allclose(path_of(FIELD, 9), path_of(replace(FIELD, seed=6), 9))


def test_the_frames_are_displaced_as_told() -> None:
    asked = replace(FIELD, cell_density=1e-4, neuropil=0, background=1e-6, vessels=0, seed=1)
    cells = scene(asked).cells
    room = np.minimum.reduce([cells.y, 127 - cells.y, cells.x, 159 - cells.x])
    apart = np.hypot(*(np.subtract.outer(v, v) for v in (cells.y, cells.x)))
    cell = np.argmax(np.where((apart + 1e9 * np.eye(len(cells))).min(axis=0) > 40, room, 0))
    assert room[cell] > 20
    corner = np.rint([cells.y[cell] - 16, cells.x[cell] - 16]).astype(int)
    box = tuple(slice(start, start + 33) for start in corner)

    def centre(simulation: Simulation, frame: int) -> NDArray:
        light = truth_frame(simulation, frame)[box] - 200.0
        return np.array([(axis * light).sum() for axis in np.mgrid[:33, :33]]) / light.sum()

    for frame in map(int, np.hypot(*path_of(asked, 900).T).argsort()[[0, 450, 800, -1]]):
        moved_by = centre(asked, frame) - centre(replace(asked, motion=0), frame)
        np.testing.assert_allclose(moved_by, displacement(asked, frame), atol=0.01)


@pytest.mark.parametrize("by", [(0.5, -0.5), (2.25, 1.75), (-3.0, 0.1)])
def test_what_moves_in_from_the_border_is_what_lies_there(by: tuple[float, float]) -> None:
    def pattern(y: NDArray, x: NDArray) -> NDArray:
        return 2 + np.sin(y / 1.5 + 0.3 * x) + np.cos(x / 2 - 0.1 * y)

    margin = FIELD.margin
    y, x = np.mgrid[-margin : 40 + margin, -margin : 50 + margin]
    seen = moved(pattern(y, x), np.array(by), margin)
    y, x = np.mgrid[:40, :50]
    np.testing.assert_allclose(seen, pattern(y - by[0], x - by[1]), atol=4e-3)


def test_moving_blurs_nothing_whatever_part_of_a_pixel_and_gives_no_negative_light() -> None:
    view = scene(replace(FIELD, vessels=0))
    light = view.background + view.neuropil
    field = slice(FIELD.margin, -FIELD.margin)
    here = light[field, field]

    def grain(image: NDArray) -> float:
        return float(np.diff(image, axis=1).std())

    for by in [(0, 0), (0.25, 0), (0.5, 0.5)]:
        seen = moved(light, np.array(by), FIELD.margin)
        assert grain(seen) == pytest.approx(grain(here), rel=0.015)
        assert seen.mean() == pytest.approx(here.mean(), rel=0.01)
    spike = np.zeros_like(light)
    spike[60, 60] = 1
    assert moved(spike, np.array([0.5, 0.3]), FIELD.margin).min() == 0


def test_motion_leaves_tissue_activity_and_noise_as_they_are_without() -> None:
    still = replace(FIELD, motion=0)
    field = slice(FIELD.margin, -FIELD.margin)
    there, here = scene(FIELD), scene(still)
    np.testing.assert_array_equal(there.cells.y, here.cells.y)
    inner = there.cells.x.size
    shape = (128 + 2 * FIELD.margin, 160 + 2 * FIELD.margin, -1)
    drawn = there.footprints.toarray().reshape(shape)[field, field, :inner]
    np.testing.assert_array_equal(drawn.reshape(128 * 160, -1), here.footprints.toarray())
    np.testing.assert_array_equal(delta_f_over_f(FIELD, 50), delta_f_over_f(still, 50))
    np.testing.assert_array_equal(cell_regions(FIELD), cell_regions(still))
    assert len(here.beyond) == 0


def test_the_margin_around_the_field_is_tissue_too() -> None:
    view = scene(FIELD)
    inside = (np.abs(view.beyond.y - 63.5) < 64) & (np.abs(view.beyond.x - 79.5) < 80)
    assert len(inside) > 5
    assert not inside.any()
    assert min(view.beyond.y.min(), view.beyond.x.min()) < 0
    assert view.beyond.y.max() >= 128
    assert view.beyond.x.max() >= 160
    inner = cell_light(FIELD, 50, np.zeros(40))
    outer = cell_light(FIELD, 50, np.zeros(40), "margin activity")
    assert outer.max() > 0.1
    assert abs(np.corrcoef(inner, outer)[0, 1]) < 0.5
    texture = neuropil_texture(FIELD)
    strips = texture[: FIELD.margin], texture[:, -FIELD.margin :].T
    for strip in strips:
        assert np.diff(strip, axis=0).std() > 0.7 * np.diff(texture, axis=0).std()


def test_a_saturated_detector_clips_the_movie_and_not_the_truth() -> None:
    bright = replace(SMALL, photons=200)
    clipped = replace(bright, saturation=1000)
    free = noisy_frame(bright, 2)
    assert (free > 1000).sum() > 20
    np.testing.assert_array_equal(noisy_frame(clipped, 2), np.minimum(free, 1000))
    assert truth_frame(clipped, 2).max() > 1000


def test_a_dark_level_below_zero_is_kept() -> None:
    dark = replace(SMALL, dtype="int16", offset=-30, photons=1e-6)
    pixels = np.stack([noisy_frame(dark, i) for i in range(20)])
    assert pixels.mean() == pytest.approx(-30, abs=0.5)
    assert pixels.std() == pytest.approx(20, rel=0.02)
    assert truth_frame(dark, 0).mean() == pytest.approx(-30, abs=0.01)


def test_a_region_is_every_pixel_inside_the_outline_and_the_brighter_cell_has_both() -> None:
    asked = Simulation(height=90, width=110, cell_density=0.01, seed=3)
    cells = scene(asked).cells
    expected = np.zeros((90, 110), int)
    shared = 0
    for y, x in np.ndindex(expected.shape):
        angle = np.arctan2(y - cells.y, x - cells.x)
        outline = cells.radius * (1 + cells.stretch * np.cos(2 * (angle - cells.angle)))
        inside = np.flatnonzero(np.hypot(y - cells.y, x - cells.x) <= outline)
        shared += len(inside) > 1
        if len(inside):
            expected[y, x] = inside[cells.brightness[inside].argmax()] + 1
    assert shared > 20
    labels = cell_regions(asked)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, expected)


def test_touching_pairs_touch_each_other_in_focus_and_fire_independently() -> None:
    asked = Simulation(height=256, width=256, touching=12, seed=4, burst_rate=0.3, vessels=9)
    cells, labels = scene(asked).cells, cell_regions(asked)
    assert np.bincount(cells.pair[cells.pair >= 0]).tolist() == [2] * 12
    assert len(cells) == len(scene(replace(asked, touching=0)).cells) + 12
    members = [np.flatnonzero(cells.pair == pair) for pair in range(12)]
    for one, other in members:
        here, there = labels == one + 1, labels == other + 1
        assert min(here.sum(), there.sum()) > 0.85 * np.pi * cells.radius[[one, other]].min() ** 2
        assert (binary_dilation(here, np.ones((3, 3)), iterations=2) & there).any()
    assert len(set(cells.softness[cells.pair >= 0])) == 1
    sleeping = truth_frame(replace(asked, burst_rate=0, neuropil=0, background=1e-6), 0) - 200
    stained = [sleeping[labels == cell + 1].mean() for cell in np.flatnonzero(cells.pair >= 0)]
    full = (25 * 40 * cells.brightness * cells.rest)[cells.pair >= 0]
    assert (np.array(stained) > 0.45 * full).all()
    traces = np.stack([delta_f_over_f(asked, i) for i in range(0, 9000, 10)])
    together = [np.corrcoef(traces[:, pair].T)[0, 1] for pair in members]
    assert abs(np.mean(together)) < 0.1


def test_more_touching_pairs_than_fit_are_refused_with_the_number_that_fits() -> None:
    with pytest.raises(UsageError, match=r"touching is 90, expected at most the \d+ pairs"):
        truth_frame(replace(SMALL, touching=90), 0)
    empty = replace(SMALL, cell_density=1e-9, touching=1)
    with pytest.raises(UsageError, match=r"touching is 1, expected at most the 0 pairs"):
        truth_frame(empty, 0)


def test_the_files_say_how_the_field_moves_and_where_the_cells_are(tmp_path: Path) -> None:
    asked = replace(FIELD, frames=8, touching=2)
    files = write_simulation(tmp_path, asked)
    header, motion = rows_of(files.motion)
    assert header == ["frame", "time_s", "dy_px", "dx_px"]
    np.testing.assert_allclose(motion[:, 2:], path_of(asked, 8), atol=1e-6)
    header, table = rows_of(files.cells)
    assert header == ["cell", "y_px", "x_px", "radius_px", "pair", "z_slice"]
    assert sorted(table[table[:, 4] >= 0, 4]) == [0, 0, 1, 1]
    regions = tifffile.imread(files.regions)
    assert (regions.shape, regions.dtype) == ((128, 160), np.uint16)
    for cell, y, x in table[:, :3]:
        ys, xs = np.nonzero(regions == cell + 1)
        touches_the_edge = min(y, x, 127 - y, 159 - x) < 9
        if len(ys) > 40 and not touches_the_edge:
            assert np.hypot(ys.mean() - y, xs.mean() - x) < 1.5


def test_region_traces_of_the_truth_are_the_traces_of_the_cells(tmp_path: Path) -> None:
    asked = Simulation(frames=300, height=128, width=128, seed=2, vessels=0, frame_interval=0.1)
    files = write_simulation(tmp_path, asked)
    truth, regions = tifffile.imread(files.truth), tifffile.imread(files.regions)
    traces = rows_of(files.traces)[1][:, 2:]
    bright = traces.std(axis=0) * scene(asked).cells.brightness > 0.15
    assert bright.sum() > 5
    for cell in np.flatnonzero(bright):
        light = truth[:, regions == cell + 1].mean(axis=1)
        assert np.corrcoef(light, traces[:, cell])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("bleaching", 1.0), ("bleaching", -0.1), ("motion", 12.5), ("motion", float("nan"))),
        *(("saturation", 200), ("saturation", 70000), ("touching", -1), ("scattering", 0.0)),
    ],
)
def test_what_no_microscope_does_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"simulation: {field} is {value}, expected"):
        replace(SMALL, **{field: value})
