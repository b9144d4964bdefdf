"""Damage to outputs that are being made: found, put back, never sealed over or thrown away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_tools import attributes, only_line
from verify_tools import HERE, delete, digests, flip, keys, recording, swap, truncate

from fm2s_stack import denoise_stack, open_stack
from fm2s_stack.check.repair import repair_output
from fm2s_stack.check.verify import verify_output
from fm2s_stack.errors import OutputError, OutputExists, StoppedEarly
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.job.completing import seal_target
from fm2s_stack.job.target import find_target
from fm2s_stack.pipeline import prepare_stack
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stopping import Stop
from fm2s_stack.store.journal import Journal, journal_folder

FIT = FitSettings(find_preset("srdtrans"), draws=2, seed=1)
CHUNKS = WriteSettings(chunks=(2, 64, 64))
STRAYS = ("s0/c/9/0/0/0", "s0/c/0/0/junk", "s0/c/0/00/0/0", "fm2s_stack/junk", "s1/1.0.0.0")


def share(folder: Path, n: int) -> None:
    run = RunSettings(device="cpu", threads=1, units=(n, 2))
    denoise_stack(open_stack(folder / "movie.tif"), folder / "out.zarr", FIT, write=CHUNKS, run=run)


def go_on(folder: Path) -> None:
    denoise_stack(
        open_stack(folder / "movie.tif"), folder / "out.zarr", FIT, write=CHUNKS, run=HERE
    )


def complete(folder: Path) -> None:
    seal_target(find_target(folder / "out.zarr", overwrite=False), Stop(), lambda text: None)


def pixels(folder: Path) -> dict[str, str]:
    """Digests of all files but those with the time of the run in them."""
    own = ("zarr.json", "fm2s_stack/units/", "fm2s_stack/spare/")
    return {key: value for key, value in digests(folder).items() if not key.startswith(own)}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a recording and an output of it of which one share is done."""
    folder = tmp_path_factory.mktemp("begun")
    stack = open_stack(recording(folder / "movie.tif"))
    prepare_stack(stack, folder / "out.zarr", FIT, write=CHUNKS, run=HERE)
    share(folder, 1)
    return folder


@pytest.fixture(scope="module")
def expected(begun, tmp_path_factory):
    """What an undisturbed run makes of it."""
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("expected") / "begun")
    go_on(folder)
    return pixels(folder / "out.zarr")


@pytest.fixture
def half(begun, tmp_path):
    """A copy of the folder, to be damaged."""
    return shutil.copytree(begun, tmp_path / "half")


def side_files(out: Path) -> list[str]:
    journal = Journal(str(journal_folder(out)), attributes(out)["token"])
    units = {file[0] for row in journal.read("unit") for file in row["files"]}
    return sorted(digests(out).keys() - units)


def test_an_undamaged_one_is_good_and_sealed_as_ever(half, expected):
    found = verify_output(half / "out.zarr")
    assert (found.exit_code, found.damages, found.unchecked) == (75, (), "")
    assert found.files == len(digests(half / "out.zarr"))
    share(half, 2)
    complete(half)
    assert pixels(half / "out.zarr") == expected
    assert verify_output(half / "out.zarr").exit_code == 0
    assert not journal_folder(half / "out.zarr").exists()


def test_every_damage_to_what_it_was_begun_with_is_found_and_put_back(half):
    out, rng = half / "out.zarr", np.random.default_rng(4)
    before, side = digests(out), side_files(out)
    assert {"zarr.json", "s0/zarr.json", "fm2s_stack/knots/zarr.json"} < set(side)
    for number, key in enumerate(side * 4):
        damage = (flip, truncate, delete, swap(half / "movie.tif"))[
            (number + number // len(side)) % 4
        ]
        damage(out / key, rng)
        found = verify_output(out)
        assert (keys(found), found.exit_code, found.state) == ({key}, 1, "incomplete"), key
        assert repair_output(out).units == 0
        assert digests(out) == before, key
    assert verify_output(out).exit_code == 75


@pytest.mark.parametrize(
    "key", ["zarr.json", "fm2s_stack/weights/c/0/0/0/0", "fm2s_stack/knots", "s0/zarr.json"]
)
def test_the_same_command_puts_it_back_and_keeps_what_is_done(half, expected, key):
    out = half / "out.zarr"
    if (out / key).is_dir():
        shutil.rmtree(out / key)
    else:
        flip(out / key, np.random.default_rng(1))
    done = {file: file.stat().st_mtime_ns for file in out.rglob("s0/c/**/*") if file.is_file()}
    assert done
    go_on(half)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert pixels(out) == expected
    assert verify_output(out).exit_code == 0


def test_a_seal_puts_back_the_root(half, expected):
    out = half / "out.zarr"
    share(half, 2)
    (out / "zarr.json").write_bytes(b"\x00" * 500)
    complete(half)
    assert pixels(out) == expected
    assert verify_output(out).exit_code == 0


def test_a_root_with_other_terms_or_token_never_counts(half, expected):
    out = half / "out.zarr"
    document = json.loads((out / "zarr.json").read_text())
    document["attributes"]["fm2s_stack"]["token"] = "0" * 64
    document["attributes"]["fm2s_stack"]["intensity"][0]["low"] += 8
    (out / "zarr.json").write_text(json.dumps(document))
    assert keys(verify_output(out)) == {"zarr.json"}
    go_on(half)
    assert pixels(out) == expected


def test_foreign_files_are_named_and_removed_and_nothing_is_sealed_over_them(half, call, expected):
    out = half / "out.zarr"
    for key in STRAYS:
        (out / key).parent.mkdir(parents=True, exist_ok=True)
        (out / key).write_bytes(b"junk")
    assert keys(verify_output(out)) == set(STRAYS)
    with pytest.raises(OutputError, match="--repair removes them"):
        go_on(half)
    call("verify", out, "--quiet", code=1)
    assert "repair with --repair" in call.out
    assert "--source" not in call.out
    call("verify", out, "--repair", "--quiet", code=75)
    assert not (out / "s0/c/9").exists()
    go_on(half)
    assert pixels(out) == expected


def test_a_desktop_s_files_and_units_in_hand_are_no_damage(half):
    out = half / "out.zarr"
    (out / "s0" / ".DS_Store").write_bytes(b"1")
    taken = {file.relative_to(out).as_posix() for file in out.rglob("s0/c/**/*") if file.is_file()}
    whole = {f"s0/c/{t}/{c}/0/0" for t in range(3) for c in range(2)}
    (free, *_) = sorted(whole - taken)
    (out / free).parent.mkdir(parents=True, exist_ok=True)
    (out / free).write_bytes(b"half of a unit")
    (out / f"{free}.abc.partial").write_bytes(b"half of a unit")
    assert verify_output(out).exit_code == 75


def test_changed_bytes_of_a_done_unit_are_never_sealed(half, expected):
    out = half / "out.zarr"
    share(half, 2)
    shard = next(file for file in sorted(out.rglob("s0/c/**/*")) if file.is_file())
    flip(shard, np.random.default_rng(2))
    with pytest.raises(StoppedEarly, match=r"1 of \d units are left"):
        complete(half)
    assert not shard.exists()
    share(half, 1)
    share(half, 2)
    complete(half)
    assert pixels(out) == expected


def test_changed_bytes_of_a_done_unit_are_made_again_by_the_same_command(half, expected):
    out = half / "out.zarr"
    shard = next(file for file in sorted(out.rglob("s0/c/**/*")) if file.is_file())
    flip(shard, np.random.default_rng(2))
    go_on(half)
    assert pixels(out) == expected
    assert verify_output(out).exit_code == 0


def test_a_damaged_copy_is_never_trusted(half, expected):
    out, rng = half / "out.zarr", np.random.default_rng(3)
    copy = journal_folder(out) / "frozen.zip"
    before, whole = digests(out), copy.read_bytes()
    for _ in range(40):
        flip(copy, rng)
        verify_output(out)
        if verify_output(out).damages:
            repair_output(out)
        assert digests(out) == before
        copy.write_bytes(whole)
    copy.write_bytes(whole[: len(whole) // 2])
    assert "no whole copy" in verify_output(out).unchecked
    flip(out / "fm2s_stack/weights/c/0/0/0/0", rng)
    with pytest.raises(OutputError, match="--overwrite"):
        go_on(half)


def test_another_zarr_in_its_place_is_left_alone(half):
    out = half / "out.zarr"
    shutil.rmtree(out)
    out.mkdir()
    other = {"zarr_format": 3, "node_type": "group", "attributes": {"mine": 1}}
    (out / "zarr.json").write_text(json.dumps(other))
    with pytest.raises(OutputExists, match="not an output"):
        go_on(half)
    assert digests(out).keys() == {"zarr.json"}
    assert json.loads((out / "zarr.json").read_text()) == other


def test_an_input_given_by_a_slip_of_the_hand_is_never_to_be_removed(half, call):
    for words in (("seal", half / "movie.tif"), ("status", half / "movie.tif")):
        call(*words, code=1)
        assert "remove" not in call.err + call.out
    call("seal", half / "movie.tif", code=1)
    assert "not a file of fm2s-stack" in only_line(call.err)
