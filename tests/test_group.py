"""Networks trained together are those trained alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_checkpoints import StopAfter, kept, relay  # noqa: F401
from test_network import as_module

from fm2s_stack.fm2s import network
from fm2s_stack.fm2s import trainer as training
from fm2s_stack.fm2s.apply import apply_network
from fm2s_stack.fm2s.fit import Fitted, fit_network, fit_networks
from fm2s_stack.fm2s.group import Group
from fm2s_stack.fm2s.presets import find_preset
from fm2s_stack.fm2s.trainer import Trainer
from fm2s_stack.fm2s.training_planes import prepare_plane
from fm2s_stack.metrics import si_psnr
from fm2s_stack.settings import FitSettings

QUICK = FitSettings(find_preset("twophoton"), crop=16, draws=5)
SEEDS = [11, 12, 13]


def truths(shape: tuple[int, int] = (40, 48)) -> list[np.ndarray]:
    """Planes of blobs, each with others."""
    random = np.random.default_rng(3)
    blobs = [ndimage.gaussian_filter(random.random(shape), 3) for _ in SEEDS]
    return [(0.05 + 0.4 * (b - b.min()) / np.ptp(b)).astype(np.float32) for b in blobs]


def noisy(truth: np.ndarray, seed: int) -> np.ndarray:
    photons = np.random.default_rng(seed).poisson(truth[None] * 60)
    return (photons / 60).clip(0, 1).astype(np.float32)


def three() -> list[np.ndarray]:
    return [noisy(truth, seed) for seed, truth in enumerate(truths())]


def masks() -> list[np.ndarray | None]:
    valid = np.ones((1, 40, 48), bool)
    valid[:, :, 30:] = False
    return [None, valid, None]


def assert_same(found: Fitted, expected: Fitted) -> None:
    # Adam divides by the root of a tiny mean square: a rounding difference in a gradient of
    # nearly nothing moves its parameter by a part of a step (1e-3) now and then.
    difference = np.abs(found.weights - expected.weights)
    assert np.median(difference) < 1e-6 and difference.max() < 1e-3
    assert found.loss == pytest.approx(expected.loss, rel=1e-3)


@pytest.mark.parametrize("crop", [16, None], ids=["crops", "whole planes"])
@pytest.mark.parametrize("preset", ["twophoton", "srdtrans", "widefield-avg4"])
def test_three_networks_trained_together_are_those_trained_alone(preset, crop):
    settings = replace(QUICK, preset=find_preset(preset), crop=crop)
    together = fit_networks(three(), settings, SEEDS)
    for found, plane, seed in zip(together, three(), SEEDS, strict=True):
        assert_same(found, fit_network(plane, settings, seed))
    assert not np.allclose(together[0].weights, together[1].weights, atol=1e-3)


def test_the_order_and_the_size_of_a_group_never_matter():
    planes, together = three(), fit_networks(three(), QUICK, SEEDS)
    turned = fit_networks([planes[i] for i in (2, 0, 1)], QUICK, [SEEDS[i] for i in (2, 0, 1)])
    split = fit_networks(planes[:2], QUICK, SEEDS[:2]) + fit_networks(planes[2:], QUICK, SEEDS[2:])
    for i in range(3):
        assert_same(turned[(i + 1) % 3], together[i])
        assert_same(split[i], together[i])


def test_one_network_is_a_group_of_one_to_the_bit():
    alone = fit_network(three()[0], QUICK, 11)
    (found,) = fit_networks(three()[:1], QUICK, SEEDS[:1])
    assert found.weights.tobytes() == alone.weights.tobytes() and found.loss == alone.loss


def test_pixels_without_light_have_no_part_in_a_network_of_a_group_nor_beside_it():
    together = fit_networks(three(), QUICK, SEEDS, valid=masks())
    for i, valid in enumerate(masks()):
        assert_same(together[i], fit_network(three()[i], QUICK, SEEDS[i], valid=valid))
    unmasked = fit_network(three()[1], QUICK, SEEDS[1])
    assert np.abs(together[1].weights - unmasked.weights).max() > 1e-3


@pytest.mark.slow
def test_a_full_fit_together_denoises_as_well_as_alone():
    # The stride of 16 keeps the patch levels of these small planes apart.
    preset = replace(find_preset("twophoton"), amplification=1, stride=16)
    settings = FitSettings(preset, crop=24, draws=150)
    planes = three()
    together = fit_networks(planes, settings, SEEDS)
    for i, truth in enumerate(truths()):
        alone = fit_network(planes[i], settings, SEEDS[i])
        core = ((0, truth.shape[0]), (0, truth.shape[1]))
        made = [apply_network(own.weights, planes[i][0], core) for own in (together[i], alone)]
        first, second = (si_psnr(result, truth) for result in made)
        assert first == pytest.approx(second, abs=0.1)
        assert second > si_psnr(planes[i][0], truth) + 2


def test_planes_of_several_shapes_and_missing_seeds_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        fit_networks([three()[0], three()[1][:, :30]], QUICK, SEEDS[:2])
    with pytest.raises(ValueError, match="expected one shape"):
        fit_networks([], QUICK, [])
    with pytest.raises(ValueError, match="zip"):
        fit_networks(three(), QUICK, SEEDS[:2])


@pytest.mark.parametrize("pulses", [13, 41])
def test_a_group_stopped_anywhere_ends_in_the_bits_of_an_undisturbed_one(
    kept,  # noqa: F811
    monkeypatch,
    pulses,
):
    monkeypatch.setattr(training, "DRAWS_AT_A_TIME", 3)  # batches end and begin within the fit
    settings = replace(QUICK, draws=8)

    def fit(**options: object) -> list[Fitted]:
        return fit_networks(three()[:2], settings, SEEDS[:2], valid=masks()[:2], **options)

    expected = fit()
    found, runs = relay(pulses, lambda stop: fit(pulse=stop, checkpoint=kept))
    assert runs > 3
    for one, other in zip(found, expected, strict=True):
        assert one.weights.tobytes() == other.weights.tobytes() and one.loss == other.loss


def test_the_checkpoint_of_a_group_is_not_taken_for_that_of_another(kept):  # noqa: F811
    planes = three()
    fit_networks(planes[:2], QUICK, SEEDS[:2], checkpoint=kept)
    for others, seeds in ((planes[1::-1], SEEDS[:2]), (planes[:2], SEEDS[1:]), (planes, SEEDS)):
        found = fit_networks(others, QUICK, seeds, checkpoint=kept)
        for one, other in zip(found, fit_networks(others, QUICK, seeds), strict=True):
            assert one.weights.tobytes() == other.weights.tobytes()


@pytest.mark.parametrize("amplification", [1, 2, 6])
@pytest.mark.parametrize("networks", [1, 3])
def test_a_group_computes_what_networks_of_torch_layers_do(networks, amplification):
    random = torch.Generator().manual_seed(0)
    own = torch.stack([network.initial_parameters(amplification, random) for _ in range(networks)])
    group = Group(own, amplification)
    assert torch.equal(group.parameters(group.flat), own)
    planes = torch.rand(1, networks * amplification, 13, 17)
    upstream = torch.rand(planes.shape)
    outputs = group.forward(group.laid_out(planes), lambda: None)
    group.backward(outputs, upstream)
    gradients = group.parameters(group.gradient)
    for g in range(networks):
        channels = slice(g * amplification, (g + 1) * amplification)
        module = as_module(own[g], amplification)
        expected = module(planes[:, channels])
        (expected * upstream[:, channels]).sum().backward()
        torch.testing.assert_close(outputs[:, channels], expected)
        flat = torch.cat([part.grad.reshape(-1) for part in module.parameters()])
        torch.testing.assert_close(gradients[g], flat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_a_stage_of_steps_is_what_adam_in_double_precision_does(masked):
    settings = replace(QUICK, crop=None, draws=1)
    plane, valid = three()[0][0], masks()[1][0] if masked else None
    trained = prepare_plane(plane, settings.preset, "cpu", valid)
    trainer = Trainer([[trained]], settings, [11], "cpu")
    start = trainer._group.parameters(trainer._group.flat)[0].clone()
    trainer._learn_draw(lambda: None)  # stage one: five steps from the recording to the median
    found = trainer._group.parameters(trainer._group.flat)[0]
    assert found.tolist() == pytest.approx(by_hand(start, plane, valid).tolist(), abs=2e-5)


def by_hand(start: torch.Tensor, plane: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    module = as_module(start, 2).double()
    target = torch.from_numpy(ndimage.median_filter(plane, 3, mode="reflect")).double()
    inputs = torch.from_numpy(plane).double().expand(1, 2, -1, -1)
    inside = torch.ones(plane.shape, dtype=bool) if valid is None else torch.from_numpy(valid)
    parameters = start.double().numpy()
    first = second = np.zeros(len(parameters))
    for step in range(1, 6):
        torch.nn.utils.vector_to_parameters(torch.from_numpy(parameters), module.parameters())
        module.zero_grad()
        (module(inputs) - target).square()[:, :, inside].mean().backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in module.parameters()]).numpy()
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        parameters = parameters - 1e-3 * (first / (1 - 0.9**step)) / corrected
    return parameters
