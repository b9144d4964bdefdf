"""`scripts/quality.py`: what must be reached, judged on figures that are given."""

from dataclasses import replace

import pytest

from fm2s_stack.simulate import Simulation, write_simulation


@pytest.fixture
def measured(script):
    """One recording whose figures are given by method: ``measured(auto={"planes": 30})``."""
    figures, verdicts = script("quality_measures").Figures, script("quality_verdicts")

    def make(name="a", kind="movie", source="simulated", preset="srdtrans", **methods):
        found = {key: figures(**told) for key, told in methods.items()}
        return verdicts.Measured(name, kind, source, preset, found)

    return make


def verdict(script, name: str, over: str, *recordings):
    made = script("quality_verdicts")
    (rule,) = [r for r in made.RULES if r.name == name and r.over == over]
    return made.verdicts(recordings, [rule])[0]


def test_each_recording_has_to_reach_what_is_asked_of_each(script, measured):
    name = "auto, neighbours: SI-PSNR over the best 3-D Gaussian"
    good = measured("good", neighbours={"si_psnr": 40.0}, gauss3d={"si_psnr": 35.0})
    even = measured("even", neighbours={"si_psnr": 35.0}, gauss3d={"si_psnr": 35.0})
    image = measured("image", "image", neighbours={"si_psnr": 1.0}, gauss3d={"si_psnr": 35.0})
    unknown = measured("unknown", gauss3d={"si_psnr": 35.0})
    assert verdict(script, name, "each", good, image).reached is True
    found = verdict(script, name, "each", good, even, unknown)
    assert (found.reached, found.value, found.short) == (False, 0, ("even",))
    assert found.found == "0 dB (even; 2 of 3)"
    assert verdict(script, name, "mean", good, even).reached is True  # 2.5 dB on average
    assert verdict(script, name, "mean", even).reached is False


def test_what_was_not_measured_is_neither_reached_nor_missed(script, measured):
    made = script("quality_verdicts")
    for one in made.verdicts([measured(raw={"si_psnr": 20.0})]):
        assert (one.found, one.reached) == ("n/a", None)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("auto, neighbours: event amplitude off by",
         {"neighbours": {"amplitude": 0.951}}, {"neighbours": {"amplitude": 1.051}}),
        ("auto, neighbours: leakage before onsets, of the peak",
         {"neighbours": {"leakage": 0.05}}, {"neighbours": {"leakage": 0.051}}),
        ("auto, causal: leakage before onsets, of the peak",
         {"causal": {"leakage": 0.01}}, {"causal": {"leakage": 0.011}}),
        ("auto, neighbours: change in pairwise correlation, mean",
         {"neighbours": {"change": -0.019}}, {"neighbours": {"change": -0.021}}),
        ("auto, neighbours: mean bias in each range of intensity",
         {"neighbours": {"range_bias": 0.004}}, {"neighbours": {"range_bias": -0.006}}),
        ("auto: flicker, of the raw movie's",
         {"auto": {"flicker": 0.9}, "raw": {"flicker": 1.0}},
         {"auto": {"flicker": 1.2}, "raw": {"flicker": 1.0}}),
        ("auto, neighbours: first and last frame off the others by",
         {"neighbours": {"first": 0.1, "last": -0.3}},
         {"neighbours": {"first": 0.1, "last": -0.4}}),
    ],
)  # fmt: skip
def test_bounds_are_where_they_are_said_to_be(script, measured, name, good, bad):
    assert verdict(script, name, "each", measured(**good)).reached is True
    found = verdict(script, name, "each", measured("far", **bad), measured("near", **good))
    assert (found.reached, found.short) == (False, ("far",))


def test_pairs_of_data_are_held_to_the_preset_of_their_microscope(script, measured):
    name = "auto, pairs of data: SI-PSNR over the matching preset"
    told = {"auto": {"planes": 30.0}, "twophoton": {"planes": 30.1}, "srdtrans": {"planes": 33.0}}
    pair = measured("a", "image", "data", "twophoton", **told)
    assert verdict(script, name, "each", pair).reached is True
    assert verdict(script, name, "each", replace(pair, preset="srdtrans")).reached is False


def test_costs_are_medians_of_ratios_within_a_recording(script, measured):
    name = "auto, neighbours: seconds of the fit, of srdtrans's"
    times = [(2.0, 1.0), (40.0, 10.0), (25.0, 10.0)]
    movies = [
        measured(neighbours={"fit_seconds": ours}, srdtrans={"fit_seconds": its})
        for ours, its in times
    ]
    found = verdict(script, name, "median", *movies)
    assert (found.value, found.reached) == (2.5, True)


def test_a_plain_filter_that_wins_is_named(script, measured):
    known = script("quality_methods").methods()
    report = script("quality_report")
    one = measured("a", raw={"si_psnr": 50.0}, nlm={"si_psnr": 31.0}, auto={"si_psnr": 30.0})
    assert "A PLAIN FILTER WINS: non-local means, 1.00 dB" in report.winner_line(one, known)
    other = measured("b", nlm={"si_psnr": 31.0}, auto={"si_psnr": 30.0}, causal={"si_psnr": 31.5})
    assert report.winner_line(other, known).startswith("best of ours: auto, causal, 0.50 dB")
    assert report.plain_wins([one, other], known) == ["a"]


def test_the_noise_of_a_simulated_recording_is_held_to_the_true_one(script, tmp_path):
    made = script("quality_recordings")
    settings = Simulation(frames=24, height=96, width=96, correlation=0.2, seed=72)
    files = write_simulation(tmp_path, settings)
    one = made.Recording("a", "simulated", files.movie, files.truth, "srdtrans", settings)
    found = script("quality_measures").check_noise(one)
    # Of a pixel's levels over many frames: what the simulation says of itself.
    assert found.true_gain == 40
    assert found.true_intercept == pytest.approx(20**2 - 40 * 200, abs=0.1)
    assert found.gain_off == pytest.approx(abs(found.gain / 40 - 1))
    assert found.true_correlation == 0.2
    assert found.gain_off < 0.1
    assert found.correlation_off < 0.05
