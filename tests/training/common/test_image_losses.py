"""Picture losses over a region: nothing shown is nothing lost, detail counts wherever it lies."""

from __future__ import annotations

import torch

from lipsync_cli.training.common.image_losses import detail_l1, gradient_l1, structural_dissimilarity, weighted_l1


def test_losses_under_an_empty_region_are_zero_with_zero_gradients():
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    nothing, target = torch.zeros(2, 1, 16, 16), torch.rand(2, 3, 16, 16)
    lost = sum(loss(image, target, nothing) for loss in (weighted_l1, gradient_l1, structural_dissimilarity))
    lost.backward()
    assert float(lost.detach()) == 0 and not image.grad.any()


def test_detail_l1_minds_blur_and_not_where_the_detail_lies() -> None:
    noise = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 1, 48, 48)
    assert detail_l1(noise, noise, weights) == 0
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    assert detail_l1(noise.roll(24, -1), noise, weights) < 0.2 * detail_l1(blurred, noise, weights)
