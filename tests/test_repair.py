"""`fm2s-stack verify --repair` restores the same bytes, cut at any instant."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cli_tools import attributes
from verify_tools import (
    HERE,
    delete,
    digests,
    every_damage,
    flip,
    keys,
    make_place,
    output_of,
    recording,
    shards,
    truncate,
)

from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.errors import OutputError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A recording, an output of it, and the output of another seed."""
    return make_place(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def fresh(place, tmp_path):
    """A copy of the output, to be damaged."""
    return shutil.copytree(place / "out.zarr", tmp_path / "out.zarr")


def test_side_files_are_repaired_without_the_source_to_the_same_bytes(fresh):
    before, rng = digests(fresh), np.random.default_rng(5)
    units = {*shards(fresh), *shards(fresh, "s1")}
    for number, key in enumerate(sorted(set(before) - units)):
        (flip, truncate, delete)[number % 3](fresh / key, rng)
        assert keys(verify_output(fresh)) == {key}
        done = repair_output(fresh)
        assert done.identical
        assert digests(fresh) == before, key


def test_damaged_units_are_computed_again_to_the_same_bytes(place, fresh, call):
    before = digests(fresh)
    (fresh / shards(fresh)[0]).write_bytes(b"")
    flip(fresh / shards(fresh, "s1")[-1], np.random.default_rng(0))
    delete(fresh / "zarr.json", np.random.default_rng(0))
    call("verify", fresh, "--repair", "--quiet", code=2)
    assert "--source" in call.err
    call(
        "verify", fresh, "--repair", "--source", place / "movie.tif", "--device", "cpu",
        "--threads", "1", "--quiet",
    )  # fmt: skip
    assert "units computed: 2; every byte is what was sealed" in call.out
    assert digests(fresh) == before
    assert not fresh.with_name("out.zarr.journal").exists()


def test_what_nothing_can_restore_is_refused_before_anything_is_touched(fresh):
    for key in ("fm2s_stack/knots/zarr.json", "fm2s_stack/spare/files/c/0"):
        (fresh / key).write_bytes(b"")
    (fresh / "s0/zarr.json").write_bytes(b"")
    before = digests(fresh)
    with pytest.raises(OutputError, match="cannot be restored"):
        repair_output(fresh)
    assert digests(fresh) == before


@pytest.mark.parametrize("moment", [1, 2, 4, 6, 9])
def test_a_repair_that_is_cut_goes_on_with_either_command(place, fresh, moment, monkeypatch):
    """Every change to a file could be the last one: cut after some of them."""
    import fm2s_stack.check.repair as repair
    import fm2s_stack.store.journal as journal

    before, changes = digests(fresh), 0

    class Cut(BaseException):
        pass

    def counting(function):
        def call(*arguments, **options):
            nonlocal changes
            changes += 1
            if changes == moment:
                raise Cut
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch, pytest.raises(Cut):
        for module, name in (
            (repair, "_remove"), (repair, "_put"), (repair, "set_attributes"),
            (journal, "_append"),
        ):  # fmt: skip
            patch.setattr(module, name, counting(getattr(module, name)))
        (fresh / "s0/zarr.json").write_bytes(b"")
        for key in (shards(fresh)[0], shards(fresh)[-1]):
            (fresh / key).write_bytes(b"")
        repair_output(fresh, place / "movie.tif", run=HERE)
        raise Cut  # fewer changes than that: it is done
    repair_output(fresh, place / "movie.tif", run=HERE)
    assert digests(fresh) == before


def test_the_run_that_made_it_continues_a_repair_that_was_cut(place, fresh, monkeypatch):
    import fm2s_stack.check.repair as repair

    before = digests(fresh)
    (fresh / shards(fresh)[0]).write_bytes(b"")
    monkeypatch.setattr(repair, "_make", lambda *arguments: 0)
    repair_output(fresh, place / "movie.tif", run=HERE)
    assert attributes(fresh)["status"] == "incomplete"
    output_of(place / "movie.tif", fresh)
    assert digests(fresh) == before


def test_planes_wait_until_what_they_need_is_repaired(place, fresh):
    for key in ("s0/zarr.json", "fm2s_stack/weights/zarr.json"):
        (fresh / key).write_bytes(b"{")
    found = verify_output(fresh, place / "movie.tif", run=HERE)
    assert keys(found) == {"s0/zarr.json", "fm2s_stack/weights/zarr.json"}
    assert found.source.planes == ()
    assert "whole" in found.source.skipped
    assert repair_output(fresh, place / "movie.tif", run=HERE).units == 0
    assert verify_output(fresh, place / "movie.tif", run=HERE).is_good


def test_a_folder_in_the_place_of_a_shard_is_replaced(place, fresh):
    before, key = digests(fresh), shards(fresh)[0]
    (fresh / key).unlink()
    (fresh / key).mkdir()
    assert keys(verify_output(fresh)) == {key}
    assert repair_output(fresh, place / "movie.tif", run=HERE).identical
    assert digests(fresh) == before


def test_units_that_other_arithmetic_computes_are_sealed_anew(place, fresh, monkeypatch):
    """Of another kind of device: the bytes are others, and the output tells of those."""
    from fm2s_stack.engine.task import Task

    denoise = Task.denoise

    def other(task, *arguments):
        result = denoise(task, *arguments)
        task.output[...] += np.uint16(1)
        return result

    key, before = shards(fresh)[0], digests(fresh)
    (fresh / key).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Task, "denoise", other)
        assert not repair_output(fresh, place / "movie.tif", run=HERE).identical
    assert digests(fresh)[key] != before[key]
    assert verify_output(fresh).is_good
    others = {*shards(fresh), *shards(fresh, "s1")} - {key}
    changed = {key for key in others if digests(fresh)[key] != before[key]}
    assert len(changed) <= 1  # of the same unit, in the pyramid


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"ome_zarr": "0.4", "chunks": (2, 64, 512)},
        {"mode": "frame", "chunks": None, "shape": (2, 2, 32, 32)},
    ],
    ids=["stack-0.5", "stack-0.4", "frame"],
)
def test_every_damage_in_every_file_is_found_and_repaired_to_the_same_bytes(tmp_path, how):
    shape = {"shape": how.pop("shape")} if "shape" in how else {}
    movie = recording(tmp_path / "movie.tif", **shape)
    out = output_of(movie, tmp_path / "out.zarr", **how)
    other = output_of(movie, tmp_path / "other.zarr", seed=2, **how)
    before, rng = digests(out), np.random.default_rng(9)
    for key, name, damage in every_damage(out, other):
        damage(out / key, rng)
        assert digests(out) != before
        report = verify_output(out)
        assert keys(report) == {key}, (key, name)
        assert repair_output(out, movie, run=HERE).identical, (key, name)
        assert digests(out) == before, (key, name)
        assert not out.with_name("out.zarr.journal").exists()
