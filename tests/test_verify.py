"""`fm2s-stack verify` finds every damaged piece of an output, and says what it is."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import zarr
from cli_tools import attributes
from verify_tools import (
    HERE,
    digests,
    facts,
    flip,
    keys,
    make_place,
    output_of,
    recording,
    shards,
)

from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.errors import UsageError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A recording, an output of it, and the output of another seed."""
    return make_place(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def fresh(place, tmp_path):
    """A copy of the output, to be damaged."""
    return shutil.copytree(place / "out.zarr", tmp_path / "out.zarr")


def test_what_the_seal_recorded_is_every_file_with_its_size_and_checksum(fresh):
    table = zarr.open_array(str(fresh / "fm2s_stack/units"), mode="r")[...].tobytes()
    rows = [file for row in json.loads(table) for file in row["files"]]
    listed = {key: (size, crc) for key, size, crc in [*rows, *attributes(fresh)["files"]]}
    assert len(rows) > 6
    there = set(digests(fresh))
    assert there - set(listed) == {"zarr.json", "fm2s_stack/spare/zarr.json"}
    assert listed == {key: facts(fresh / key) for key in listed}


def test_a_good_output_is_one_line(place, call):
    call("verify", place / "out.zarr", "--quiet")
    assert call.err == ""
    count = len(digests(place / "out.zarr"))
    (line,) = call.out.splitlines()
    assert f"{count} files" in line
    assert "as they were written" in line


def test_verify_needs_no_torch(place):
    from cli_tools import python

    code = (
        "import sys\nfrom fm2s_stack.check.verify import verify_output\n"
        "assert verify_output(sys.argv[1]).is_good\nprint('torch' in sys.modules)"
    )
    assert python(code, place / "out.zarr").stdout.strip() == "False"


def test_a_flipped_bit_in_any_file_is_found_and_named(fresh):
    rng = np.random.default_rng(11)
    for key in digests(fresh):
        file = fresh / key
        content = file.read_bytes()
        flip(file, rng)
        assert keys(verify_output(fresh)) == {key}
        file.write_bytes(content)
    assert verify_output(fresh).is_good


def test_a_flipped_bit_that_leaves_the_meaning_of_the_root_is_found(fresh):
    file = fresh / "zarr.json"
    content = file.read_bytes().replace(b'"status"', b'"st\\u0061tus"')
    assert json.loads(content) == json.loads(file.read_bytes())
    file.write_bytes(content)
    assert keys(verify_output(fresh)) == {"zarr.json"}


def test_every_damage_is_named_with_its_unit_and_exits_with_1(fresh, call):
    first, *_, last = shards(fresh)
    (fresh / first).unlink()
    os.truncate(fresh / last, 5)
    call("verify", fresh, "--quiet", code=1)
    lines = call.out.splitlines()
    assert any(first in line and "missing" in line and "channel 0" in line for line in lines)
    assert any(last in line and "has 5 bytes" in line and "channel 1" in line for line in lines)
    assert "--repair" in lines[-1]
    call("verify", fresh, "--quiet", "--json", code=1)
    told = json.loads(call.out)
    assert not told["good"]
    assert {damage["key"] for damage in told["damages"]} == {first, last}


def test_a_shard_of_another_place_is_found(fresh):
    first, second, *_ = shards(fresh)
    shutil.copyfile(fresh / first, fresh / second)
    assert keys(verify_output(fresh)) == {second}


def test_a_shard_of_another_output_is_found(place, fresh):
    key = shards(fresh)[0]
    shutil.copyfile(place / "other.zarr" / key, fresh / key)
    assert keys(verify_output(fresh)) == {key}


def test_the_root_of_another_output_is_found_although_whole(place, fresh):
    shutil.copyfile(place / "other.zarr/zarr.json", fresh / "zarr.json")
    assert keys(verify_output(fresh)) == {"zarr.json"}


def test_unknown_files_are_named_and_those_of_desktops_are_not(fresh):
    (fresh / "s0/.DS_Store").write_bytes(b"x")
    assert verify_output(fresh).is_good
    stray = fresh / "s0/c/9/9/9/9"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    assert keys(verify_output(fresh)) == {"s0/c/9/9/9/9"}
    repair_output(fresh)
    assert not stray.exists()
    assert verify_output(fresh).is_good


def test_labels_that_others_added_are_no_damage(fresh):
    zarr.create_array(str(fresh / "labels/cells"), shape=(4, 4), dtype="u1")[...] = 1
    assert verify_output(fresh).is_good


def test_an_unreadable_file_is_damage_and_no_end(fresh, monkeypatch):
    import fm2s_stack.store.integrity as integrity

    bad, read = fresh / shards(fresh)[0], integrity.checksum

    def failing(path):
        if path == bad:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(integrity, "checksum", failing)
    (damage,) = verify_output(fresh).damages
    assert damage.kind == "unreadable"


def test_the_table_of_units_is_read_from_its_copy(fresh):
    key = "fm2s_stack/units/c/0"
    (fresh / key).unlink()
    shard = shards(fresh)[0]
    (fresh / shard).write_bytes(b"")
    assert keys(verify_output(fresh)) == {key, shard}


def test_another_input_is_refused_and_named(place, fresh, tmp_path, call):
    other = recording(tmp_path / "other.tif", (5, 2, 40, 301))
    call("verify", fresh, "--source", other, "--quiet", code=1)
    assert "is not what the output was made of" in call.out
    (fresh / shards(fresh)[0]).unlink()
    before = digests(fresh)
    with pytest.raises(UsageError, match="is not what the output was made of"):
        repair_output(fresh, other)
    assert digests(fresh) == before


def test_planes_are_computed_again_and_equal(place, tmp_path):
    moved = shutil.copyfile(place / "movie.tif", tmp_path / "moved.tif")
    found = verify_output(place / "out.zarr", moved, planes=3, seed=4, run=HERE).source
    assert found.is_good
    assert len(found.planes) == 6  # of both channels
    assert {plane.difference for plane in found.planes} == {0.0}
    assert (
        found.planes
        == verify_output(place / "out.zarr", moved, planes=3, seed=4, run=HERE).source.planes
    )


def test_a_pixel_that_the_networks_do_not_give_is_found(place, fresh):
    """Written with its checksums: only computing again can tell."""
    array = zarr.open_array(str(fresh / "s0"), mode="r+")
    shown = array[...]
    array[...] = shown + np.uint16(1)
    table = zarr.open_array(str(fresh / "fm2s_stack/units"), mode="r")[...].tobytes()
    assert not verify_output(fresh).is_good
    forge(fresh, json.loads(table))
    found = verify_output(fresh, place / "movie.tif", planes=1, run=HERE)
    assert not found.damages
    assert not found.is_good
    assert {plane.difference for plane in found.source.planes} == {1.0}


def forge(folder, rows):
    """Make an output tell of the files that are there as if it had written them."""
    from fm2s_stack.engine.unit_record import UnitRecord
    from fm2s_stack.job.sealing import seal_output

    for row in rows:
        row["files"] = [[key, *facts(folder / key)] for key, _, _ in row["files"]]
    seal_output(folder, [UnitRecord.from_row(row) for row in rows])


def test_another_kind_of_device_may_differ_by_a_grey_level(place, fresh):
    table = zarr.open_array(str(fresh / "fm2s_stack/units"), mode="r")[...].tobytes()
    rows = json.loads(table)
    array = zarr.open_array(str(fresh / "s0"), mode="r+")
    array[...] = array[...] + np.uint16(1)
    forge(fresh, [{**row, "device": "cuda"} for row in rows])
    found = verify_output(fresh, place / "movie.tif", planes=2, run=HERE)
    assert found.is_good
    assert {plane.difference for plane in found.source.planes} == {1.0}
    assert {plane.made_on for plane in found.source.planes} == {"cuda"}


def test_networks_of_planes_and_selections_are_taken_into_account(tmp_path):
    movie = recording(tmp_path / "movie.tif", (4, 2, 3, 32, 32), "TCZYX")
    from fm2s_stack import denoise_stack, open_stack
    from fm2s_stack.fm2s.presets import find_preset
    from fm2s_stack.settings import FitSettings

    stack = open_stack(movie, frames=(1, 4), slices=(1, 3), channel=("1",))
    denoise_stack(
        stack, tmp_path / "out.zarr", FitSettings(find_preset("srdtrans"), "frame", draws=2),
        run=HERE,
    )  # fmt: skip
    found = verify_output(tmp_path / "out.zarr", movie, planes=3, run=HERE).source
    assert found.is_good
    assert [plane.difference for plane in found.planes] == [0.0] * 3


def test_an_incomplete_output_is_checked_as_far_as_it_goes(place, tmp_path, call):
    out, movie = tmp_path / "out.zarr", place / "movie.tif"
    words = (
        "denoise", movie, out, "-c", "srdtrans", "--steps", "2", "--chunks", "2,64,64",
        "--device", "cpu", "--threads", "1", "--quiet",
    )  # fmt: skip
    call(*words, "--prepare")
    call(*words, "--units", "1/3")
    call("verify", out, "--quiet", code=75)
    assert "incomplete" in call.out
    call("verify", out, "--quiet", "--source", movie, "--device", "cpu", code=75)
    flip(out / shards(out)[0], np.random.default_rng(1))
    call("verify", out, "--quiet", code=1)
    assert shards(out)[0] in call.out
    call("verify", out, "--quiet", "--repair", "--source", movie, "--device", "cpu")
    assert attributes(out)["status"] == "complete"
    whole = output_of(movie, tmp_path / "whole.zarr", seed=3407)
    assert shards(out) == shards(whole)
    for key in shards(out):
        assert (out / key).read_bytes() == (whole / key).read_bytes()


def test_what_is_no_output_is_refused(tmp_path, movie, call):
    call("verify", tmp_path / "nothing.zarr", code=1)
    assert "no such output" in call.err
    call("verify", movie, code=1)
    zarr.create_array(str(tmp_path / "plain.zarr"), shape=(4, 4), dtype="u1")
    call("verify", tmp_path / "plain.zarr", code=1)
    assert "fm2s-stack did not write" in call.err
