"""Results that must not change unless `PIXEL_VERSION` is raised."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from fm2s_stack import fit_stack, open_stack
from fm2s_stack.fm2s.denoiser import Denoiser
from fm2s_stack.fm2s.fit import fit_network
from fm2s_stack.fm2s.intensity import measure_intensity
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.seeds import stream_seed
from fm2s_stack.settings import PIXEL_VERSION, Auto, FitSettings, RunSettings

#: by PIXEL_VERSION and preset: mean, standard deviation and three pixels of a result
GOLDEN = {
    2: {
        "srdtrans": (540.311, 133.658, 363.072, 752.715, 415.633),
        "widefield-avg4": (559.455, 132.492, 357.355, 796.427, 464.049),
        "auto": (710.002, 151.135, 729.204, 894.124, 1034.401),
    },
    3: {
        "srdtrans": (540.311, 133.658, 363.072, 752.715, 415.633),
        "widefield-avg4": (559.455, 132.492, 357.355, 796.427, 464.049),
        "auto": (715.168, 153.226, 735.853, 901.068, 1029.277),
    },
    4: {
        "srdtrans": (540.311, 133.658, 363.072, 752.715, 415.633),
        "widefield-avg4": (559.455, 132.492, 357.355, 796.427, 464.049),
        "auto": (715.799, 153.239, 736.440, 901.356, 1029.621),
    },
}


@pytest.mark.parametrize("preset", ["srdtrans", "widefield-avg4"])
def test_a_result_changes_only_with_the_pixel_version(preset):
    y, x = np.mgrid[:40, :44]
    plane = (500 + 300 * np.sin(y / 5) * np.cos(x / 7) + (y * 7919 + x * 104729) % 97).astype("i2")
    settings = FitSettings(find_preset(preset), crop=32, draws=6)
    intensity = measure_intensity(plane, plane.dtype)
    fitted = fit_network(intensity.to_unit(plane)[None], settings, stream_seed(3407, 0, 0, 0))
    denoiser = Denoiser(fitted.weights[None], np.zeros(1), intensity, settings.preset)
    result = denoiser(plane, dtype="float64")
    found = (result.mean(), result.std(), result[0, 0], result[20, 21], result[39, 43])
    # Processors of other kinds differ in the last bits, which training multiplies.
    assert found == pytest.approx(GOLDEN[PIXEL_VERSION][preset], abs=0.5)


def test_a_result_of_auto_changes_only_with_the_pixel_version(tmp_path):
    y, x = np.mgrid[:40, :44]
    scene = 500 + 300 * np.sin(y / 5) * np.cos(x / 7)
    t = np.arange(24)[:, None, None]
    # Noise that any version of numpy draws: hashed places, a sum of them nearly normal.
    hashes = [(y * 7919 + x * 104729 + t * t * 1299709 + k * 15485863) % 997 for k in range(6)]
    movie = (scene + 20 * np.sin(t / 3) + np.sum(hashes, axis=0) / 15).astype("u2")
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    fit = FitSettings(Auto(), crop=32, draws=30)
    stack = open_stack(tmp_path / "movie.tif")
    (denoiser,) = fit_stack(stack, fit, run=RunSettings(device="cpu"))
    result = denoiser(movie, dtype="float64")[7]
    found = (result.mean(), result.std(), result[0, 0], result[20, 21], result[39, 43])
    assert found == pytest.approx(GOLDEN[PIXEL_VERSION]["auto"], abs=0.5)
