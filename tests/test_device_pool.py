"""Devices: their names, their leases, several of them, slow ones and failing ones."""

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial

import pytest
import torch

from fm2s_stack.engine import arithmetic, devices, faults, room
from fm2s_stack.engine.arithmetic import repeatable
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.devices import find_devices
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.errors import DeviceError, MemoryTooSmall, UsageError
from fm2s_stack.plan import Cut

GPUS = ("cuda:0", "cuda:1", "cuda:2")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(faults, "WAITS", (0.0, 0.0))


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs."""

    def make(count: int) -> None:
        monkeypatch.setattr(devices, "_may_have_gpus", lambda: count > 0)
        monkeypatch.setattr(devices, "_gpu_count", lambda: count)

    return make


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [
        (0, "auto", ("cpu",)),
        (0, "cpu", ("cpu",)),
        (3, "cpu", ("cpu",)),
        (1, "auto", ("cuda:0",)),
        (3, "auto", GPUS),
        (3, "cuda", GPUS),
        (3, "cuda:1", ("cuda:1",)),
        (3, "cuda:0,2", ("cuda:0", "cuda:2")),
        (3, "cuda:2,cuda:0,2", ("cuda:2", "cuda:0")),
    ],
)
def test_a_name_stands_for_devices(machine, count, name, expected):
    machine(count)
    assert find_devices(name) == expected


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:-1", "cpu,cuda", "0", ""]
)
def test_a_name_that_is_none_is_a_usage_error(machine, name):
    machine(3)
    with pytest.raises(UsageError, match="expected auto, cpu, cuda, cuda:N or cuda:N,M"):
        find_devices(name)


@pytest.mark.parametrize(
    ("count", "name", "told"),
    [
        (0, "cuda", "no cuda:0, this machine has no CUDA device .* use cpu"),
        (1, "cuda:0,1", "no cuda:1, this machine has 1 CUDA device that .* use cuda:0$"),
        (2, "cuda:5", "no cuda:5, this machine has 2 CUDA devices .* use cuda:0 to cuda:1$"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(machine, count, name, told):
    machine(count)
    with pytest.raises(DeviceError, match=told):
        find_devices(name)


def test_a_machine_without_a_driver_is_not_asked_through_torch(monkeypatch):
    monkeypatch.setattr(devices, "_DRIVERS", ())
    monkeypatch.setattr(devices, "_gpu_count", lambda: pytest.fail("torch was asked"))
    assert find_devices("auto") == ("cpu",)


def in_words(work, task, device):
    work(device, task)
    return device


def run(pool, work, count, threads=8):
    """Do `count` tasks through leases, from several threads; the device of each."""
    done, left, lock = [], list(range(count)), threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                if not left:
                    return
                task = left.pop(0)
            result = compute_on(pool, partial(in_words, work, task))
            with lock:
                done.append(result)

    workers = [threading.Thread(target=worker, daemon=True) for _ in range(threads)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert len(done) == count
    return Counter(done)


def test_every_gpu_gets_work_one_lease_at_a_time():
    pool, inside, most = DevicePool(GPUS), Counter(), Counter()
    lock = threading.Lock()

    def work(device: str, task: int) -> None:
        with lock:
            inside[device] += 1
            most[device] = max(most[device], inside[device])
        time.sleep(0.002)
        with lock:
            inside[device] -= 1

    assert set(run(pool, work, 60)) == set(GPUS)
    assert set(most.values()) == {1}


def test_a_slow_device_does_not_hold_the_others():
    slow = threading.Event()

    def work(device: str, task: int) -> None:
        if device == "cuda:1":
            slow.wait(30)
        else:
            time.sleep(0.005)
            if len(others) == 38:
                slow.set()  # the slow one ends after all others are done
            others.append(task)

    others: list[int] = []
    counted = run(DevicePool(GPUS), work, 40)
    assert counted["cuda:1"] == 1
    assert counted["cuda:0"] + counted["cuda:2"] == 39


BROKEN = RuntimeError("CUDA error: unspecified launch failure")
LACK = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.mark.parametrize("error", [BROKEN, LACK], ids=["breaks", "lacks memory"])
def test_the_work_of_a_device_that_fails_goes_to_others_and_it_gets_no_more(error):
    pool, notes, tries = DevicePool(GPUS), [], Counter()

    def work(device: str) -> str:
        tries[device] += 1
        if device == "cuda:0":
            raise error
        return device

    results = [compute_on(pool, work, note=notes.append) for _ in range(9)]
    assert set(results) <= {"cuda:1", "cuda:2"}
    assert pool.devices == ("cuda:1", "cuda:2")
    assert tries["cuda:0"] == (1 if error is BROKEN else 3)
    assert len(notes) == 1 and "cuda:0" in notes[0] and "goes on on cuda:1, cuda:2" in notes[0]


def test_the_last_device_that_fails_ends_the_run():
    pool = DevicePool(GPUS)

    def work(device: str) -> None:
        raise BROKEN

    with pytest.raises(DeviceError, match="same command again"):
        compute_on(pool, work)
    assert len(pool.devices) == 1


def test_who_waits_for_a_device_that_fails_gets_another():
    pool, began, fail = DevicePool(("cuda:0", "cuda:1")), threading.Semaphore(0), threading.Event()

    def blocking(device: str) -> str:
        began.release()
        fail.wait(30)
        if device == "cuda:0":
            raise BROKEN
        return device

    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(compute_on(pool, blocking)), daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    began.acquire(timeout=30), began.acquire(timeout=30)
    fail.set()
    for thread in threads:
        thread.join(30)
    assert results == ["cuda:1"] * 4


def test_planes_are_computed_in_as_many_threads_as_there_are_slots_and_come_in_order():
    pool, inside, most, lock = DevicePool("cpu", 3), [0], [0], threading.Lock()

    def compute(i: int) -> int:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.003)
        with lock:
            inside[0] -= 1
        return i * i

    assert pool.each(compute, 20) == [i * i for i in range(20)]
    assert most[0] == 3
    pool.bound(2)
    most[0] = 0
    assert pool.each(compute, 20) == [i * i for i in range(20)]
    assert most[0] == 2


def test_a_plane_that_fails_ends_the_others_of_its_call():
    pool, done = DevicePool("cpu", 2), []

    def compute(i: int) -> None:
        if i == 3:
            raise ValueError("plane 3")
        time.sleep(0.002)
        done.append(i)

    with pytest.raises(ValueError, match="plane 3"):
        pool.each(compute, 500)
    assert len(done) < 400
    assert pool.each(lambda i: i, 3) == [0, 1, 2]


def test_torch_has_one_thread_in_each_slot():
    assert DevicePool("cpu", 2).each(lambda i: torch.get_num_threads(), 4) == [1] * 4


def flags():
    return torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32


def test_cuda_is_repeatable_until_the_last_one_leaves():
    before = flags()
    first, second = repeatable("cuda:0"), repeatable("cuda:1")
    first.__enter__(), second.__enter__()
    assert flags() == (True, False)
    first.__exit__(None, None, None)
    assert flags() == (True, False)
    second.__exit__(None, None, None)
    assert flags() == before


def test_arithmetics_that_differ_take_turns():
    seen, entered = [], threading.Event()

    def rough() -> None:
        with repeatable("cuda:0", tf32=True):
            seen.append(flags()[1])
            entered.set()

    with repeatable("cuda:0"):
        thread = threading.Thread(target=rough, daemon=True)
        thread.start()
        assert not entered.wait(0.2)
        assert flags() == (True, False)
    thread.join(30)
    assert seen == [True] and not arithmetic._users


def test_the_cpu_has_no_tf32():
    with pytest.raises(UsageError, match="--precision tf32: CPUs have no such"):
        room.require_devices("cpu", Cut(64, 512, 512), 2, "tf32")
    room.require_devices("cpu", Cut(64, 512, 512), 2, "bf16")
    room.require_devices("cuda", Cut(64, 512, 512), 2, "tf32")  # workers look for themselves


def test_an_old_gpu_or_a_full_one_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**33))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    with pytest.raises(UsageError, match=r"bf16: cuda:1 has the compute capability 7\.5"):
        room.require_devices("cuda:1", Cut(64, 512, 512), 2, "bf16")
    room.require_devices("cuda:0,cuda:1", Cut(64, 512, 512), 2, "float32")
    with pytest.raises(MemoryTooSmall, match="cuda:0 has too little free memory: a part of 8192"):
        room.require_devices("cuda:0", Cut(1, 8192, 8192), 2, "float32")
