"""Metrics against the published noisy columns, scikit-image and numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from fm2s_stack.errors import UsageError
from fm2s_stack.metrics import frame_si_psnr, psnr, si_psnr, ssim, trace_correlation

WHOLE, CUT = slice(None), slice(160, 288)
SRDTRANS = ("srdtrans/noisy/1.png", "srdtrans/truth.png")


def fmd(name: str) -> tuple[str, str]:
    return f"fmd/noisy/{name}.png", f"fmd/truth/{name}.png"


def planes(data: Path, names: tuple[str, str], part: slice) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(data / name))[part, part] for name in names]


@pytest.mark.parametrize(
    ("names", "part", "decibels", "similarity"),
    [
        (SRDTRANS, WHOLE, 27.906, 0.6618),
        (fmd("TwoPhoton_MICE_1"), WHOLE, 24.319, 0.3412),
        (SRDTRANS, CUT, 27.771, 0.6596),
        (fmd("TwoPhoton_MICE_1"), CUT, 23.561, 0.3572),
        (fmd("Confocal_MICE_1"), CUT, 27.751, 0.6756),
        (fmd("WideField_BPAE_R_1"), CUT, 26.847, 0.37),
    ],
)
def test_noisy_planes_measure_as_the_authors_program_printed(
    data: Path, names: tuple[str, str], part: slice, decibels: float, similarity: float
) -> None:
    noisy, truth = planes(data, names, part)
    assert psnr(noisy, truth, 255) == pytest.approx(decibels, abs=6e-4)
    assert ssim(noisy, truth, 255) == pytest.approx(similarity, abs=6e-5)


@pytest.mark.parametrize(
    ("names", "decibels"), [(SRDTRANS, 31.63), (fmd("TwoPhoton_MICE_1"), 26.6)]
)
def test_si_psnr_of_noisy_planes_is_as_published(
    data: Path, names: tuple[str, str], decibels: float
) -> None:
    assert si_psnr(*planes(data, names, WHOLE)) == pytest.approx(decibels, abs=6e-3)


def random_pair(seed: int, shape: tuple[int, ...] = (16, 16)) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=shape)
    return truth + rng.normal(size=shape), truth


@given(st.integers(0, 2**32), st.floats(0.1, 100), st.floats(-1e3, 1e3))
def test_si_psnr_ignores_gain_and_offset_of_the_result(
    seed: int, gain: float, offset: float
) -> None:
    result, truth = random_pair(seed)
    assert si_psnr(gain * result + offset, truth) == pytest.approx(si_psnr(result, truth), abs=1e-6)


def test_si_psnr_finds_the_match_that_least_squares_finds() -> None:
    result, truth = random_pair(1)
    columns = np.stack([result.ravel(), np.ones(result.size)], axis=1)
    solution, *_ = np.linalg.lstsq(columns, truth.ravel(), rcond=None)
    matched = (columns @ solution).reshape(truth.shape)
    expected = peak_signal_noise_ratio(truth, matched, data_range=np.ptp(truth))
    assert si_psnr(result, truth) == pytest.approx(expected)


def test_psnr_agrees_with_scikit_image_on_16_bit_without_wrapping() -> None:
    rng = np.random.default_rng(0)
    result, truth = rng.integers(0, 65536, (2, 32, 32)).astype(np.uint16)
    expected = peak_signal_noise_ratio(truth, result, data_range=65535)
    assert psnr(result, truth, 65535) == pytest.approx(expected)


def test_equal_planes_reach_the_end_of_each_scale() -> None:
    _, truth = random_pair(0)
    assert psnr(truth, truth, 1) == np.inf
    assert si_psnr(truth, truth) > 300
    assert ssim(truth, truth, 1) == 1


def test_a_constant_result_is_as_good_as_the_mean_of_the_truth() -> None:
    _, truth = random_pair(2)
    expected = psnr(np.full_like(truth, truth.mean()), truth, float(np.ptp(truth)))
    assert si_psnr(np.zeros_like(truth), truth) == pytest.approx(expected)


def test_frame_si_psnr_is_the_mean_over_frames_also_of_generators() -> None:
    results, truths = random_pair(3, (4, 8, 8))
    expected = np.mean([si_psnr(r, t) for r, t in zip(results, truths, strict=True)])
    assert frame_si_psnr(iter(results), iter(truths)) == pytest.approx(expected)


@pytest.mark.parametrize("baseline", [0, 60_000])
def test_trace_correlation_is_the_mean_of_corrcoef_over_changing_pixels(baseline: int) -> None:
    results, truths = random_pair(4, (50, 3, 4))
    truths[:, 0, 0] = 0.1
    expected = np.mean(
        [
            np.corrcoef(results[:, y, x], truths[:, y, x])[0, 1]
            for y, x in np.ndindex(3, 4)
            if y or x
        ]
    )
    measured = trace_correlation(iter(results + baseline), iter(truths + baseline))
    assert measured == pytest.approx(expected, abs=1e-9)


def test_a_flattened_trace_counts_as_no_correlation() -> None:
    _, truths = random_pair(5, (20, 2, 1))
    results = truths.copy()
    results[:, 0] = 7
    assert trace_correlation(results, truths) == pytest.approx(0.5)
    assert trace_correlation(results, truths, np.array([[False], [True]])) == pytest.approx(1)


@pytest.mark.parametrize("measure", [frame_si_psnr, trace_correlation])
def test_movies_of_different_lengths_are_refused(measure: object) -> None:
    results, truths = random_pair(6, (5, 4, 4))
    for pair in ((results[:4], truths), (results, truths[:4]), ([], [])):
        with pytest.raises(UsageError, match="frame"):
            measure(*pair)  # type: ignore[operator]


@pytest.mark.parametrize(
    "measure", [si_psnr, lambda a, b: psnr(a, b, 1), lambda a, b: ssim(a, b, 1)]
)
def test_planes_of_different_shapes_are_refused(measure: object) -> None:
    with pytest.raises(UsageError, match=r"\(8, 8\).*\(8, 9\)"):
        measure(np.zeros((8, 8)), np.ones((8, 9)))  # type: ignore[operator]


def test_a_truth_without_structure_is_refused() -> None:
    flat, (result, _) = np.full((8, 8), 3), random_pair(7, (8, 8))
    with pytest.raises(UsageError, match="structure"):
        si_psnr(result, flat)
    with pytest.raises(UsageError, match="no trace"):
        trace_correlation([result, result], [flat, flat])
    with pytest.raises(UsageError, match="above 0"):
        psnr(result, flat, 0)
