"""Taking pixels from references: coarse bands are mixed, detail comes from the reference that leads."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.warping import Fields, RegionWindow, shrink, warp

SIZE = 64
WINDOW = RegionWindow.of(SIZE)


def fields(lead: float) -> Fields:
    """Two references taken from where they are; the first leads by ``lead`` in logits."""
    height, width = (side // 4 for side in WINDOW.shape)
    logits = torch.tensor([lead, 0.0])[None, :, None, None].expand(1, 2, height, width).contiguous()
    return Fields(torch.zeros(1, 2, 2, height, width), logits)


def fine(images: torch.Tensor) -> torch.Tensor:
    return images - F.interpolate(shrink(images, 4), images.shape[-2:], mode="bilinear", align_corners=False)


def test_coarse_is_mixed_by_shares_and_detail_led_by_the_first() -> None:
    pixels = torch.rand(1, 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    share = float(torch.softmax(torch.tensor([1.0, 0.0]), 0)[0])
    taken = warp(fields(1.0), pixels, WINDOW)
    first, second = (WINDOW.fine(pixels[:, index]) for index in range(2))
    plain = share * first + (1 - share) * second
    coarse, led = (shrink(picture - plain, 4).abs().mean() for picture in (taken, first))
    assert coarse < 0.5 * led
    assert fine(taken - first).abs().mean() < 0.2 * fine(plain - first).abs().mean()


def test_references_that_are_alike_are_taken_as_they_are() -> None:
    picture = torch.rand(1, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    taken = warp(fields(0.3), picture.expand(1, 2, -1, -1, -1), WINDOW)
    torch.testing.assert_close(taken, WINDOW.fine(picture[:, 0]), atol=1e-5, rtol=0)
