"""``preview``: what it reads, what it tries, and what it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from bad_frame_tools import Pages, stack_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from preview_tools import HERE, counted, made, quick  # noqa: F401

from fm2s_stack import open_stack
from fm2s_stack.errors import NoiseUnknown, UsageError
from fm2s_stack.metrics import movie_si_psnr, trust_line, without_truth
from fm2s_stack.preview import choose_part, default_settings, find_setting, preview_stack
from fm2s_stack.preview.part import choose_runs
from fm2s_stack.preview.risk import Recorrupted
from fm2s_stack.progress import Silent
from fm2s_stack.simulate import truth_frame

FIT = find_setting("srdtrans").fit


@st.composite
def recordings(draw) -> tuple[tuple[tuple[int, int], ...], int, int]:
    ends = np.cumsum(draw(st.lists(st.integers(1, 150), min_size=1, max_size=6))).tolist()
    segments = tuple(zip([0, *ends[:-1]], ends, strict=True))
    return segments, draw(st.integers(0, ends[-1] - 1)), draw(st.integers(8, 128))


@settings(max_examples=300, deadline=None)
@given(recordings())
def test_runs_are_few_apart_within_segments_and_have_the_plane_that_is_shown(case):
    segments, shown, most = case
    runs = choose_runs(segments, shown, most)
    planes = [n for a, b in runs for n in range(a, b)]
    assert planes == sorted(set(planes)) and shown in planes
    assert len(planes) <= max(most, 1)
    assert all(any(a <= start and stop <= b for a, b in segments) for start, stop in runs)


class Endless(Pages):
    """Pages that are made when they are read: each holds its number everywhere."""

    page_shape = (512, 512)

    def read(self, pages):
        self.reads += pages.tolist()
        return np.repeat(pages.astype(np.uint16), 512 * 512).reshape(-1, 512, 512)


def test_of_a_long_movie_only_a_few_frames_are_read():
    pages = Endless(np.empty((0, 512, 512), np.uint16))
    part = choose_part(stack_of(pages, (5000, 1, 1)), 0, FIT, Silent())
    assert len(part.numbers) == 96
    assert part.pixels[:, 0, 0].tolist() == list(part.numbers)
    assert len(set(pages.reads)) < 250  # blocks hold some more
    assert part.numbers[part.shown] == 2500
    assert part.stack.breaks == (16, 32, 48, 64, 80)


def test_a_frame_that_is_asked_for_is_shown_by_its_number_in_the_file():
    stack = stack_of(counted(300), (300, 1, 1)).select(frames=(100, 300))
    part = choose_part(stack, 0, FIT, Silent(), frame=290)
    assert part.numbers[part.shown] == 290
    assert part.pixels[part.shown, 0, 0] == 290
    with pytest.raises(UsageError, match="--frame 99: expected 100 to 299"):
        choose_part(stack, 0, FIT, Silent(), frame=99)


def test_the_window_is_where_the_structure_is():
    pixels = np.random.default_rng(0).poisson(50, (20, 500, 600)).astype(np.uint16)
    y, x = np.mgrid[:500, :600]
    pixels[:, np.hypot(y - 420, x - 90) < 6] += 400
    pixels[:, np.hypot(y - 360, x - 60) < 6] += 100
    part = choose_part(stack_of(Pages(pixels), (20, 1, 1)), 0, FIT, Silent())
    assert part.pixels.shape == (20, 256, 256)
    assert part.rows[0] <= 350 and part.rows[1] > 430
    assert part.columns[0] <= 50 and part.columns[1] > 100
    rows, columns = part.zoom
    assert rows.start <= 420 - part.rows[0] < rows.stop
    assert columns.start <= 90 - part.columns[0] < columns.stop
    window = pixels[:, slice(*part.rows), slice(*part.columns)]
    assert np.array_equal(part.pixels, window)


def test_of_volumes_the_middle_slice_is_taken_and_of_z_stacks_slices():
    pages = counted(30 * 5)
    part = choose_part(stack_of(pages, (30, 1, 5)), 0, FIT, Silent())
    assert part.pixels[:, 0, 0].tolist() == [5 * t + 2 for t in range(30)]
    assert (part.along, part.place) == ("t", "frame 15, slice 2")
    deep = choose_part(stack_of(counted(2 * 40), (1, 2, 40)), 1, FIT, Silent(), frame=3)
    assert (deep.along, deep.place) == ("z", "slice 3")
    assert deep.pixels[:, 0, 0].tolist() == list(range(40, 80))


def test_of_filters_the_risk_is_the_error_and_a_constant(tmp_path):
    stack, sim = made(tmp_path, 3, 25)
    part = choose_part(stack, 0, FIT, Silent())
    from scipy.ndimage import gaussian_filter

    from fm2s_stack.job.noise import measure_noise

    noise = measure_noise(part.stack, 0)
    recorrupted = Recorrupted.of(part, noise, 1)
    true = np.stack([truth_frame(sim, n) for n in part.numbers[: len(recorrupted.target)]])
    filtered = [
        recorrupted.pixels,
        *(gaussian_filter(recorrupted.pixels, (0, s, s)) for s in (0.5, 1, 2, 4)),
    ]
    risks = np.array([recorrupted.risk(one) for one in filtered])
    errors = np.array([np.var(one - true) for one in filtered])
    assert np.ptp(risks - errors) < 0.03 * errors.max()
    assert np.argmin(risks) == np.argmin(errors)


def test_what_is_measured_is_what_the_measures_say_of_the_part(tmp_path):
    stack, _ = made(tmp_path, 0, 25)
    found = preview_stack(stack, [find_setting("srdtrans"), find_setting("auto")], run=HERE)
    assert [one.name for one in found.tried] == ["srdtrans", "auto"]
    for one in found.tried:
        assert one.trust == trust_line(one.measures)
        assert one.plane.shape == found.raw.shape == (96, 96)
        assert one.measures.removed > 0
    assert min(one.excess for one in found.tried) == 0
    same = without_truth(found.part.pixels, found.part.pixels)
    assert same.level == pytest.approx(found.tried[0].measures.level)


def test_a_recording_that_no_setting_improves_is_left_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr("fm2s_stack.preview.preview._denoised", lambda d, p, r, v: np.zeros_like(p))
    stack, _ = made(tmp_path, 0, 200)
    found = preview_stack(stack, [find_setting("srdtrans")], run=HERE)
    assert found.chosen is None
    assert "the recording as it is is nearer" in found.reason


def test_nothing_is_chosen_where_there_is_no_noise_to_compare_by(tmp_path):
    scene = np.random.default_rng(0).integers(0, 999, (1, 64, 64)).astype(np.uint16)
    stack = stack_of(Pages(np.repeat(scene, 20, axis=0)), (20, 1, 1))
    found = preview_stack(stack, [find_setting("srdtrans")], run=HERE)
    assert (found.chosen, found.tried[0].excess) == (None, None)
    assert "the noise is not known" in found.reason
    assert "identical" in found.notes[0]


def test_defaults_are_auto_and_a_preset():
    assert [one.name for one in default_settings()] == ["auto", "srdtrans"]


def test_where_the_noise_cannot_be_measured_auto_is_left_out():
    scene = np.random.default_rng(0).integers(0, 99, (1, 64, 64)).astype(np.uint16)
    stack = stack_of(Pages(np.repeat(scene, 20, axis=0)), (20, 1, 1))
    found = preview_stack(stack, [find_setting(name) for name in ("auto", "srdtrans")], run=HERE)
    assert [one.name for one in found.tried] == ["srdtrans"]
    with pytest.raises(NoiseUnknown, match="identical"):
        preview_stack(stack, [find_setting("auto")], run=HERE)


@pytest.mark.slow
@pytest.mark.parametrize("photons", [3, 25, 100])
@pytest.mark.parametrize("seed", [21, 22])
def test_the_setting_that_is_chosen_is_the_one_nearest_to_the_truth(
    tmp_path, monkeypatch, photons, seed
):
    results = []
    from fm2s_stack.preview import preview

    whole = preview._denoised
    monkeypatch.setattr(
        preview, "_denoised", lambda *words: results.append(whole(*words)) or results[-1]
    )
    stack, sim = made(tmp_path, seed, photons)
    names = ("auto", "srdtrans", "twophoton", "confocal-avg4")
    found = preview_stack(stack, [find_setting(name) for name in names], run=HERE)
    true = np.stack([truth_frame(sim, n) for n in found.part.numbers])
    reached = [movie_si_psnr(one, true) for one in results[::2]]  # each with a recorrupted one
    assert found.chosen is not None
    chosen = names.index(found.chosen.name)
    assert reached[chosen] > max(reached) - 0.3
    presets = preview_stack(stack, [find_setting(name) for name in names[1:]], run=HERE)
    assert presets.chosen is not None
    assert reached[names.index(presets.chosen.name)] > max(reached[1:]) - 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TwoPhoton_MICE_1", "Confocal_MICE_1"])
def test_of_an_image_the_setting_nearest_to_its_truth_is_chosen(data, monkeypatch, name):
    from fm2s_stack.metrics import si_psnr
    from fm2s_stack.preview import preview

    results, whole = [], preview._denoised
    monkeypatch.setattr(
        preview, "_denoised", lambda *words: results.append(whole(*words)) or results[-1]
    )
    noisy, truth = (next((data / "fmd" / kind).glob(f"{name}*")) for kind in ("noisy", "truth"))
    found = preview_stack(open_stack(noisy), default_settings(), run=HERE)
    window = (slice(*found.part.rows), slice(*found.part.columns))
    true = np.asarray(Image.open(truth))[window]
    reached = [si_psnr(one[0], true) for one in results[::2]]
    assert found.chosen is not None
    chosen = [one.name for one in found.tried].index(found.chosen.name)
    assert reached[chosen] > max(reached) - 0.3
