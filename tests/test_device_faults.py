"""Devices that run out of memory or fall off: tried again, or told in a line."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
import torch
from test_denoiser import make, movie

from fm2s_stack.engine import faults
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.faults import compute_on
from fm2s_stack.errors import DeviceError, NonFinitePixels, StoppedEarly
from fm2s_stack.fm2s import denoiser as denoising

LACK = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.65 GiB "
    "of which 5.19 MiB is free. Process 7 has 23.6 GiB memory in use. If reserved memory is "
    "large try setting PYTORCH_ALLOC_CONF\nSee documentation"
)
FELL_OFF = (
    "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously "
    "reported at some other API call\nCompile with `TORCH_USE_CUDA_DSA`"
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "WAITS", (0.0, 0.0, 0.0))


class Failing:
    """Raises its errors one after another, then computes."""

    def __init__(self, *errors: Exception, then: object = None) -> None:
        self.errors, self.then, self.calls = list(errors), then, 0

    def __call__(self, device: str) -> object:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.then


LACKS = [
    torch.OutOfMemoryError(LACK),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronous"),
]


@pytest.mark.parametrize("lack", LACKS, ids=lambda error: str(error)[:40])
def test_a_lack_of_memory_is_tried_again(lack):
    work = Failing(lack, lack, then=5)
    assert compute_on(DevicePool("cuda:0"), work) == 5
    assert work.calls == 3


def test_planes_come_out_the_same_after_a_lack_of_memory_in_their_middle(monkeypatch):
    planes, where = movie((3, 300, 40)), np.zeros(3)
    expected = make().denoise(planes, where)
    original, tiles = denoising.apply_network, []

    def fails_once(*args, **options):
        tiles.append(1)
        if len(tiles) == 2:
            raise torch.OutOfMemoryError(LACK)
        return original(*args, **options)

    monkeypatch.setattr(denoising, "apply_network", fails_once)
    found = compute_on(DevicePool("cuda:0"), lambda device: make().denoise(planes, where))
    assert found.planes.tobytes() == expected.planes.tobytes()
    assert found.clipped == expected.clipped and len(tiles) == 5


def test_memory_that_never_suffices_is_told_in_a_line_with_what_to_do():
    work = Failing(*(torch.OutOfMemoryError(LACK) for _ in range(9)))
    with pytest.raises(DeviceError, match=r"cuda:0 .* 4 times .*of which 5\.19 MiB is") as caught:
        compute_on(DevicePool("cuda:0"), work)
    assert work.calls == 4
    assert "\n" not in str(caught.value) and "same command again" in str(caught.value)
    assert "Process 7" not in str(caught.value)


BROKEN = [
    RuntimeError(FELL_OFF),
    torch.AcceleratorError(FELL_OFF),
    torch.AcceleratorError("the device was lost"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("Unexpected error from cudaGetDeviceCount()."),
    RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":838'),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda error: str(error)[:40])
def test_a_device_that_falls_off_is_told_in_a_line_and_not_tried_again(broken):
    work = Failing(broken)
    with pytest.raises(DeviceError, match=r"cuda:0 failed: .* same command again") as caught:
        compute_on(DevicePool("cuda:0"), work)
    assert work.calls == 1 and "\n" not in str(caught.value)
    assert str(broken).split("\n")[0].rstrip(".") in str(caught.value)


def test_a_device_that_falls_off_after_a_lack_of_memory_is_told_too():
    work = Failing(torch.OutOfMemoryError(LACK), RuntimeError(FELL_OFF))
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        compute_on(DevicePool("cuda:0"), work)


OTHERS = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    RuntimeError("Expected all tensors to be on the same device, but found cpu and cuda:0"),
    ValueError("CUDA error: no"),
    NonFinitePixels("frame 3"),
    StoppedEarly("the run was stopped"),
    DeviceError("--device cuda:3: this machine has 0 CUDA device(s); use cpu"),
]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_other_errors_pass_as_they_are(error):
    work = Failing(error)
    with pytest.raises(type(error)) as caught:
        compute_on(DevicePool("cuda:0"), work)
    assert caught.value is error and work.calls == 1


def test_what_the_failed_try_held_is_free_before_memory_is_given_back(monkeypatch):
    held: list[weakref.ref] = []
    alive: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(held[0]() is not None))

    def work(device: str) -> int:
        if held:
            return 1
        tensor = torch.zeros(10)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError(LACK)

    compute_on(DevicePool("cuda:0"), work)
    assert alive == [False]


def test_a_further_try_waits_until_nobody_else_computes():
    pool, others, release = DevicePool("cpu", threads=3), [], threading.Event()
    computing = threading.Semaphore(0)
    tries: list[int] = []

    def other(device: str) -> None:
        others.append(1)
        computing.release()
        release.wait(30)
        others.pop()

    def work(device: str) -> int:
        tries.append(len(others))
        if len(tries) == 1:
            threading.Timer(0.2, release.set).start()
            raise torch.OutOfMemoryError(LACK)
        return len(others)

    threads = [threading.Thread(target=compute_on, args=(pool, other)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert computing.acquire(timeout=30)
    assert compute_on(pool, work) == 0
    assert tries == [2, 0]
    for thread in threads:
        thread.join(30)
    with pool.lease(), pool.lease(), pool.lease():
        pass  # every slot came back


def test_two_that_lack_memory_at_once_take_turns():
    pool, barrier = DevicePool("cpu", threads=2), threading.Barrier(2, timeout=30)
    first, results = threading.local(), []

    def work(device: str) -> int:
        if not getattr(first, "tried", False):
            first.tried = True
            barrier.wait()
            raise torch.OutOfMemoryError(LACK)
        return 1

    threads = [
        threading.Thread(target=lambda: results.append(compute_on(pool, work)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [1, 1]


def test_waiting_for_memory_can_be_stopped(monkeypatch):
    monkeypatch.setattr(faults, "WAITS", (3600.0,))
    felt = []

    def pulse() -> None:
        felt.append(1)
        if len(felt) == 3:
            raise StoppedEarly("enough")

    with pytest.raises(StoppedEarly):
        compute_on(DevicePool("cuda:0"), Failing(torch.OutOfMemoryError(LACK)), pulse)
