"""What a bank of references takes in, what it gives up, and that drawings follow it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipsync_cli.generate.bank import NOVEL, OFFER_EVERY, ReferenceBank
from lipsync_cli.nn.landmark_flow import lip_distance
from lipsync_cli.nn.renderer import Renderer


class Reader(torch.nn.Module):
    """An encoder that reads a crop's brightness as how far its lips are moved."""

    def forward(self, crops: Tensor) -> Tensor:
        return crops.mean((1, 2, 3))[:, None].expand(-1, 6)

    def landmarks(self, z: Tensor) -> Tensor:
        return 0.5 + z[..., :1, None] * torch.tensor([0.1, 0.0]).expand(29, 2)


def crops(*brightness: float) -> Tensor:
    """At these, lips are a tenth as far apart in crop widths."""
    return torch.tensor(brightness)[:, None, None, None].expand(-1, 3, 64, 64).contiguous()


def bank(*brightness: float, capacity: int = 4) -> ReferenceBank:
    torch.manual_seed(0)
    return ReferenceBank(
        Reader(), Renderer(latent=6).eval(), crops(*brightness), network_size=32, capacity=capacity, on_cpu=True
    )


def contents(held: ReferenceBank) -> list[float]:
    assert len(held.pictures) == held.references.pixels.shape[1]
    for picture, pixels in zip(held.pictures, held.references.pixels[0], strict=True):
        assert (picture == pixels.permute(1, 2, 0).numpy()).all()
    return [round(float(value), 3) for value in held.references.pixels[0].mean((1, 2, 3))]


@torch.inference_mode()
def test_only_new_mouths_are_taken_in() -> None:
    held = bank(0.2, 0.4)
    assert not held.offer(crops(0.4 + 5 * NOVEL))
    assert held.offer(crops(0.4 + 20 * NOVEL))
    assert contents(held) == [0.2, 0.4, 0.5]


@torch.inference_mode()
def test_a_full_bank_gives_up_the_older_of_the_two_most_alike() -> None:
    held = bank(0.2, 0.5, 0.6, 0.9)
    assert held.offer(crops(0.0))
    assert contents(held) == [0.2, 0.6, 0.9, 0.0]
    # nearer to 0.9 than any two of them are to each other
    assert not held.offer(crops(0.8))
    assert contents(held) == [0.2, 0.6, 0.9, 0.0]


@torch.inference_mode()
def test_what_was_learnt_later_is_what_would_have_been_encoded_at_once() -> None:
    grown, whole = bank(0.2, 0.4), bank(0.2, 0.4, 0.7)
    grown.offer(crops(0.7))
    for one, other in zip(grown.references, whole.references, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_crops_are_looked_at_now_and_then() -> None:
    held = bank(0.2)
    assert [held.wants() for _ in range(2 * OFFER_EVERY)].count(True) == 2


def test_distances_are_in_crop_widths() -> None:
    points = Reader().landmarks(torch.tensor([[0.2], [0.4]]).expand(-1, 6))
    assert lip_distance(points[0], points[1]) == pytest.approx(0.02, rel=1e-4)
