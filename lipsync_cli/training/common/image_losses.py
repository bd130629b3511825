"""Picture losses over the generated region. Images are ``[b 3 s s]`` in [0, 1], weights ``[b 1 s s]``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def region_weights(region: Tensor, points: Tensor, *, mouth_gain: float = 3.0) -> Tensor:
    """1 in the region plus a soft bump of ``mouth_gain`` around the lip points ``[b 20 2]`` (crop fractions)."""
    size = region.shape[-1]
    axis = (torch.arange(size, device=points.device) + 0.5) / size
    low, high = points.amin(1), points.amax(1)
    centre, half = (low + high) / 2, (high - low) / 2 * 1.2 + 0.03
    dx = (axis[None, None, :] - centre[:, 0, None, None]) / half[:, 0, None, None]
    dy = (axis[None, :, None] - centre[:, 1, None, None]) / half[:, 1, None, None]
    bump = torch.exp(-((dx**2 + dy**2) ** 2))
    return region * (1 + mouth_gain * bump[:, None])


def weight_sum(weights: Tensor) -> Tensor:
    """The sum that a loss is divided by; never 0, so that where nothing is shown nothing is lost, and not 0/0."""
    return weights.sum().clamp_min(1e-6)


def weighted_l1(image: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute difference under ``weights``."""
    return ((image - target).abs() * weights).sum() / (weight_sum(weights) * image.shape[1])


def gradient_l1(image: Tensor, target: Tensor, weights: Tensor, *, scales: int = 3) -> Tensor:
    """L1 of horizontal and vertical differences at ``scales`` octaves: edges at the right place, at full contrast."""
    total = image.new_zeros(())
    for scale in range(scales):
        if scale:
            image, target, weights = (F.avg_pool2d(x, 2) for x in (image, target, weights))
        error = image - target
        dx, dy = error[..., :, 1:] - error[..., :, :-1], error[..., 1:, :] - error[..., :-1, :]
        total = total + (dx.abs() * weights[..., :, 1:]).sum() / (weight_sum(weights) * 3)
        total = total + (dy.abs() * weights[..., 1:, :]).sum() / (weight_sum(weights) * 3)
    return total / scales


def detail_l1(image: Tensor, target: Tensor, weights: Tensor, *, window: int = 7) -> Tensor:
    """L1 of local contrast: the root mean square over ``window`` pixels of what a 3 × 3 box takes away from luma.

    Where the detail lies does not matter, only how much there is, so a blurred picture gains nothing by hedging.
    Layers that shuffle channels to pixels must not be trained by it: they make stripes of one pixel most easily.
    """
    gap = _local_contrast(image, window) - _local_contrast(target, window)
    return (gap.abs() * weights).sum() / weight_sum(weights)


def _local_contrast(image: Tensor, window: int) -> Tensor:
    luma = (image * image.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)
    fine = luma - F.avg_pool2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), 3, 1)
    power = F.avg_pool2d(fine * fine, window, 1, window // 2, count_include_pad=False)
    return (power + 1e-6).sqrt()


def structural_dissimilarity(image: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """1 − SSIM under ``weights`` (Wang et al. 2004) with 7 × 7 box windows on luma."""
    luma = image.new_tensor([0.299, 0.587, 0.114])[None, :, None, None]
    x, y = (image * luma).sum(1, keepdim=True), (target * luma).sum(1, keepdim=True)
    stack = torch.cat([x, y, x * x, y * y, x * y], 1)
    mx, my, xx, yy, xy = F.avg_pool2d(stack, 7, 1, 3, count_include_pad=False).chunk(5, 1)
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    ssim = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    loss: Tensor = ((1 - ssim) * weights).sum() / weight_sum(weights)
    return loss
