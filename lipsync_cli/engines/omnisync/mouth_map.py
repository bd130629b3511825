"""Where the mouth is in each latent frame: the map of guidance and noise start, followed through a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.core.crop_templates import crop_template
from lipsync_cli.core.landmarks68 import MOUTH
from lipsync_cli.core.types import Crop
from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.guidance import by_latent, mouth_map, smooth_centres

FACE_EDGES = (0, 16)
SMOOTHED = 2
"""Frames on each side whose median a centre is; the newest have fewer after them."""


@dataclass(slots=True)
class MouthTrack:
    """Positions of a segment's latent frames from the first one that is kept.

    ``latents`` float32[n 3]: row and column of the mouth's centre in latent pixels, and the face's width in rows of
    the crop. ``last`` float32[k 3]: the same of the last video frames, for smoothing.
    """

    latents: Tensor
    last: Tensor

    @classmethod
    def begin(cls) -> MouthTrack:
        """Nothing seen yet."""
        return cls(torch.zeros(0, 3), torch.zeros(0, 3))

    def follow(self, crops: Sequence[Crop], config: OmniSyncConfig, *, first: bool, keep: int) -> None:
        """Add a window's new crops; of the latent frames before them the last ``keep`` stay."""
        seen = torch.from_numpy(np.stack([_place(crop, config) for crop in crops]))
        smooth = smooth_centres(torch.cat([self.last, seen]), SMOOTHED)[len(self.last) :]
        new = by_latent(smooth, config.frames_per_latent, first=first)
        self.latents = torch.cat([self.latents[len(self.latents) - keep :], new])
        self.last = seen[-SMOOTHED:]

    def map(self, config: OmniSyncConfig) -> Tensor:
        """The mouth map ``[1 n 1 h w]`` in [0, 1] of the latent frames that are kept, round on the face itself."""
        unit = (float(config.compression), config.compression * crop_template(config.template).aspect)
        size = (config.latent_size, config.latent_size)
        return mouth_map(size, self.latents[:, :2], config.cfg_spread * self.latents[:, 2], unit)[None]


def _place(crop: Crop, config: OmniSyncConfig) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Row and column of the mouth in latent pixels, and the face's width in units of a crop's row."""
    points = np.asarray(crop.landmarks, np.float64)
    column, row = (points[list(MOUTH)].mean(0) + 0.5) / config.compression - 0.5
    across, down = points[FACE_EDGES[1]] - points[FACE_EDGES[0]]
    width = np.hypot(across * crop_template(config.template).aspect, down)
    return np.array([row, column, max(width, 1.0)], np.float32)
