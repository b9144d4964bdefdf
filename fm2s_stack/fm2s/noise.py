"""The noise that the network is trained to remove (arXiv 2412.10031, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fm2s_stack.settings import Preset

LEVEL_RANGE = (1e-5, 0.15)


def patch_level(target: Tensor, stride: int) -> Tensor:
    """Mean of each stride x stride patch, clamped to [1e-5, 0.15], at every pixel of it.

    The plane is padded with zeros at the right and bottom up to whole patches, and the
    mean counts that padding.

    Parameters
    ----------
    target
        Pre-denoised plane, shape (y, x), on the scale of 0 to 1.
    stride
        Side of a patch, pixels.

    Returns
    -------
    Tensor
        Shape (y, x).
    """
    rows, columns = target.shape
    padded = functional.pad(target, (0, -columns % stride, 0, -rows % stride))
    means = functional.avg_pool2d(padded[None, None], stride)[0, 0].clamp(*LEVEL_RANGE)
    full = means.repeat_interleave(stride, 0).repeat_interleave(stride, 1)
    return full[:rows, :columns].contiguous()


def draw(target: Tensor, level: Tensor, preset: Preset, generator: torch.Generator) -> Tensor:
    """One noisy version of the target, drawn independently in each amplified channel.

    Parameters
    ----------
    target, level
        Pre-denoised planes and their patch levels, shape (n, 1, y, x).
    preset
        Strengths of the three noises.
    generator
        The random stream; on the device of `target`.

    Returns
    -------
    Tensor
        Shape (n, amplification, y, x), in [0, 1].
    """
    clean = target.clamp(min=0).expand(-1, preset.amplification, -1, -1)
    photons = preset.k_p / level
    noisy = torch.poisson(clean * photons, generator=generator) / photons
    normal = torch.randn(noisy.shape, generator=generator, device=noisy.device)
    noisy = (noisy + normal * (preset.k_g / 255 * level)).clamp_(0, 1)
    return (
        torch.poisson(noisy * preset.lambda_p, generator=generator)
        .div_(preset.lambda_p)
        .clamp_(0, 1)
    )
