"""TREPA, LatentSync's temporal representation alignment: distance of VideoMAE v2 features of two clips."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.nn.video_mae import VideoMae


def trepa_features(network: VideoMae, frames: Tensor) -> Tensor:
    """Unit features ``[b d]`` of clips ``[b f 3 h w]`` in [−1, 1], resized (bicubic) and scaled to [0, 1].

    LatentSync normalises them no further, although the network was trained on normalised pixels.
    """
    size = network.config.size
    flat = F.interpolate(frames.flatten(0, 1), (size, size), mode="bicubic") / 2 + 0.5
    clips = flat.reshape(*frames.shape[:3], size, size).transpose(1, 2)
    return F.normalize(network(clips).float(), dim=1)


def trepa_loss(generated: Tensor, true: Tensor) -> Tensor:
    """Mean squared difference of unit features ``[b d]``: 2/d · (1 − cosine), so ten of it are 0.0142 (1 − cosine) of
    ViT-g's 1408."""
    return F.mse_loss(generated, true)
