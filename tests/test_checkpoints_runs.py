"""Fits of a stack, and of a process that is killed, go on where they were."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_checkpoints import CROPS, planes

from fm2s_stack import open_stack
from fm2s_stack.engine.device_pool import DevicePool
from fm2s_stack.engine.local import Here
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s import checkpoint as policy
from fm2s_stack.fm2s.fit import fit_network
from fm2s_stack.job.fitting import measure_channels, train_channels
from fm2s_stack.progress import Silent
from fm2s_stack.store.checkpoints import FitCheckpoints


class Counted(Silent):
    """A progress that counts what is done, and stops the work at a number of draws."""

    def __init__(self, most: float = math.inf) -> None:
        self.done, self.most = 0, most

    def advance(self, count: int) -> None:
        self.done += count
        if self.done >= self.most:
            raise StoppedEarly("enough")


def test_the_fits_of_a_stack_go_on_and_count_every_draw_once(tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "WORTH_KEEPING", 0.0)
    movie = np.random.default_rng(0).poisson(90, (12, 24, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    stack = open_stack(tmp_path / "movie.tif")
    fit = replace(CROPS, mode="every", every=4)
    checkpoints = FitCheckpoints(tmp_path / "fits", "job")

    def train(told: Counted, kept: FitCheckpoints | None) -> np.ndarray:
        channels = measure_channels(stack, fit, "t")
        place = Here(DevicePool("cpu"))
        (made,) = train_channels(stack, channels, fit, "t", place, told, checkpoints=kept)
        return made.weights

    expected = train(Counted(), None)
    with pytest.raises(StoppedEarly):
        train(Counted(14), checkpoints)
    names = sorted(file.name for file in checkpoints.folder.iterdir())
    assert names == ["c0-t0-z0.fit", "c0-t4-z0.fit"], "one finished, one in the middle"
    told = Counted()
    np.testing.assert_array_equal(train(told, checkpoints), expected)
    assert told.done == 3 * fit.draws


CHILD = """
import sys
from pathlib import Path
import numpy as np
from fm2s_stack.fm2s import checkpoint
from fm2s_stack.fm2s.fit import fit_network
from fm2s_stack.store.checkpoints import FitCheckpoints
from test_checkpoints import CROPS, planes, replace
checkpoint.PERIOD = 0.02
kept = FitCheckpoints(Path(sys.argv[1]), "job").of(0, 0, 0)
settings, told = replace(CROPS, draws=500), []
progress = lambda done, total: told.append(done)
fitted = fit_network(planes(), settings, 7, checkpoint=kept, progress=progress)
np.save(sys.argv[2], fitted.weights)
print(told[0])
"""


def written(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.mark.slow
def test_a_fit_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    expected = fit_network(planes(), replace(CROPS, draws=500), 7).weights
    command = [sys.executable, "-c", CHILD, str(tmp_path / "fits"), str(tmp_path / "weights.npy")]
    chance, file = random.Random(1), tmp_path / "fits" / "c0-t0-z0.fit"
    for _ in range(3):
        before, end = written(file), time.monotonic() + 60
        child = subprocess.Popen(command, cwd=Path(__file__).parent)
        while written(file) == before:
            assert time.monotonic() < end and child.poll() is None
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        child.wait(60)
    last = subprocess.run(
        command, cwd=Path(__file__).parent, check=True, timeout=300, capture_output=True, text=True
    )
    assert 1 < int(last.stdout) < 500, "it goes on where a killed one was"
    np.testing.assert_array_equal(np.load(tmp_path / "weights.npy"), expected)
    assert list(file.parent.iterdir()) == [file], "what the killed left is swept"
