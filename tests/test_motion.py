"""Motion that is noticed while the noise is measured, and what is none: noise and activity."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from bad_frame_tools import Pages, stack_of
from noise_tools import Disturbed, scene
from scipy import ndimage

from fm2s_stack.job.noise import measure_noise
from fm2s_stack.noise_model import measure_motion
from fm2s_stack.simulate import Simulation, displacement, noisy_frame

PHOTONS = (3, 25, 200)


def simulated(pairs: int = 16, **settings: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs spread over a simulated movie, and the displacement of each frame."""
    sim = Simulation(frames=600, height=128, width=128, **settings)  # type: ignore[arg-type]
    starts = np.linspace(0, sim.frames - 2, pairs).astype(int)
    made = np.stack([[noisy_frame(sim, t), noisy_frame(sim, t + 1)] for t in starts])
    return made, np.array([[displacement(sim, t), displacement(sim, t + 1)] for t in starts])


def farthest(places: np.ndarray) -> float:
    flat = places.reshape(-1, 2)
    return float(np.hypot(*(flat[:, None] - flat).transpose(2, 0, 1)).max())


def rolled(shifts: list[tuple[int, int]], seed: int = 0) -> np.ndarray:
    """Pairs of frames of photons whose field is rolled by whole pixels."""
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter((rng.random((128, 128)) > 0.98).astype(float), 1.5)
    photons = scene(128) + 300 * spots
    frames = [rng.poisson(np.roll(photons, shift, (0, 1)))[8:-8, 8:-8] for shift in shifts]
    return np.stack(frames).reshape(-1, 2, 112, 112)


@pytest.mark.parametrize("photons", PHOTONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_said_of_a_field_that_is_still_or_moves_by_half_a_pixel(photons, seed):
    for motion in (0, 0.5):
        pairs, _ = simulated(photons=photons, motion=motion, seed=seed)
        assert measure_motion(pairs).notes == ()


@pytest.mark.parametrize("photons", PHOTONS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_field_that_drifts_by_pixels_is_told_with_how_far(photons, seed):
    pairs, places = simulated(photons=photons, motion=3, seed=seed)
    found = measure_motion(pairs)
    assert farthest(places) > 2
    assert found.spread == pytest.approx(farthest(places), abs=0.4)
    (note,) = found.notes
    assert f"{found.spread:.1f} pixels over the recording" in note


@pytest.mark.parametrize("photons", PHOTONS)
@pytest.mark.parametrize("seed", [5, 6])
def test_frames_that_jump_are_told_with_how_far_they_do(photons, seed):
    jumping = Disturbed(
        Simulation(frames=600, height=128, width=128, seed=seed, photons=photons),
        pairs=16,
        jitter=2.0,
    )
    starts = np.linspace(0, 598, 16).astype(int)
    places = np.array(
        [[np.random.default_rng((seed, t + k)).uniform(-2, 2, 2) for k in (0, 1)] for t in starts]
    )
    found = measure_motion(jumping.make())
    true = np.hypot(*(places[:, 1] - places[:, 0]).T).max()
    assert found.step == pytest.approx(true, abs=0.5)
    (note,) = found.notes
    assert f"{found.step:.1f} pixels between one and the next" in note


def test_the_longest_step_is_that_between_the_frames_of_a_pair():
    still, moved = (0, 0), (3, -4)
    found = measure_motion(rolled([still, still, still, moved, still, still, still, still]))
    assert found.step == pytest.approx(5, abs=0.2)
    assert found.spread == pytest.approx(5, abs=0.2)
    slow = measure_motion(rolled([still, still, still, still, moved, moved, moved, moved]))
    assert (slow.step, slow.spread) == (0, pytest.approx(5, abs=0.2))


def test_a_single_pair_tells_its_step():
    assert measure_motion(rolled([(0, 0), (2, 0)])).step == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("photons", [3, 10, 200])
@pytest.mark.parametrize("seed", range(4))
def test_cells_that_flash_in_the_dark_are_not_taken_for_motion(photons, seed):
    pairs, _ = simulated(
        photons=photons, seed=seed, burst_rate=1.0, burst_spikes=8, decay=0.1, neuropil=0.0,
        vessels=0, background=0.01, cell_density=0.0006,
    )  # fmt: skip
    assert measure_motion(pairs).notes == ()


@pytest.mark.parametrize("seed", range(5))
def test_noise_without_any_structure_does_not_move(seed):
    pairs = np.random.default_rng(seed).poisson(2, (8, 2, 64, 80)).astype(np.uint16)
    assert measure_motion(pairs).notes == ()


def test_dead_pixels_do_not_hold_a_field_that_moves():
    pairs = rolled([(0, 0), (0, 3), (0, 0), (0, 3), (1, 0), (0, 3)])
    pairs[..., ::9, ::7] = 4000
    assert measure_motion(pairs).step > 2.5


def test_slices_that_lie_elsewhere_are_not_motion():
    here, there = rolled([(0, 0)] * 4), rolled([(5, 5)] * 4)
    both = np.concatenate([here, there])
    assert measure_motion(both).spread > 4
    assert measure_motion(both, np.array([0, 0, 1, 1])).notes == ()


def test_measuring_the_noise_says_it():
    frames = np.concatenate([rolled([(0, 0)] * 10), rolled([(3, 0)] * 10)]).reshape(20, 112, 112)
    pages = Pages(frames.astype(np.uint16))
    assert any("3.0 pixels" in note for note in measure_noise(stack_of(pages, (20, 1, 1)), 0).notes)
    still = Pages(np.tile(frames[:10], (2, 1, 1)).astype(np.uint16))
    assert measure_noise(stack_of(still, (20, 1, 1)), 0).notes == ()


def test_a_run_of_auto_and_info_say_it(call, tmp_path):
    frames = rolled([(0, 0), (4, 0)] * 6).reshape(-1, 112, 112).astype(np.uint16)
    path = tmp_path / "moving.tif"
    tifffile.imwrite(path, frames, metadata={"axes": "TYX"})
    said = "frames move by up to 4.0 pixels between one and the next: correct motion first"
    assert said in call("info", path, "--noise").out
    call("denoise", path, tmp_path / "o.zarr", "-c", "auto", "--steps", "2", "--device", "cpu")
    assert said in call.err
