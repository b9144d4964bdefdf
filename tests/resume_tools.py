"""Runs of a small movie that are stopped in the middle."""

from __future__ import annotations

import pytest

from fm2s_stack import denoise_stack
from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings, RunSettings, WriteSettings
from fm2s_stack.stopping import Stop

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
