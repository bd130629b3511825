"""Sizes of the Lip Forcing transformer (arXiv 2606.11180), and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

LATENT_CHANNELS = 16
MASK_CHANNELS = 1
# Noisy latent, first latent of the source, mask, masked latent, source latent.
IN_CHANNELS = 4 * LATENT_CHANNELS + MASK_CHANNELS
CONDITION_CHANNELS = IN_CHANNELS - LATENT_CHANNELS
FRAMES_PER_LATENT = 4
"""Video frames behind one latent frame, except the first, which holds a single one."""


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Widths and counts; ``chunk``, ``window`` and ``sink`` are in latent frames.

    The defaults are the 14B model. ``window`` counts the sink and the chunk itself. ``audio_features`` is the
    width of one video frame's speech features.
    """

    width: int = 5120
    feed_forward: int = 13824
    layers: int = 40
    heads: int = 40
    text_width: int = 4096
    audio_features: int = 10752
    audio_width: int = 32
    time_frequencies: int = 128
    chunk: int = 3
    window: int = 7
    sink: int = 1

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be {self.heads} heads of an even size")
        if self.layers % 2 or self.layers < 4:
            raise ValueError(f"layers must be even and at least 4, got {self.layers}")
        if not 0 < self.sink <= self.chunk <= self.window - self.sink:
            raise ValueError(
                f"a window of {self.window} latent frames must hold a sink of {self.sink} beside a chunk of "
                f"{self.chunk}, and the sink must lie in the first chunk"
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def audio_layers(self) -> range:
        """Blocks before which audio is added to the tokens: from the third to the middle one."""
        return range(2, self.layers // 2 + 1)


SMALL = TransformerConfig(width=1536, feed_forward=8960, layers=30, heads=12)
LARGE = TransformerConfig()
