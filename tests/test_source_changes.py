"""An input that changes while a run goes on, or between runs, is noticed."""

from __future__ import annotations

import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cli_tools import attributes, level, recording
from resume_tools import FIT, StopAfter

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.engine import unit as unit_module
from fm2s_stack.engine.unit_record import UnitRecord
from fm2s_stack.errors import OutputExists, StackError, StoppedEarly, UsageError
from fm2s_stack.job.sealing import done_units
from fm2s_stack.pipeline import prepare_stack
from fm2s_stack.settings import RunSettings, WriteSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.unit_table import read_units

HERE = RunSettings(device="cpu", threads=1)
CHUNKS = WriteSettings(chunks=(4, 32, 32))
FRAMES = 200
EARLY, LATE = 9, 190  # frames that the digest does not sample


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr("fm2s_stack.engine.pool.POLL", 0.005)


@pytest.fixture
def movie(tmp_path):
    return recording(tmp_path / "movie.tif", (FRAMES, 32, 32))


class Notes(StopAfter):
    """Keeps what was said, and stops after no plane."""

    def __init__(self):
        super().__init__(Stop(), 10**9)


def denoise(movie, output, run=HERE, **options):
    return denoise_stack(open_stack(movie), output, FIT, run=run, write=CHUNKS, **options)


def stopped(movie, output, planes=96):
    stop = Stop()
    with pytest.raises(StoppedEarly):
        denoise(movie, output, stop=stop, progress=StopAfter(stop, planes))
    done = done_units(output)
    assert 0 < len(done) < FRAMES
    return done


def edit(movie, frame, value=7):
    """Change the pixels of a frame in place: same size, same page table."""
    with tifffile.TiffFile(movie) as tif:
        offset, count = tif.pages[frame].dataoffsets[0], tif.pages[frame].databytecounts[0]
    digest = open_stack(movie).identity.digest
    with movie.open("r+b") as file:
        file.seek(offset)
        file.write(np.full(count // 2, value, np.uint16).tobytes())
    later(movie)
    assert open_stack(movie).identity.digest == digest


def later(path):
    """Let a file be a second younger than it was: clocks of file systems are coarse."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def edit_at_unit(monkeypatch, number, change):
    """Call `change` before the unit of this number, in order, is computed."""
    compute, met = unit_module.compute_unit, []

    def changing(*args):
        met.append(args)
        if len(met) == number:
            change()
        return compute(*args)

    monkeypatch.setattr(unit_module, "compute_unit", changing)


def unit_of(rows, frame):
    (row,) = [row for row in rows if row["t"][0] <= frame < row["t"][1]]
    return row


def test_each_unit_records_the_checksum_of_the_planes_it_read(movie, tmp_path):
    denoise(movie, tmp_path / "out.zarr")
    rows, pixels = read_units(tmp_path / "out.zarr"), tifffile.imread(movie)
    assert len(rows) > 2
    for row in rows:
        assert row["source_crc32"] == zlib.crc32(pixels[slice(*row["t"])].tobytes())


def test_a_record_of_an_older_version_without_the_checksum_is_understood(movie, tmp_path):
    denoise(movie, tmp_path / "out.zarr")
    row = read_units(tmp_path / "out.zarr")[0]
    del row["source_crc32"]
    assert UnitRecord.from_row(row).source_crc32 is None


def test_an_input_overwritten_while_units_run_is_not_sealed(movie, tmp_path, monkeypatch, call):
    output = tmp_path / "out.zarr"

    def overwrite():
        pixels = tifffile.imread(movie)
        tifffile.imwrite(movie, pixels[::-1] // 2, photometric="minisblack")
        later(movie)

    edit_at_unit(monkeypatch, 2, overwrite)
    with pytest.raises(StackError, match="changed while it was read"):
        denoise(movie, output)
    assert attributes(output)["status"] == "incomplete"
    assert "changed while units were done" in call("seal", output, code=75).err
    with pytest.raises(OutputExists, match="the content of the input"):
        denoise(movie, output)
    assert attributes(output)["status"] == "incomplete"


def test_units_made_of_a_passing_content_are_done_again(movie, tmp_path, monkeypatch):
    """Also where the file has its old times again: the journal remembers."""
    output, good = tmp_path / "out.zarr", tmp_path / "good.tif"
    shutil.copy2(movie, good)
    denoise(movie, tmp_path / "undisturbed.zarr")
    edit_at_unit(monkeypatch, 2, lambda: edit(movie, LATE))
    with pytest.raises(StackError, match="changed while it was read"):
        denoise(movie, output)
    shutil.copy2(good, movie)
    told = Notes()
    denoise(movie, output, progress=told)
    assert any("differs in frames" in note and "done again" in note for note in told.notes)
    assert (level(output) == level(tmp_path / "undisturbed.zarr")).all()
    assert verify_output(output, movie, planes=0).is_good


def test_a_share_whose_input_changed_is_in_doubt_until_it_is_run_again(
    movie, tmp_path, monkeypatch, call
):
    output = tmp_path / "out.zarr"
    prepare_stack(open_stack(movie), output, FIT, run=HERE, write=CHUNKS)
    shares = [replace(HERE, units=(i, 2)) for i in (1, 2)]
    denoise(movie, output, shares[0])
    edit_at_unit(monkeypatch, 1, lambda: later(movie))
    with pytest.raises(StackError, match="changed while it was read"):
        denoise(movie, output, shares[1])
    assert "changed while units were done" in call("seal", output, code=75).err
    denoise(movie, output, shares[1])
    call("seal", output)
    assert attributes(output)["status"] == "complete"


def test_networks_trained_on_an_input_that_changed_are_forgotten(movie, tmp_path, monkeypatch):
    from fm2s_stack.job import prepare

    train = prepare.train_channels

    def changing(*args, **options):
        later(movie)
        return train(*args, **options)

    monkeypatch.setattr(prepare, "train_channels", changing)
    with pytest.raises(StackError, match="changed while networks were trained"):
        denoise(movie, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    assert not list((tmp_path / "out.zarr.journal").glob("*.jsonl"))


@pytest.mark.parametrize("how", ["touched", "copied"])
def test_a_touched_or_copied_input_continues_and_is_compared_once(movie, tmp_path, how):
    output = tmp_path / "out.zarr"
    done = stopped(movie, output)
    if how == "copied":
        (tmp_path / "scratch").mkdir()
        movie = Path(shutil.copy(movie, tmp_path / "scratch/other.tif"))
    later(movie)
    told = Notes()
    assert prepare_stack(open_stack(movie), output, FIT, run=HERE, write=CHUNKS, progress=told)
    same = f"the input of {len(done)} of {len(done)} units that are done is the same"
    assert any(same in note for note in told.notes)
    told = Notes()
    denoise(movie, output, progress=told)
    assert not any("touched" in note for note in told.notes)
    assert attributes(output)["status"] == "complete"


def test_a_page_edited_between_runs_is_refused_with_its_frames(movie, tmp_path):
    output = tmp_path / "out.zarr"
    done = stopped(movie, output)
    edit(movie, EARLY)
    first, last = next(r.t for r in done.values() if r.t[0] <= EARLY < r.t[1])
    with pytest.raises(OutputExists, match=f"frames {first} to {last - 1} from") as told:
        denoise(movie, output)
    assert "--overwrite" in str(told.value)
    assert attributes(output)["status"] == "incomplete"
    assert done_units(output) == done


def test_two_inputs_that_differ_in_a_page_are_told_apart_whichever_came_last(movie, tmp_path):
    """Units of the first, then some of the second, then the first again: with its old times."""
    output, second = tmp_path / "out.zarr", tmp_path / "second.tif"
    stopped(movie, output, 64)
    left = FRAMES - 10
    shutil.copy(movie, second)
    edit(second, LATE)
    denoise(second, output, replace(HERE, units=(2, 2)))
    assert any(record.t[1] > left for record in done_units(output).values())
    with pytest.raises(OutputExists, match="the content of"):
        denoise(movie, output)


def test_verify_names_the_frames_of_an_edited_input(movie, tmp_path, call):
    output = tmp_path / "out.zarr"
    denoise(movie, output)
    count = len(read_units(output))
    words = ("verify", output, "--source", movie, "--planes", 0, "--quiet")
    assert f"every pixel that {count} of {count} units read is the same" in call(*words).out
    edit(movie, LATE)
    first, stop = unit_of(read_units(output), LATE)["t"]
    said = call(*words, code=1).out
    assert f"frames {first} to {stop - 1} of" in said
    assert f"{count - 1} of {count} units" in said


def test_a_repair_takes_an_input_that_is_as_it_was_in_the_damaged_units(movie, tmp_path):
    output = tmp_path / "out.zarr"
    denoise(movie, output)
    before = level(output)
    rows = read_units(output)
    edit(movie, LATE)
    (output / unit_of(rows, EARLY)["files"][0][0]).unlink()
    repair_output(output, movie, run=HERE)
    assert (level(output) == before).all()
    file = output / unit_of(rows, LATE)["files"][0][0]
    file.unlink()
    with pytest.raises(UsageError, match="not the pixels"):
        repair_output(output, movie, run=HERE)
    assert attributes(output)["status"] == "complete"


def test_files_of_a_sequence_are_watched_one_by_one(tmp_path):
    for number in range(5):
        recording(tmp_path / f"frame{number}.tif", (16, 16))
    stack = open_stack(tmp_path)
    assert not stack.identity.times.have_changed()
    file = tmp_path / "frame2.tif"
    os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**12))  # older than the others
    assert stack.identity.times.have_changed()
    assert not open_stack(tmp_path).identity.times.have_changed()
    file.unlink()
    assert stack.identity.times.have_changed()
