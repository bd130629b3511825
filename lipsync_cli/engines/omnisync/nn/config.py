"""Sizes of the OmniSync transformer. The paper gives none, so every one is a choice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OmniSyncSizes:
    """Widths and counts. ``channels`` are those of a latent; the condition has as many.

    ``audio_tokens`` of ``audio_width`` belong to each latent frame; ``text_width`` is that of the text context.
    """

    channels: int = 16
    width: int = 1536
    feed_forward: int = 6144
    layers: int = 24
    heads: int = 12
    audio_width: int = 768
    audio_tokens: int = 16
    text_width: int = 4096
    time_frequencies: int = 128

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2 or self.width // self.heads < 6:
            raise ValueError(f"width {self.width} must be {self.heads} heads of an even size, 6 at least")
        for name in ("channels", "layers", "audio_width", "audio_tokens", "text_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def head_width(self) -> int:
        return self.width // self.heads
