"""Fits that are stopped or killed go on where they were, to the same bits."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s import checkpoint as policy
from fm2s_stack.fm2s.fit import Fitted, fit_network
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.settings import FitSettings
from fm2s_stack.store.checkpoints import FileCheckpoint, FitCheckpoints

CROPS = FitSettings(find_preset("twophoton"), crop=16, draws=9)
WHOLE = replace(CROPS, crop=None, draws=4)


def planes(n: int = 2, shape: tuple[int, int] = (24, 30), seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).poisson(20, (n, *shape)) / 60).astype(np.float32)


def half(pixels: np.ndarray) -> np.ndarray:
    valid = np.ones(pixels.shape, bool)
    valid[:, :, 15:] = False
    return valid


class StopAfter:
    """A pulse that stops the work when it was felt so many times."""

    def __init__(self, pulses: int) -> None:
        self.left = pulses

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoppedEarly("enough")


def relay(pulses: int, fit: Callable[[StopAfter], Fitted]) -> tuple[Fitted, int]:
    """A fit made in as many runs as it takes, each of so many pulses, and their number."""
    for runs in range(1, 1000):
        try:
            return fit(StopAfter(pulses)), runs
        except StoppedEarly:
            continue
    raise AssertionError("the fit gets nowhere")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileCheckpoint:
    """Where a fit is kept, however short it was."""
    monkeypatch.setattr(policy, "WORTH_KEEPING", 0.0)
    return FitCheckpoints(tmp_path / "fits", "job").of(1, 20, 3)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each step of Adam that was made."""
    made, step = [], torch.optim.Adam.step

    def counted(self, *args, **options):
        made.append(1)
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    return made


@pytest.mark.parametrize("pulses", [10, 17, 36])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("settings", [CROPS, WHOLE], ids=["crops", "whole planes"])
def test_a_fit_stopped_anywhere_ends_in_the_bits_of_an_undisturbed_one(
    kept, steps, settings, masked, pulses
):
    pixels = planes()
    valid = half(pixels) if masked else None
    expected = fit_network(pixels, settings, 7, valid=valid)
    undisturbed = len(steps)
    assert undisturbed == 5 * (settings.draws + 1)
    found, runs = relay(
        pulses,
        lambda stop: fit_network(pixels, settings, 7, valid=valid, pulse=stop, checkpoint=kept),
    )
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.loss == expected.loss
    assert runs > 4 and len(steps) == 2 * undisturbed, "no step is lost or made twice"


@pytest.mark.parametrize("step", [1, 4, 5, 6, 10, 11, 49])
def test_a_fit_stopped_before_any_step_goes_on_with_that_step(kept, steps, step, monkeypatch):
    pixels = planes()
    expected = fit_network(pixels, CROPS, 7)
    steps.clear()

    def stop() -> None:
        if len(steps) == step:
            raise StoppedEarly("enough")

    with pytest.raises(StoppedEarly):
        fit_network(pixels, CROPS, 7, pulse=stop, checkpoint=kept)
    assert len(steps) == step
    np.testing.assert_array_equal(
        fit_network(pixels, CROPS, 7, checkpoint=kept).weights, expected.weights
    )
    assert len(steps) == 50


def test_a_finished_fit_is_not_made_again(kept, steps):
    expected = fit_network(planes(), CROPS, 7, checkpoint=kept)
    steps.clear()
    again = fit_network(planes(), CROPS, 7, checkpoint=kept)
    np.testing.assert_array_equal(again.weights, expected.weights)
    assert again.loss == expected.loss and not steps


def test_a_continued_fit_tells_at_once_of_the_draws_behind_it(kept):
    told: list[tuple[int, int]] = []
    with pytest.raises(StoppedEarly):
        fit_network(planes(), CROPS, 7, pulse=StopAfter(150), checkpoint=kept)
    fit_network(
        planes(), CROPS, 7, checkpoint=kept, progress=lambda done, total: told.append((done, total))
    )
    first = told[0][0]
    assert 1 <= first < 9 and told == [(done, 9) for done in range(first, 10)]


def test_it_is_kept_once_in_a_while_and_before_the_next_step(kept, monkeypatch):
    monkeypatch.setattr(policy, "PERIOD", 0.0)
    kept_at = []
    save = FileCheckpoint.save

    def noted(self, key, state):
        kept_at.append(tuple(state["place"]))
        save(self, key, state)

    monkeypatch.setattr(FileCheckpoint, "save", noted)
    fit_network(planes(), replace(CROPS, draws=2), 7, checkpoint=kept)
    assert kept_at == [(draw, step) for draw in range(3) for step in range(5)] + [(3, 0)]


def test_a_short_fit_leaves_no_file_and_no_folder(tmp_path):
    checkpoints = FitCheckpoints(tmp_path / "fits", "job")
    fit_network(planes(), replace(CROPS, draws=1), 7, checkpoint=checkpoints.of(0, 0, 0))
    with pytest.raises(StoppedEarly):
        fit_network(planes(), CROPS, 7, pulse=StopAfter(30), checkpoint=checkpoints.of(0, 0, 0))
    assert not list(tmp_path.iterdir())


OTHERS = {
    "other pixels": (planes(seed=1), CROPS, 7, None),
    "other seed": (planes(), CROPS, 8, None),
    "more draws": (planes(), replace(CROPS, draws=10), 7, None),
    "other crops": (planes(), replace(CROPS, crop=12), 7, None),
    "other preset": (planes(), replace(CROPS, preset=find_preset("twophoton-avg4")), 7, None),
    "a mask": (planes(), CROPS, 7, half(planes())),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_state_of_another_fit_is_never_taken_up(kept, name):
    with pytest.raises(StoppedEarly):
        fit_network(planes(), CROPS, 7, pulse=StopAfter(100), checkpoint=kept)
    assert kept.path.exists()
    pixels, settings, seed, valid = OTHERS[name]
    found = fit_network(pixels, settings, seed, valid=valid, checkpoint=kept)
    expected = fit_network(pixels, settings, seed, valid=valid)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_the_state_of_another_job_is_never_taken_up(kept):
    kept.save("key", {"a": np.arange(3)})
    assert replace(kept, token="other").load("key") is None
    assert kept.load("another key") is None
    found = kept.load("key")
    assert found is not None and list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], np.arange(3))


def damages(content: bytes) -> dict[str, bytes]:
    places = random.Random(0).sample(range(len(content)), 25)
    flipped = {
        f"bit flipped at {at}": content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]
        for at in places
    }
    cuts = {f"cut at {at}": content[:at] for at in (0, 1, 31, 32, 33, len(content) - 1)}
    return flipped | cuts | {"longer": content + b"\0", "foreign": b"PK\3\4" + bytes(100)}


def test_a_damaged_file_is_ignored_and_the_fit_starts_anew(kept):
    kept.save("key", {"a": np.arange(300.0), "b": np.ones((2, 3), np.uint8)})
    assert kept.load("key") is not None
    for damage, content in damages(kept.path.read_bytes()).items():
        kept.path.write_bytes(content)
        assert kept.load("key") is None, damage
    expected = fit_network(planes(), CROPS, 7)
    found = fit_network(planes(), CROPS, 7, checkpoint=kept)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_an_output_removed_while_a_fit_runs_is_not_brought_back(tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "PERIOD", 0.0)
    gone = FitCheckpoints(tmp_path / "out.zarr.journal" / "fits", "job").of(0, 0, 0)
    found = fit_network(planes(), WHOLE, 7, checkpoint=gone)
    np.testing.assert_array_equal(found.weights, fit_network(planes(), WHOLE, 7).weights)
    assert not list(tmp_path.iterdir())


def test_files_say_whose_they_are_and_are_cleared(tmp_path):
    checkpoints = pickle.loads(pickle.dumps(FitCheckpoints(tmp_path / "fits", "job")))
    checkpoints.clear()
    for place in ((0, 5, 0), (1, 5, 2)):
        checkpoints.of(*place).save("key", {"a": np.zeros(1)})
    names = sorted(file.name for file in checkpoints.folder.iterdir())
    assert names == ["c0-t5-z0.fit", "c1-t5-z2.fit"]
    checkpoints.of(0, 5, 0).remove()
    checkpoints.of(0, 5, 0).remove()
    assert [file.name for file in checkpoints.folder.iterdir()] == names[1:]
    (checkpoints.folder / ".c1-t5-z2.0123abcd-77-abcdef.partial.fit").touch()
    checkpoints.clear()
    assert not checkpoints.folder.exists()
