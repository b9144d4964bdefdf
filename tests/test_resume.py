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

from fm2s_stack import denoise_stack, open_stack, pipeline
from fm2s_stack.engine import unit as unit_module
from fm2s_stack.errors import OutputError, OutputExists, OutputIncomplete, StackError, StoppedEarly
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.completing import seal_target
from fm2s_stack.job.sealing import done_units
from fm2s_stack.job.target import find_target
from fm2s_stack.job.terms import differences, token_of
from fm2s_stack.pipeline import prepare_stack
from fm2s_stack.plan import Unit, share_of
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import Journal, journal_folder

FIT = FitSettings(find_preset("srdtrans"), draws=2, crop=32)
HERE = RunSettings(device="cpu", threads=1)
CHUNKS = WriteSettings(chunks=(4, 32, 32))


class StopAfter:
    """A progress that asks to stop when so many planes are done."""

    def __init__(self, stop: Stop, planes: int) -> None:
        self.stop, self.planes, self.notes = stop, planes, []
        self.counting = False

    def note(self, text):
        self.notes.append(text)

    def start(self, step, total, unit):
        self.counting = "denoise" in step

    def advance(self, count):
        self.planes -= count if self.counting else 0
        if self.counting and self.planes <= 0:
            self.stop.request("enough")

    def finish(self):
        pass


@pytest.fixture
def stack(tmp_path):
    return open_stack(recording(tmp_path / "movie.tif", (200, 32, 32)))


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    """Notice a wish to stop before the few small units are all done."""
    monkeypatch.setattr("fm2s_stack.engine.pool.POLL", 0.005)


def denoise(stack, output, fit=FIT, run=HERE, write=CHUNKS, **options):
    return denoise_stack(stack, output, fit, run=run, write=write, **options)


def stopped(stack, output, planes=64, **options):
    """Stop a run when so many planes are done; what it said."""
    stop = Stop()
    with pytest.raises(StoppedEarly) as told:
        denoise(stack, output, stop=stop, progress=StopAfter(stop, planes), **options)
    return str(told.value)


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


def test_shares_need_a_prepared_output_and_a_seal_completes_it(stack, tmp_path):
    out, whole = tmp_path / "o.zarr", tmp_path / "whole.zarr"
    denoise(stack, whole)
    shares = [dataclasses.replace(HERE, units=(i, 3)) for i in (1, 2, 3)]
    with pytest.raises(OutputIncomplete, match="--prepare"):
        denoise(stack, out, run=shares[0])
    assert not journal_folder(out).exists()
    count = prepare_stack(stack, out, FIT, run=HERE, write=CHUNKS)
    assert count == prepare_stack(stack, out, FIT, run=HERE, write=CHUNKS) == 4
    target = find_target(out, overwrite=False)
    denoise(stack, out, run=shares[1])
    with pytest.raises(StoppedEarly, match=r"3 of 4 units are left|2 of 4 units are left"):
        seal_target(target, Stop(), lambda text: None)
    denoise(stack, out, run=shares[0])
    summary = denoise(stack, out, run=shares[2])
    assert attributes(out)["status"] == "incomplete" and summary.units_done == 4
    seal_target(target, Stop(), lambda text: None)
    assert attributes(out)["status"] == "complete" and not journal_folder(out).exists()
    assert np.array_equal(level(out), level(whole))
    seal_target(target, Stop(), lambda text: None)


def test_the_seal_command_lists_what_is_left_and_exports(call, tmp_path):
    source, out = recording(tmp_path / "movie.tif", (130, 32, 32)), tmp_path / "o.tif"
    call.denoise(source, out, "--prepare")
    call.denoise(source, out, "--units", "1/2")
    call("seal", out, code=75)
    assert "units are left (" in call.err and not out.exists()
    call.denoise(source, out, "--units", "2/2")
    call("seal", out)
    call.denoise(source, tmp_path / "whole.tif")
    assert np.array_equal(tifffile.imread(out), tifffile.imread(tmp_path / "whole.tif"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["movie.tif", "o.tif", "whole.tif"]


@given(st.integers(0, 300), st.integers(1, 40))
def test_shares_are_disjoint_and_together_all_units(count, shares):
    units = tuple(Unit(i, (i, i + 1), 0, (0, 1), (0, 8), (0, 8)) for i in range(count))
    parts = [share_of(units, (i, shares)) for i in range(1, shares + 1)]
    assert [unit for part in parts for unit in part] == list(units)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_unit_whose_file_is_gone_or_short_is_done_again(stack, tmp_path):
    out = tmp_path / "o.zarr"
    denoise(stack, tmp_path / "whole.zarr")
    prepare_stack(stack, out, FIT, run=HERE, write=CHUNKS)
    denoise(stack, out, run=dataclasses.replace(HERE, units=(1, 1)))
    records = done_units(out)
    (out / records[0].files[0].key).unlink()
    with (out / records[2].files[0].key).open("r+b") as file:
        file.truncate(10)
    assert set(done_units(out)) == {1, 3}
    denoise(stack, out)
    assert np.array_equal(level(out), level(tmp_path / "whole.zarr"))


def test_units_journaled_under_another_token_do_not_count(stack, tmp_path):
    out = tmp_path / "o.zarr"
    prepare_stack(stack, out, FIT, run=HERE, write=CHUNKS)
    denoise(stack, out, run=dataclasses.replace(HERE, units=(1, 1)))
    assert len(done_units(out)) == 4
    rows = list(Journal(str(journal_folder(out)), attributes(out)["token"]).read("unit"))
    for file in journal_folder(out).glob("*.jsonl"):
        file.unlink()
    other = Journal(str(journal_folder(out)), "another")
    for row in rows:
        other.append("unit", {k: v for k, v in row.items() if k not in ("token", "kind")})
    assert done_units(out) == {}


def test_a_unit_is_journaled_only_after_its_files_are_flushed(stack, tmp_path, monkeypatch):
    events = []
    real_flush, real_append = unit_module.flush_files, Journal.append

    def flush(root, keys):
        events.append("flush")
        return real_flush(root, keys)

    def append(self, kind, body):
        events.append(kind)
        real_append(self, kind, body)

    monkeypatch.setattr(unit_module, "flush_files", flush)
    monkeypatch.setattr(Journal, "append", append)
    denoise(stack, tmp_path / "o.zarr", run=dataclasses.replace(HERE, threads=1))
    of_units = [event for event in events if event != "fit"]
    for number in range(1, len(of_units) + 1):
        assert of_units[:number].count("unit") <= of_units[:number].count("flush")
    assert of_units.count("unit") == 4


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


def test_an_output_that_another_run_finished_meanwhile_is_left_as_it_is(
    stack, tmp_path, monkeypatch
):
    out = tmp_path / "o.zarr"
    real, called = pipeline._finished, []

    def look_and_be_overtaken(wanted, told):
        found = real(wanted, told)
        if not called:
            called.append(1)
            denoise(stack, out)
        return found

    monkeypatch.setattr(pipeline, "_finished", look_and_be_overtaken)
    summary = denoise(stack, out)
    assert summary.units_before == summary.units == 4 and summary.fit_seconds == 0
    assert attributes(out)["status"] == "complete" and not journal_folder(out).exists()


def test_a_run_whose_lock_was_taken_over_writes_nothing_more(stack, tmp_path, monkeypatch):
    out = tmp_path / "o.zarr"
    denoise(stack, tmp_path / "whole.zarr")
    real, taken = unit_module.compute_unit, []

    def compute_and_be_taken_for_dead(job, unit, devices, progress):
        made = real(job, unit, devices, progress)
        if not taken:
            taken.append(unit.index)
            lock = next(journal_folder(out).glob("lock-*.json"))
            told = json.loads(lock.read_text()) | {"owner": "another"}
            lock.write_text(json.dumps(told).ljust(512))
        return made

    monkeypatch.setattr(unit_module, "compute_unit", compute_and_be_taken_for_dead)
    with pytest.raises(OutputError, match="taken over"):
        denoise(stack, out)
    assert taken and done_units(out) == {}
    next(journal_folder(out).glob("lock-*.json")).unlink()
    denoise(stack, out)
    assert np.array_equal(level(out), level(tmp_path / "whole.zarr"))


def test_stopping_an_overwriting_run_says_that_overwriting_again_would_start_anew(stack, tmp_path):
    told = stopped(stack, tmp_path / "o.zarr", write=dataclasses.replace(CHUNKS, overwrite=True))
    assert "run the same command without --overwrite to continue" in told


def test_shares_of_a_tiff_whose_units_are_done_say_what_is_left(call, tmp_path, monkeypatch):
    source, out = recording(tmp_path / "movie.tif", (130, 32, 32)), tmp_path / "o.tif"
    call.denoise(source, out, "--prepare")
    call.denoise(source, out, "--units", "1/1")
    with monkeypatch.context() as broken:
        broken.setattr("fm2s_stack.job.target.export_tiff", lambda *a, **o: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal_target(find_target(out, overwrite=False), Stop(), lambda text: None)
    assert "fm2s-stack seal exports it" in call.denoise(source, out, "--units", "1/1").err
    call("seal", out)
    assert tifffile.imread(out).shape == (130, 32, 32)
