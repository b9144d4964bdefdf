"""One contract for every place where units run: a plain loop, threads, a Dask cluster."""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from cluster_tools import (
    LONG,
    Prepared,
    compressed_movie,
    damaged_page,
    fail_everywhere,
    fail_in_one_process,
    kill_own_process,
    nothing,
    prepared,
    tasks_at_work,
)
from PIL import Image

from fm2s_stack import open_stack
from fm2s_stack.engine.choose import opened_place
from fm2s_stack.engine.cluster import Cluster
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.local import Here
from fm2s_stack.engine.run import name_unit, run_units
from fm2s_stack.engine.shipping import pack
from fm2s_stack.engine.unit import run_unit
from fm2s_stack.engine.work import Place, Work
from fm2s_stack.errors import ClusterError, DeviceError, Fm2sError, StoppedEarly
from fm2s_stack.plan import Unit
from fm2s_stack.progress import Silent
from fm2s_stack.settings import RunSettings


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compressed_movie(tmp_path_factory.mktemp("source") / "movie.tif")


@pytest.fixture(scope="module")
def frozen(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    made = prepared(source, tmp_path_factory.mktemp("frozen") / "out.zarr")
    assert len(made.plan.units) == 10
    return made


@pytest.fixture(scope="module")
def expected(frozen: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Shards that a plain loop makes."""
    done = frozen.copied(tmp_path_factory.mktemp("loop") / "out")
    for unit in done.plan.units:
        run_unit(done.job, unit, DevicePool("cpu"), Silent())
    return done.files


@pytest.fixture(scope="module")
def cluster(source: Path) -> Iterator[Place]:
    run = RunSettings(workers=2, device="cpu")
    with opened_place(run, open_stack(source), None, Silent(), nothing) as place:
        yield place


@pytest.fixture(params=["threads", "dask"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "threads":
        return Here(DevicePool("cpu", 2))
    place: Place = request.getfixturevalue("cluster")
    return place


@pytest.fixture
def work(frozen: Prepared, tmp_path: Path) -> Prepared:
    """A copy of the prepared job, none of whose units is done."""
    return frozen.copied(tmp_path / "work")


class Counted(Silent):
    """Counts what a run tells of."""

    def __init__(self) -> None:
        self.planes = 0

    def advance(self, count: int) -> None:
        self.planes += count


def left(work: Prepared) -> list[Unit]:
    return [unit for unit in work.plan.units if unit.index not in work.times_journaled]


def test_every_place_writes_the_bytes_of_a_plain_loop_and_journals_a_unit_once(
    place, work, expected
):
    told = Counted()
    records = run_units(work.job, work.plan.units, 2, place, told, nothing)
    assert [record.index for record in records] == list(range(10))
    assert work.files == expected
    assert work.times_journaled == dict.fromkeys(range(10), 1)
    assert told.planes == 40


def test_what_check_raises_ends_a_run_within_seconds_and_the_rest_can_follow(
    place, source, tmp_path
):
    long = prepared(source, tmp_path / "long.zarr", LONG)  # no unit would end within hours
    is_cluster, began, working = isinstance(place, Cluster), time.monotonic(), []

    def check() -> None:
        if time.monotonic() > began + 0.8:
            if is_cluster:
                working.extend(place.crew.client.run(tasks_at_work).values())
            raise StoppedEarly("asked to")

    with pytest.raises(StoppedEarly, match="asked to"):
        run_units(long.job, long.plan.units, 2, place, Silent(), check)
    assert time.monotonic() - began < 0.8 + 10
    assert not long.times_journaled and not long.files
    if is_cluster:
        assert any(working)
        assert not any(place.crew.client.run(tasks_at_work).values())


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(place, work, expected, monkeypatch):
    monkeypatch.setattr("fm2s_stack.engine.pool.POLL", 0.002)  # before all units are done
    calls = itertools.count()

    def check() -> None:
        if next(calls):
            raise StoppedEarly("enough")

    with pytest.raises(StoppedEarly):
        run_units(work.job, work.plan.units, 2, place, Silent(), check)
    run_units(work.job, left(work), 2, place, Silent(), nothing)
    assert work.files == expected
    assert set(work.times_journaled.values()) == {1}


def test_a_unit_that_fails_is_named_and_done_when_its_source_is_whole_again(
    place, work, source, expected
):
    with damaged_page(source, 21), pytest.raises(Fm2sError, match="frame 21"):
        run_units(work.job, work.plan.units, 2, place, Silent(), nothing)
    done = set(work.times_journaled)
    assert 5 not in done
    if isinstance(place, Cluster):
        assert done == set(range(10)) - {5}
    run_units(work.job, left(work), 2, place, Silent(), nothing)
    assert work.files == expected
    assert work.times_journaled == dict.fromkeys(range(10), 1)


def test_a_cluster_tells_of_every_unit_that_failed_at_the_end(cluster, work, source):
    with damaged_page(source, 1), pytest.raises(Fm2sError) as found:
        run_units(work.job, work.plan.units[:3], 2, cluster, Silent(), nothing)
    text = str(found.value)
    assert text.startswith(
        "1 of 3 failed on the local cluster, the others are done: frames 0 to 3 ("
    )
    assert "frame 1" in text and "Run the same command again" in text and "\n" not in text


def numbers(do: Callable[..., int]) -> Work[int, int]:
    return Work(do, lambda task: 1, lambda task: f"task {task}")


def test_what_fails_on_one_workers_device_is_done_on_the_others(cluster, tmp_path):
    told = Counted()
    work = numbers(partial(fail_in_one_process, tmp_path))
    assert cluster.each(work, range(8), told, nothing) == [task * task for task in range(8)]
    assert told.planes == 8
    with pytest.raises(DeviceError, match="no device works"):
        cluster.each(numbers(fail_everywhere), range(8), Silent(), nothing)


@pytest.mark.slow
def test_a_task_that_kills_its_worker_fails_after_three_tries_and_takes_no_other_along(
    cluster, tmp_path
):
    told = Counted()
    with pytest.raises(ClusterError, match=r"^1 of 8 failed.*: task 3 \(its worker died"):
        cluster.each(numbers(partial(kill_own_process, tmp_path)), range(8), told, nothing)
    assert told.planes == 7
    assert len(list(tmp_path.glob("3-*"))) == 3


@pytest.mark.parametrize("kind", ["tiff", "zarr", "png", "raw"])
def test_work_is_packed_for_processes_of_another_working_directory(
    kind, source, tmp_path, monkeypatch
):
    pixels = tifffile.imread(source)[:3]
    monkeypatch.chdir(tmp_path)
    named = {"tiff": "m.tif", "raw": "m.tif", "zarr": "m.zarr", "png": "."}[kind]
    if kind == "png":
        for t, plane in enumerate(pixels):
            Image.fromarray(plane.astype(np.uint8)).save(f"frame_{t}.png")
    elif kind == "zarr":
        zarr.save_array(named, pixels)
    else:
        compression = "zlib" if kind == "tiff" else None
        tifffile.imwrite(named, pixels, photometric="minisblack", compression=compression)
    packed = pack((open_stack(named, axes=None if kind != "zarr" else "TYX"), Path("out")))
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    stack, folder = pickle.loads(packed)
    assert np.array_equal(stack.array.compute().reshape(pixels.shape), pixels)
    assert np.array_equal(stack.planes.read(1, 0, 0, slice(0, 32), slice(0, 32)), pixels[1])
    assert folder == tmp_path / "out"


def test_the_places_of_an_output_and_its_journal_turn_absolute_when_packed(
    frozen, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = frozen.job
    layout, journal = replace(job.layout, path="o.zarr"), replace(job.journal, folder="o.journal")
    job = pickle.loads(pack(replace(job, layout=layout, journal=journal)))
    assert (job.layout.path, job.journal.folder) == (
        str(tmp_path / "o.zarr"), str(tmp_path / "o.journal"),
    )  # fmt: skip
    assert job.journal.token == frozen.job.journal.token
    assert job.layout.levels == frozen.job.layout.levels


def test_units_are_named_by_their_source_indices(source, tmp_path):
    cut = open_stack(source, frames=(5, 14))
    job = prepared(source, tmp_path / "out.zarr", stack=cut).job
    unit = Unit(0, (4, 8), 0, (0, 1), (0, 32), (0, 32))
    assert name_unit(job, unit) == "frames 9 to 12"
    tile = Unit(0, (8, 9), 0, (0, 1), (0, 16), (16, 32))
    assert name_unit(job, tile) == "frame 13, rows 0 to 15, columns 16 to 31"
