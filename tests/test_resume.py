"""A run is continued by the same command, and by nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tifffile
from cli_tools import attributes, level, recording
from hypothesis import given
from hypothesis import strategies as st
from resume_tools import CHUNKS, FIT, denoise, stopped

from fm2s_stack import open_stack
from fm2s_stack.errors import OutputExists, StackError
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.sealing import done_units
from fm2s_stack.job.terms import differences, token_of
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.store.journal import journal_folder

pytestmark = pytest.mark.usefixtures("quick_looks")


@pytest.fixture
def stack(tmp_path):
    return open_stack(recording(tmp_path / "movie.tif", (200, 32, 32)))


def test_a_stopped_run_is_continued_by_the_same_call_and_no_unit_is_done_twice(tmp_path):
    stack = open_stack(recording(tmp_path / "movie.tif", (1200, 32, 32)))
    denoise(stack, tmp_path / "whole.zarr")
    out = tmp_path / "o.zarr"
    told = stopped(stack, out)
    assert "enough" in told and "run the same command again" in told
    before = done_units(out)
    assert 0 < len(before) < 19
    kept = {
        file.key: (out / file.key).stat().st_mtime_ns for r in before.values() for file in r.files
    }
    summary = denoise(stack, out)
    assert (summary.units_before, summary.units_done) == (len(before), summary.units)
    assert {key: (out / key).stat().st_mtime_ns for key in kept} == kept
    assert np.array_equal(level(out), level(tmp_path / "whole.zarr"))
    assert not journal_folder(out).exists()


def test_a_finished_output_is_left_as_it_is_and_reported(stack, tmp_path):
    out = tmp_path / "o.zarr"
    first = denoise(stack, out)
    files = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    again = denoise(stack, out)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == files
    assert (again.units_before, again.total_seconds) == (first.units, 0)
    assert again.clipped == first.clipped


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"fit": dataclasses.replace(FIT, draws=3)}, "--steps (2 there, 3 now)"),
        ({"fit": dataclasses.replace(FIT, seed=1)}, "--seed (3407 there, 1 now)"),
        ({"fit": dataclasses.replace(FIT, mode="every", every=50)}, "--fit (stack there"),
        ({"fit": FitSettings(find_preset("twophoton"), draws=2, crop=32)}, "--k-g ("),
        ({"write": WriteSettings(dtype="float32", chunks=(4, 32, 32))}, "--dtype (uint16 there"),
        ({"write": WriteSettings()}, "--chunks (4:32:32 there, none now)"),
        ({"write": WriteSettings(chunks=(4, 32, 32), ome_zarr="0.4")}, "--ome-zarr (0.5 there"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_other_settings_are_refused_with_what_differs(stack, tmp_path, option, told, state):
    out = tmp_path / "o.zarr"
    if state == "stopped":
        stopped(stack, out)
    else:
        denoise(stack, out)
    before = json.loads((out / "zarr.json").read_text())
    with pytest.raises(OutputExists) as refused:
        denoise(stack, out, **option)
    assert told in str(refused.value) and "--overwrite" in str(refused.value)
    assert json.loads((out / "zarr.json").read_text()) == before


def test_where_a_run_happens_is_no_other_setting(stack, tmp_path):
    out = tmp_path / "o.zarr"
    stopped(stack, out)
    denoise(stack, out, run=RunSettings(device="cpu", threads=2, memory=2**31))
    assert attributes(out)["status"] == "complete"


def test_a_changed_input_is_refused_and_a_moved_one_is_not(stack, tmp_path):
    out = tmp_path / "o.zarr"
    stopped(stack, out)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(tmp_path / "movie.tif", tmp_path / "elsewhere" / "renamed.tif")
    other = recording(tmp_path / "movie.tif", (200, 32, 32), description="another")
    with pytest.raises(OutputExists, match="the content of the input"):
        denoise(open_stack(other), out)
    denoise(open_stack(moved), out)
    assert attributes(out)["status"] == "complete"


def test_another_pixel_version_is_refused(stack, tmp_path, monkeypatch):
    out = tmp_path / "o.zarr"
    stopped(stack, out)
    monkeypatch.setattr("fm2s_stack.job.terms.PIXEL_VERSION", 99)
    with pytest.raises(OutputExists, match=r"arithmetic of this version.*99 now"):
        denoise(stack, out)


def test_overwriting_starts_anew(stack, tmp_path):
    out = tmp_path / "o.zarr"
    stopped(stack, out)
    summary = denoise(stack, out, write=dataclasses.replace(CHUNKS, overwrite=True))
    assert summary.units_before == 0
    assert attributes(out)["status"] == "complete"


@pytest.mark.parametrize("mode", ["stack", "every", "frame"])
def test_every_way_to_fit_continues_to_the_same_pixels(stack, tmp_path, mode):
    fit = dataclasses.replace(FIT, mode=mode, every=60 if mode == "every" else 0)
    part = stack.select(frames=(0, 40)) if mode == "frame" else stack
    denoise(part, tmp_path / "whole.zarr", fit)
    stopped(part, tmp_path / "o.zarr", planes=20, fit=fit)
    denoise(part, tmp_path / "o.zarr", fit)
    assert np.array_equal(level(tmp_path / "o.zarr"), level(tmp_path / "whole.zarr"))
    told, whole = attributes(tmp_path / "o.zarr"), attributes(tmp_path / "whole.zarr")
    assert told["weights_sha256"] == whole["weights_sha256"] and told["loss"] == whole["loss"]


def test_windows_that_were_trained_are_not_trained_again(stack, tmp_path, monkeypatch):
    fit = dataclasses.replace(FIT, mode="every", every=50)
    denoise(stack, tmp_path / "whole.zarr", fit)
    import fm2s_stack.job.fitting as fitting

    real, calls = fitting.fit_network, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise StackError("the disk is gone")
        return real(*args, **options)

    monkeypatch.setattr(fitting, "fit_network", failing)
    with pytest.raises(StackError, match="gone"):
        denoise(stack, tmp_path / "o.zarr", fit)
    assert not (tmp_path / "o.zarr").exists()
    calls.extend([1] * 10)
    before = len(calls)
    denoise(stack, tmp_path / "o.zarr", fit)
    assert 1 <= len(calls) - before <= 2  # of four windows two were kept, or three
    assert np.array_equal(level(tmp_path / "o.zarr"), level(tmp_path / "whole.zarr"))


def test_a_run_that_failed_at_a_bad_frame_may_go_on_where_bad_frames_are_made_up(tmp_path):
    source = recording(tmp_path / "movie.tif", (130, 32, 32), compression="zlib")
    out = tmp_path / "o.zarr"
    stack = open_stack(source)
    denoise(stack, tmp_path / "first.zarr")
    with tifffile.TiffFile(source) as tif:
        page = tif.pages[100]
        place, size = page.dataoffsets[0], page.databytecounts[0]
    with source.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * size)
    # with borrowed networks, since training would meet the page first
    lent = {"fit": FIT, "fit_from": tmp_path / "first.zarr"}
    with pytest.raises(StackError, match="frame 100"):
        denoise(open_stack(source), out, **lent)
    before = len(done_units(out))
    lent["fit"] = dataclasses.replace(FIT, on_bad_frame="previous")
    summary = denoise(open_stack(source), out, **lent)
    assert summary.units_before == before > 0
    assert attributes(out)["terms"]["fit.on_bad_frame"] == "previous"
    assert attributes(out)["bad_frames"]["count"] == 1
    assert np.array_equal(level(out)[100], level(out)[99])


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=5),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=5),
)
def test_tokens_agree_exactly_where_no_term_differs(one, other):
    assert (token_of(one) == token_of(other)) == (one == other)
    assert bool(differences(one, other)) == any(
        one.get(key) != other.get(key) for key in {*one, *other}
    )
    assert token_of(one) != token_of(one, "00")


def test_stopping_an_overwriting_run_says_that_overwriting_again_would_start_anew(stack, tmp_path):
    told = stopped(stack, tmp_path / "o.zarr", write=dataclasses.replace(CHUNKS, overwrite=True))
    assert "run the same command without --overwrite to continue" in told
