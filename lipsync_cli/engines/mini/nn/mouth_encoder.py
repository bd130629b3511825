"""What the mouth is doing, as a short vector: the only channel from a target frame to its rendering."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.blocks import conv, draw_normal
from lipsync_cli.engines.mini.nn.landmark_flow import INNER_LOWER, INNER_UPPER, POINTS

# The part of the unit crop the encoder sees: x0, y0, side. Lips and chin, not eyes, ears or background.
MOUTH_WINDOW = (0.21875, 0.375, 0.5625)
INPUT_SIZE = 56


def mouth_window(crops: Tensor) -> Tensor:
    """The mouth part of crops ``[b 3 s s]``, resampled by area to ``[b 3 56 56]``."""
    size = crops.shape[-1]
    x0, y0, side = (round(v * size) for v in MOUTH_WINDOW)
    return F.interpolate(crops[:, :, y0 : y0 + side, x0 : x0 + side], (INPUT_SIZE, INPUT_SIZE), mode="area")


class MouthEncoder(nn.Module):
    """Crops ``[b 3 s s]`` in [0, 1] → mouth state z ``[b d]``, of unit variance over the training set.

    ``landmarks`` reads 20 lip and 9 jaw points (crop fractions, ``[b 29 2]``) linearly from z. They are a training
    target, the renderer's first guess of where things move, and an aperture that can be closed in silence.
    """

    def __init__(self, latent: int = 24) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv(3, 24, stride=2), nn.SiLU(), conv(24, 48, stride=2), nn.SiLU(), conv(48, 80, stride=2), nn.SiLU(),
            conv(80, 112, stride=2), nn.SiLU(), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(112 * 4 * 4, latent)
        # Unit variance per dimension whatever the weights: noise on z then has a meaning from the first step on.
        self.scale = nn.BatchNorm1d(latent, affine=False, momentum=0.02)
        self.points = nn.Linear(latent, 2 * len(POINTS))
        draw_normal(self.head.weight, 0.02)
        draw_normal(self.points.weight, 0.003)
        nn.init.constant_(self.points.bias, 0.5)  # lips start in the middle of the crop, not in its corner

    def forward(self, crops: Tensor) -> Tensor:
        return self.encode_window(mouth_window(crops))

    def encode_window(self, windows: Tensor) -> Tensor:
        """The same from what ``mouth_window`` cuts, ``[b 3 56 56]``."""
        z: Tensor = self.scale(self.head(self.trunk(windows * 2 - 1)))
        return z

    def landmarks(self, z: Tensor) -> Tensor:
        """Lip and jaw points ``[... 29 2]`` in crop fractions, in the order of ``POINTS``."""
        out: Tensor = self.points(z).unflatten(-1, (len(POINTS), 2))
        return out

    def aperture(self, z: Tensor) -> Tensor:
        """Mean inner-lip distance in crop fractions ``[b]``: points 61-67, 62-66 and 63-65."""
        points = self.landmarks(z)
        gaps: Tensor = torch.linalg.vector_norm(points[:, INNER_UPPER] - points[:, INNER_LOWER], dim=-1).mean(-1)
        return gaps

    def parting(self, z: Tensor) -> Tensor:
        """How far the inner lips are apart from top to bottom in crop fractions ``[b]``; negative for pressed ones.

        ``aperture`` also counts what lies sideways between two points, which closed lips have too.
        """
        points = self.landmarks(z)
        parted: Tensor = (points[:, INNER_LOWER, 1] - points[:, INNER_UPPER, 1]).mean(-1)
        return parted
