"""TREPA: features of clips, and their distance."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lipsync_cli.nn.video_mae import VideoMae, VideoMaeConfig
from lipsync_cli.training.latentsync.trepa import trepa_features, trepa_loss

CLIP = VideoMaeConfig(width=12, depth=1, heads=2, hidden=16, patch=4, frames=4, size=8)


def test_trepa_loss_is_a_multiple_of_one_minus_the_cosine() -> None:
    torch.manual_seed(0)
    made, true = (F.normalize(torch.randn(5, 1408), dim=1) for _ in range(2))
    expected = 20 / 1408 * (1 - (made * true).sum(1)).mean()
    assert abs(20 / 1408 - 0.0142) < 1e-4
    torch.testing.assert_close(10 * trepa_loss(made, true), expected)


def test_trepa_features_are_of_clips_in_0_to_1() -> None:
    torch.manual_seed(0)
    network = VideoMae(CLIP).eval()
    frames = torch.rand(2, 4, 3, 8, 8) * 2 - 1
    features = trepa_features(network, frames)
    torch.testing.assert_close(features, F.normalize(network((frames.transpose(1, 2) + 1) / 2), dim=1))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert trepa_loss(features, features) == 0
    assert trepa_features(network, torch.zeros(1, 4, 3, 20, 20)).shape == (1, 12)
