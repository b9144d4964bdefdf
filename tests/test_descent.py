"""Steps replayed as a graph are those made one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_graphs import FakeCuda
from test_checkpoints import StopAfter, kept, relay  # noqa: F401
from test_group import QUICK, SEEDS, masks, three

from fm2s_stack.errors import StoppedEarly
from fm2s_stack.fm2s import trainer as training
from fm2s_stack.fm2s.descent import CapturedDescent
from fm2s_stack.fm2s.fit import Fitted, fit_networks
from fm2s_stack.fm2s.trainer import Trainer
from fm2s_stack.fm2s.training_planes import prepare_plane


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


@pytest.fixture
def eager() -> list[Fitted]:
    """What the fits of these tests come to, step by step."""
    return fit()


@pytest.fixture
def captured(eager: list[Fitted], cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """From here on steps are captured."""
    monkeypatch.setattr(training, "Descent", CapturedDescent)
    return cuda


def fit(**options: object) -> list[Fitted]:
    return fit_networks(three()[:2], QUICK, SEEDS[:2], valid=masks()[:2], **options)


def assert_bits(found: list[Fitted], expected: list[Fitted]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert one.loss == other.loss


def new_trainer() -> Trainer:
    planes = [
        [prepare_plane(own[0], QUICK.preset, "cpu", None if mask is None else mask[0])]
        for own, mask in zip(three()[:2], masks()[:2], strict=True)
    ]
    return Trainer(planes, QUICK, SEEDS[:2], "cpu")


def assert_ends_as(trainer: Trainer, expected: list[Fitted]) -> None:
    trainer.run()
    assert_bits([Fitted(*result) for result in trainer.result()], expected)


def test_replayed_steps_give_the_bits_of_single_ones_from_one_capture(eager, captured):
    felt: list[int] = []
    assert_bits(fit(pulse=lambda: felt.append(1)), eager)
    (graph,) = captured.graphs
    assert graph.replays == QUICK.draws + 1
    assert len(felt) == 2 + QUICK.draws + 1, "once a draw, and for each median"


def test_networks_without_masks_are_replayed_too(cuda, monkeypatch):
    expected = fit_networks(three(), QUICK, SEEDS)
    monkeypatch.setattr(training, "Descent", CapturedDescent)
    assert_bits(fit_networks(three(), QUICK, SEEDS), expected)
    assert cuda.graphs[0].replays == QUICK.draws + 1


@pytest.mark.parametrize("pulses", [3, 4])
def test_a_replayed_fit_stopped_anywhere_ends_in_the_same_bits(
    eager,
    captured,
    kept,  # noqa: F811
    pulses,
):
    found, runs = relay(pulses, lambda stop: fit(pulse=stop, checkpoint=kept))
    assert runs > 2 and len(captured.graphs) > 1
    assert_bits(found, eager)


def test_a_state_restored_into_a_trainer_with_a_graph_is_gone_on_from(eager, captured):
    first, second = new_trainer(), new_trainer()
    for _ in range(3):
        first._learn_draw(lambda: None)
    state = first.state()
    for _ in range(5):
        second._learn_draw(lambda: None)
    second.restore(state)
    assert_ends_as(second, eager)
    assert len(captured.graphs) == 2, "one each"


@pytest.mark.parametrize(("pulses", "left"), [(30, QUICK.draws), (60, QUICK.draws - 1)])
def test_a_draw_begun_step_by_step_is_ended_so_and_then_replayed(
    eager,
    cuda,
    kept,  # noqa: F811
    monkeypatch,
    pulses,
    left,
):
    with pytest.raises(StoppedEarly, match="enough"):
        fit(pulse=StopAfter(pulses), checkpoint=kept)
    monkeypatch.setattr(training, "Descent", CapturedDescent)
    assert_bits(fit(checkpoint=kept), eager)
    assert cuda.graphs[0].replays == left


def test_where_nothing_can_be_captured_the_steps_are_made_one_by_one(eager, captured):
    captured.failure = RuntimeError("operation not permitted when stream is capturing")
    assert_bits(fit(), eager)
    assert not captured.graphs


LACKS = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")]


@pytest.mark.parametrize("lack", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_is_told_and_leaves_the_parameters_as_they_were(captured, lack):
    captured.failure = lack
    trainer = new_trainer()
    before = trainer.state()
    with pytest.raises(RuntimeError) as caught:
        trainer.run()
    assert caught.value is lack
    for name, value in trainer.state().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
