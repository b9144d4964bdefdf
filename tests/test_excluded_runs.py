"""Excluded frames and named trials in runs: resume, terms, shares, workers, verify, repair."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from bad_frame_tools import damage_page
from cli_tools import attributes, only_line
from excluded_tools import (
    EXCLUDED,
    LIST,
    frames_of,
    pixels,
    with_garbage,
    write_list,
    write_movie,
)
from resume_tools import stopped
from verify_tools import digests, shards

from fm2s_stack import denoise_stack, load_denoisers, open_stack, prepare_stack
from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.engine.compute import compute_unit
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.job import Job
from fm2s_stack.errors import OutputExists
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.terms import differences, job_terms
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Silent
from fm2s_stack.settings import Auto, FitSettings, RunSettings, WriteSettings
from fm2s_stack.store.attributes import read_attributes

FITS = {
    "preset": FitSettings(find_preset("srdtrans"), draws=2, crop=32),
    "frame": FitSettings(find_preset("srdtrans"), mode="frame", draws=1, crop=32),
    "auto": FitSettings(Auto(), draws=4, crop=32),
}
HERE, CHUNKS = RunSettings(device="cpu", threads=1), WriteSettings(chunks=(4, 48, 48))
BREAKS = (0, 12, 26)


@dataclass
class Layout:
    """As much of an output's layout as computing asks for."""

    image: object


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A movie, the list of its excluded frames, and an output of each fit."""
    folder = tmp_path_factory.mktemp("excluded")
    write_movie(folder / "movie.tif", frames_of())
    write_list(folder)
    for name, fit in FITS.items():
        denoise_stack(opened(folder), folder / f"{name}.zarr", fit, write=CHUNKS, run=HERE)
    return folder


def opened(folder, **options):
    given = {"breaks": BREAKS, "exclude_frames": folder / "excluded.txt", **options}
    return open_stack(folder / "movie.tif", **given)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.usefixtures("quick_looks")
def test_a_stopped_run_goes_on_to_the_same_bytes(place, tmp_path, name):
    out, fit = tmp_path / "o.zarr", FITS[name]
    text = stopped(opened(place), out, 10, fit=fit, run=HERE, write=CHUNKS)
    assert "units are done" in text and not text.startswith("0 of")
    denoise_stack(opened(place), out, fit, write=CHUNKS, run=HERE)
    np.testing.assert_array_equal(pixels(out), pixels(place / f"{name}.zarr"))
    assert attributes(out)["token"] == attributes(place / f"{name}.zarr")["token"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"breaks": (0, 13)}, r"--breaks \(12,26 there, 13 now\)"),
        ({"breaks": ()}, r"--breaks \(12,26 there, none now\)"),
        (
            {"exclude_frames": [3]},
            r"--exclude-frames \(11 frames, 0,20:24,27,30,33,36,39:41 there, 1 frame, 3 now\)",
        ),
        ({"exclude_frames": []}, r"--exclude-frames \(11 frames, 0,20:.* there, none now\)"),
    ],
)
def test_a_run_with_others_is_refused_with_what_differs(place, changed, said):
    with pytest.raises(OutputExists, match=said):
        denoise_stack(opened(place, **changed), place / "auto.zarr", FITS["auto"], write=CHUNKS)


def test_what_says_the_same_otherwise_is_no_other_run(place, tmp_path):
    (tmp_path / "again.txt").write_text("36,33,30,27 # stimulation\n0 39 40\n20:22\n22:24")
    stack = opened(place, breaks=(12, 26), exclude_frames=tmp_path / "again.txt")
    told = denoise_stack(stack, place / "auto.zarr", FITS["auto"], write=CHUNKS, run=HERE)
    assert told.units_before == told.units


def test_a_long_list_that_differs_is_told_in_a_short_line(tmp_path):
    path = write_movie(tmp_path / "m.tif", np.zeros((700, 16, 16), np.uint16))
    told = []
    for count in (300, 301):
        stack = open_stack(path, exclude_frames=[2 * t for t in range(count)])
        write = WriteSettings(dtype="uint16")
        told.append(job_terms(stack, FITS["preset"], write, stack.image, "t"))
    (line,) = differences(*told)
    assert "(300 frames, 0,2,4," in line and " there, 301 frames, 0,2,4," in line
    assert len(line) < 250


@pytest.mark.parametrize("name", FITS)
def test_the_record_tells_both_and_every_plane_is_computed_again(place, name):
    output = place / f"{name}.zarr"
    told = read_attributes(output)["selection"]
    assert told["cuts"] == [12, 26] and told["breaks"] == []
    runs = [[0, 1], [20, 24], [27, 28], [30, 31], [33, 34], [36, 37], [39, 41]]
    assert told["excluded"] == runs
    assert any("11 of 48 frames stay as they are" in note for note in told["notes"])
    assert str(place) not in str(told)
    report = verify_output(output, place / "movie.tif", planes=48, seed=1, run=HERE)
    assert report.is_good
    assert [plane.difference for plane in report.source.planes] == [0.0] * 48


@pytest.mark.parametrize("name", FITS)
def test_damaged_units_are_computed_again_to_the_same_bytes(place, tmp_path, name):
    output = tmp_path / "o.zarr"
    denoise_stack(opened(place), output, FITS[name], write=CHUNKS, run=HERE)
    before = digests(output)
    for key in shards(output)[::3]:
        (output / key).write_bytes(b"")
    done = repair_output(output, place / "movie.tif", run=HERE)
    assert done.identical and done.units
    assert digests(output) == before


def test_shares_of_units_are_the_whole(place, tmp_path):
    out, fit = tmp_path / "o.zarr", FITS["frame"]
    prepare_stack(opened(place), out, fit, write=CHUNKS, run=HERE)
    for i in (2, 1):
        run = replace(HERE, units=(i, 2))
        denoise_stack(opened(place), out, fit, write=CHUNKS, run=run)
    denoise_stack(opened(place), out, fit, write=CHUNKS, run=HERE)
    np.testing.assert_array_equal(pixels(out), pixels(place / "frame.zarr"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_processes_of_a_cluster_give_the_same_bytes(place, tmp_path, name):
    run = RunSettings(device="cpu", workers=2)
    denoise_stack(opened(place), tmp_path / "o.zarr", FITS[name], write=CHUNKS, run=run)
    np.testing.assert_array_equal(pixels(tmp_path / "o.zarr"), pixels(place / f"{name}.zarr"))


def test_networks_of_another_output_meet_none_of_them(place, tmp_path):
    garbage = with_garbage(frames_of())
    write_movie(tmp_path / "movie.tif", garbage)
    (tmp_path / "excluded.txt").write_text(LIST)
    found = []
    for number, folder in enumerate((place, tmp_path)):
        out = tmp_path / f"{number}.zarr"
        denoise_stack(opened(folder), out, fit_from=place / "auto.zarr", write=CHUNKS, run=HERE)
        found.append(pixels(out))
    np.testing.assert_array_equal(found[0], pixels(place / "auto.zarr"))
    np.testing.assert_array_equal(found[1][EXCLUDED], garbage[EXCLUDED])
    kept = np.delete(np.arange(48), EXCLUDED)
    np.testing.assert_array_equal(found[0][kept], found[1][kept])


STARTS = (0, 9, 19)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"breaks": STARTS}, True),
        ({}, False),
        pytest.param({"breaks": STARTS, "frames": (4, 24)}, True, marks=pytest.mark.slow),
    ],
)
def test_named_trials_are_those_of_separate_files(tmp_path, options, same):
    movie, folder = frames_of()[[*range(1, 20), *range(41, 48)]], tmp_path / "trials"
    folder.mkdir()
    for number, (a, b) in enumerate(zip(STARTS, (*STARTS[1:], len(movie)), strict=True)):
        write_movie(folder / f"trial_{number}.tif", movie[a:b])
    whole = write_movie(tmp_path / "movie.tif", movie)
    files = open_stack(folder, frames=options.get("frames"))
    denoise_stack(files, tmp_path / "files.zarr", FITS["auto"], run=HERE)
    denoise_stack(open_stack(whole, **options), tmp_path / "o.zarr", FITS["auto"], run=HERE)
    assert np.array_equal(pixels(tmp_path / "o.zarr"), pixels(tmp_path / "files.zarr")) is same


def test_named_trials_add_to_those_of_files(tmp_path):
    for number in range(2):
        write_movie(tmp_path / f"trial_{number}.tif", frames_of()[:10])
    stack = open_stack(tmp_path, breaks=(0, 4, 10, 16))
    assert stack.trials == ((0, 4), (4, 10), (10, 16), (16, 20))
    assert (stack.breaks, stack.cuts) == ((10,), (4, 16))
    assert stack.select(frames=(5, 18)).trials == ((0, 5), (5, 11), (11, 13))


def test_no_trial_shows_in_another_ones_frames(tmp_path):
    movie = frames_of()[1:20]
    other = movie.copy()
    other[10:] = with_garbage(frames_of())[:9]
    # The networks of one serve both, so that neighbours alone could show.
    stack = open_stack(write_movie(tmp_path / "a.tif", movie), breaks=(10,))
    denoise_stack(stack, tmp_path / "a.zarr", FITS["auto"], run=HERE)
    (denoiser,) = load_denoisers(tmp_path / "a.zarr")
    found = []
    for pixels_in in (movie, other):
        path = write_movie(tmp_path / f"{len(found)}.tif", pixels_in)
        stack = open_stack(path, breaks=(10,))
        job = Job(stack, Layout(stack.image), "t", FITS["auto"], (denoiser,), None)
        unit = Unit(0, (0, 10), 0, (0, 1), (0, 48), (0, 48))
        found.append(compute_unit(job, unit, DevicePool(("cpu",), 1), Silent()).planes)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0][:, 0, 0], pixels(tmp_path / "a.zarr")[:10])


def test_a_bad_frame_takes_one_of_its_named_trial(call, tmp_path):
    write_movie(tmp_path / "m.tif", frames_of()[1:20], compression="zlib", metadata={"axes": "TYX"})
    damage_page(tmp_path / "m.tif", 10)
    options = ("--breaks", "0,10", "--on-bad-frame", "previous")
    call.denoise(tmp_path / "m.tif", tmp_path / "o.zarr", *options)
    (row,) = attributes(tmp_path / "o.zarr")["bad_frames"]["first"]
    assert (row["t"], row["made_of"]) == (10, [11])


def test_the_command_line_does_what_the_library_does(call, place, tmp_path):
    options = ("--exclude-frames", place / "excluded.txt", "--breaks", "0, 12,26")
    quick = ("--steps", 4, "--fit-crop", 32, "--device", "cpu", "--threads", 1)
    words = ("-c", "auto", *options, *quick, "--chunks", "4,48,48")
    call("denoise", place / "movie.tif", tmp_path / "o.zarr", *words)
    assert "--exclude-frames excluded.txt: 11 of 48 frames stay as they are" in call.err
    np.testing.assert_array_equal(pixels(tmp_path / "o.zarr"), pixels(place / "auto.zarr"))
    told = attributes(tmp_path / "o.zarr")
    assert str(place) not in str(told) and "excluded.txt" in told["command"]
    assert told["terms"] == attributes(place / "auto.zarr")["terms"]


def test_a_batch_excludes_the_same_frames_of_each_recording(call, tmp_path, monkeypatch):
    movie = with_garbage(frames_of())
    for number in (1, 2):
        write_movie(tmp_path / f"trial_{number}.tif", movie)
    write_movie(tmp_path / "trial_3.tif", movie[:20])
    write_list(tmp_path)
    monkeypatch.chdir(tmp_path)
    quick = ("-c", "srdtrans", "--steps", 2, "--device", "cpu")
    words = ("trial_*.tif", "out", *quick, "--exclude-frames", "excluded.txt")
    call("batch", *words, code=1)
    for number in (1, 2):
        found = pixels(tmp_path / f"out/trial_{number}.zarr")
        np.testing.assert_array_equal(found[EXCLUDED], movie[EXCLUDED])
    assert "line 2: 20:24 is beyond the end: " in call.err
    (tmp_path / "excluded.txt").write_text("x")
    call("batch", *words, code=2)
    assert only_line(call.err).endswith("and no range, such as 500:510")


def test_jobs_of_a_cluster_are_given_both(call, place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    words = ("-c", "auto", "--breaks", "0,12", "--exclude-frames", "excluded.txt")
    call("slurm", "movie.tif", tmp_path / "o.zarr", *words, "--time", "1:00:00")
    assert call.out.count("\n  denoise ") == 2  # prepare, and the array
    assert call.out.count("\n  --breaks=0,12 ") == 2
    assert call.out.count(f"\n  --exclude-frames={place / 'excluded.txt'} ") == 2
