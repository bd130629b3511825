"""Heads with known poses and lips, and small clips of them encoded for OmniSync's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lipsync_cli.engines.omnisync.config import OmniSyncConfig
from lipsync_cli.engines.omnisync.nn.pixel_codec import PixelCodec
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.training.dataset.loader import ClipData, load_clips
from lipsync_cli.training.omnisync.data import EncodedClip, FrozenEncoders, encode_clips, read_clips

FRAMES = 32
TABLE = {
    "crop_size": 32, "width": 24, "feed_forward": 32, "layers": 2, "heads": 2, "time_frequencies": 8,
    "codec": "pixels", "pixel_fold": 8, "speech": "mel", "text_source": "none", "audio_reach": 1,
    "window": 5, "overlap": 2, "steps": 2,
}  # fmt: skip
CONFIG = OmniSyncConfig(**TABLE)


def head(yaw: float, openness: float) -> np.ndarray:
    """The mean face turned by ``yaw`` radians about the upright axis, its lower lip dropped, in pixels."""
    x, y, z = (MEAN_FACE - MEAN_FACE[27]).T
    points = np.stack([x * np.cos(yaw) + z * np.sin(yaw), y], 1)
    points[[65, 66, 67]] += (0.0, openness)
    return 200 * points + 250


def speaking_heads(number: int) -> np.ndarray:
    """Frontal heads whose mouths open at other times in each clip, so that pseudo-pairs exist."""
    return np.stack([(head(0.0, 0.1 * ((i + number) // 5 % 2)) - 250) * 0.5 + 96 for i in range(FRAMES)])


def encoded(prepared: Path, folder: Path) -> tuple[list[ClipData], list[EncodedClip]]:
    """The train split of a prepared folder, and the same encoded into ``folder`` by folding pixels."""
    clips = load_clips(prepared, "train")
    encoders = FrozenEncoders(PixelCodec(8), None, torch.device("cpu"), torch.float32)
    encode_clips(clips, CONFIG, folder, files="", load=lambda: encoders)
    return clips, read_clips(clips, CONFIG, folder, files="")
