"""What a bank of references takes in, what it gives up, and that drawings follow it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lipsync_cli.engines.mini.head_motion import OUTLINE, POSE_SHARE, Pose
from lipsync_cli.engines.mini.nn.landmark_flow import JAW_LINE, LIPS, squared_lip_distance
from lipsync_cli.engines.mini.nn.renderer import References, Renderer
from lipsync_cli.engines.mini.reference_bank import EASE, NOVEL, OFFER_EVERY, ReferenceBank


class Reader(torch.nn.Module):
    """An encoder that reads a crop's brightness as how far its lips are moved."""

    def forward(self, crops: Tensor) -> Tensor:
        return crops.mean((1, 2, 3))[:, None].expand(-1, 6)

    def landmarks(self, z: Tensor) -> Tensor:
        return 0.5 + z[..., :1, None] * torch.tensor([0.1, 0.0]).expand(29, 2)


def crops(*brightness: float) -> Tensor:
    """At these, lips are a tenth as far apart in crop widths."""
    return torch.tensor(brightness)[:, None, None, None].expand(-1, 3, 64, 64).contiguous()


def turned(sideways: float = 0.0, down: float = 0.0) -> Pose:
    """A head whose outline and jaw lie so many crop widths aside."""
    landmarks = np.full((68, 2), 31.5)
    landmarks[list(OUTLINE)] += 64 * np.array([sideways, down])
    landmarks[4:13, 0] += 64 * sideways
    return Pose.of(landmarks, 64)


AHEAD = turned()


def bank(*brightness: float, capacity: int = 4) -> ReferenceBank:
    torch.manual_seed(0)
    return ReferenceBank(
        Reader(), Renderer(latent=6).eval(), crops(*brightness), [AHEAD] * len(brightness),
        network_size=32, capacity=capacity, on_cpu=True,
    )  # fmt: skip


def references(held: ReferenceBank, pose: Pose = AHEAD) -> References:
    return held.references(pose)


def offer(held: ReferenceBank, pixels: torch.Tensor, pose: Pose) -> bool:
    """``admit`` with the state that the encoder reads."""
    return held.admit(pixels, Reader()(pixels), pose)


def contents(held: ReferenceBank) -> list[float]:
    assert references(held).pixels.numel() == 0
    assert len(held.pictures) == len(held.states)
    return [round(float(picture.mean()), 3) for picture in held.pictures]


@torch.inference_mode()
def test_only_new_mouths_are_taken_in() -> None:
    held = bank(0.2, 0.4)
    assert not offer(held, crops(0.4 + 5 * NOVEL), AHEAD)
    assert offer(held, crops(0.4 + 20 * NOVEL), AHEAD)
    assert contents(held) == [0.2, 0.4, 0.5]


@torch.inference_mode()
def test_a_full_bank_gives_up_the_older_of_the_two_most_alike() -> None:
    held = bank(0.2, 0.5, 0.6, 0.9)
    assert offer(held, crops(0.0), AHEAD)
    assert contents(held) == [0.2, 0.6, 0.9, 0.0]
    # nearer to 0.9 than any two of them are to each other
    assert not offer(held, crops(0.8), AHEAD)
    assert contents(held) == [0.2, 0.6, 0.9, 0.0]


@torch.inference_mode()
def test_what_was_learnt_later_is_what_would_have_been_encoded_at_once() -> None:
    grown, whole = bank(0.2, 0.4), bank(0.2, 0.4, 0.7)
    offer(grown, crops(0.7), AHEAD)
    for _ in range(EASE):
        grown.wants()
    for one, other in zip(references(grown), references(whole), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_crops_are_looked_at_now_and_then() -> None:
    held = bank(0.2)
    assert [held.wants() for _ in range(2 * OFFER_EVERY)].count(True) == 2


def test_distances_are_in_crop_widths() -> None:
    points = Reader().landmarks(torch.tensor([[0.2], [0.4]]).expand(-1, 6))
    assert squared_lip_distance(points[0], points[1]) == pytest.approx(0.02**2, rel=1e-4)


@torch.inference_mode()
def test_a_head_that_turns_is_new_although_its_lips_are_not() -> None:
    held = bank(0.2)
    assert not offer(held, crops(0.2), turned(0.9 * NOVEL / POSE_SHARE))
    assert offer(held, crops(0.2), turned(1.1 * NOVEL / POSE_SHARE))


@torch.inference_mode()
def test_pictures_of_the_pose_lead_once_they_were_let_in() -> None:
    held = bank(0.2)
    offer(held, crops(0.2), turned(0.1))
    wanted = Reader().landmarks(torch.full((1, 6), 0.2))
    for _ in range(EASE):
        held.wants()
    first = references(held, turned(0.1)).select(wanted)
    assert first.indices[0, 0] == 1 and first.weights[0, 0] > 0.99
    assert references(held).select(wanted).indices[0, 0] == 0


@torch.inference_mode()
def test_a_new_picture_is_let_in_little_by_little() -> None:
    held = bank(0.2)
    offer(held, crops(0.3), AHEAD)
    wanted = Reader().landmarks(torch.full((1, 6), 0.3))
    shares = []
    for _ in range(EASE + 1):
        chosen = references(held).select(wanted)
        shares.append(float(chosen.weights[0, chosen.indices[0] == 1]))
        held.wants()
    assert shares[0] < 0.05 and shares[-1] > 0.8
    assert max(np.diff(shares)) < 0.6 and min(np.diff(shares)) >= 0


@torch.inference_mode()
def test_mouth_and_jaw_are_carried_where_the_head_goes() -> None:
    held = bank(0.2)
    still, nodded = references(held), references(held, turned(down=0.05))
    assert not still.shift.any()
    torch.testing.assert_close(nodded.shift[0, JAW_LINE, 1], torch.full((9,), 0.05))
    assert not nodded.shift[0, : len(LIPS)].any()
    offer(held, crops(0.2), turned(0.1))
    columns = references(held).places[0, :, JAW_LINE, 0]
    torch.testing.assert_close(columns, torch.tensor([[0.5], [0.6]]).expand(-1, 9))
