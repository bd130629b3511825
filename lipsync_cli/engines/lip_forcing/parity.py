"""What the authors' release does differently from this tool, for those who want to compare pixels.

All noise of a clip is drawn at once, so it depends on the clip's length; the length is cut down to whole chunks; and
the mouth is pasted into the crop along a hard edge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.core.types import SPEECH_RATE
from lipsync_cli.engines.lip_forcing.config import LipForcingConfig
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, LATENT_CHANNELS

SEED = 42


def latent_frames(samples: int, config: LipForcingConfig) -> int:
    """Latent frames the release makes for so many samples: whole chunks, rounded down, at least one."""
    frames = samples * config.rate // SPEECH_RATE
    latents = 1 + (frames - 1) // FRAMES_PER_LATENT
    return max(config.chunk, config.chunk * (latents // config.chunk))


def video_frames(latents: int) -> int:
    """Video frames behind so many latent ones."""
    return 1 + FRAMES_PER_LATENT * (latents - 1)


class SingleDraw:
    """The noise of a whole clip in the release's order: everything for step 1, then chunk by chunk for the others."""

    def __init__(self, latents: int, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._generator = torch.Generator(device).manual_seed(SEED)
        self._dtype, self._size = dtype, size
        self._first = self._draw(latents)

    def noises(self, first: int, count: int, steps: int) -> list[Tensor]:
        """Noise ``[1 count 16 h w]`` for each step; chunks must be asked for in order."""
        whole = self._first[:, :, first : first + count]
        if whole.shape[2] < count:  # beyond the release's length, where nothing is compared
            whole = self._draw(count)
        return [noise.transpose(1, 2) for noise in (whole, *(self._draw(count) for _ in range(steps - 1)))]

    def _draw(self, latents: int) -> Tensor:
        shape = (1, LATENT_CHANNELS, latents, self._size, self._size)
        return torch.randn(shape, generator=self._generator, device=self._generator.device, dtype=self._dtype)
