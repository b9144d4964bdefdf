"""Units, their shares and records: what counts as done, and who may write."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tifffile
from cli_tools import attributes, level, recording
from hypothesis import given
from hypothesis import strategies as st
from resume_tools import CHUNKS, FIT, HERE, denoise

from fm2s_stack import open_stack, pipeline
from fm2s_stack.engine import unit as unit_module
from fm2s_stack.errors import OutputError, OutputIncomplete, StoppedEarly
from fm2s_stack.job.completing import seal_target
from fm2s_stack.job.sealing import done_units
from fm2s_stack.job.target import find_target
from fm2s_stack.pipeline import prepare_stack
from fm2s_stack.plan import Unit, share_of
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import Journal, journal_folder

pytestmark = pytest.mark.usefixtures("quick_looks")


@pytest.fixture
def stack(tmp_path):
    return open_stack(recording(tmp_path / "movie.tif", (200, 32, 32)))


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
