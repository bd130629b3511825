"""What the authors' release does differently from this tool, for those who want to compare pixels.

One seed serves the whole clip: first the noise that all frames share, then, window by window, the draws by which the
autoencoder's latents are sampled. The last window is as short as what is left, and the mouth is pasted into the crop
along a hard edge.
"""

from __future__ import annotations

import torch
from torch import Tensor

SEED = 1247


def video_frames(positions: int) -> int:
    """Frames the release makes of so many positions of speech."""
    return positions // 2 + 2


class Draws:
    """The release's random numbers, in its order; windows must be asked for in order."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._generator = torch.Generator(device).manual_seed(SEED)
        self._dtype = dtype

    def normal(self, *shape: int) -> Tensor:
        """The next standard normal numbers, float32."""
        drawn = torch.randn(shape, generator=self._generator, device=self._generator.device, dtype=self._dtype)
        return drawn.float()
