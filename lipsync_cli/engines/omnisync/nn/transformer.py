"""The OmniSync transformer: a bidirectional video diffusion transformer that edits latents by sound.

Peng et al. (2025), arXiv 2505.21448, figure 2: blocks of attention in space, in time, to the sound, to the text, and
a feed-forward net. How the source video enters is not said; here it is joined to the noisy latents by channels. Parts
are those of the Wan transformer in ``nn.lip_forcing``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lipsync_cli.engines.omnisync.nn.blocks import MODULATED, OmniBlock
from lipsync_cli.engines.omnisync.nn.config import OmniSyncSizes
from lipsync_cli.nn.wan.dit_blocks import Head, sinusoid
from lipsync_cli.nn.wan.patches import PATCH, latents_of, patches_of
from lipsync_cli.nn.wan.rotary import RotaryGrid

TIME_SCALE = 1000.0


@dataclass(frozen=True, slots=True)
class OmniCondition:
    """What a window is edited by.

    ``source`` ``[b f c h w]``: latents of the video that is edited. ``audio`` ``[b f m a]``: features of the sound of
    each latent frame. ``text`` ``[b l t]``: a text context; None is no text. ``heard`` and ``read``, bool ``[b]``,
    say whose sound and text count (None: all); the others get what was learnt for none.
    """

    source: Tensor
    audio: Tensor
    text: Tensor | None = None
    heard: Tensor | None = None
    read: Tensor | None = None

    def without_sound(self) -> OmniCondition:
        """The same with nobody hearing anything; source and text stay, so that guidance is about the sound alone."""
        return replace(self, heard=torch.zeros(len(self.source), dtype=torch.bool, device=self.source.device))


class OmniSyncTransformer(nn.Module):
    """Velocity ε − z of latents ``[b f c h w]`` at times σ ``[b]``; h and w are even, f is any number of frames.

    Set ``recompute`` to train in less memory: activations of each block are then made twice.
    """

    def __init__(self, sizes: OmniSyncSizes) -> None:
        super().__init__()
        self.sizes, d = sizes, sizes.width
        self.recompute = False
        self.patch_embedding = nn.Linear(2 * sizes.channels * PATCH * PATCH, d)
        self.text_embedding = nn.Sequential(
            nn.Linear(sizes.text_width, d), nn.GELU(approximate="tanh"), nn.Linear(d, d)
        )
        self.audio_embedding = nn.Sequential(
            nn.Linear(sizes.audio_width, d), nn.GELU(approximate="tanh"), nn.Linear(d, d)
        )
        self.audio_places = nn.Parameter(0.02 * torch.randn(sizes.audio_tokens, d))
        self.no_audio = nn.Parameter(0.02 * torch.randn(1, d))
        self.no_text = nn.Parameter(0.02 * torch.randn(1, d))
        self.time_embedding = nn.Sequential(nn.Linear(2 * sizes.time_frequencies, d), nn.SiLU(), nn.Linear(d, d))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, MODULATED * d))
        self.blocks = nn.ModuleList(OmniBlock(sizes) for _ in range(sizes.layers))
        self.head = Head(d, sizes.channels * PATCH * PATCH)
        # Untrained it says nothing rather than something random (Peebles and Xie 2023).
        nn.init.zeros_(self.head.head.weight)
        nn.init.zeros_(self.head.head.bias)

    def forward(self, x: Tensor, sigma: Tensor, condition: OmniCondition) -> Tensor:
        """Velocity like ``x``."""
        b, frames = x.shape[:2]
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        both = torch.cat([x.to(self.dtype), condition.source.to(self.dtype)], 2)
        tokens = self.patch_embedding(patches_of(both))
        embedded = self.time_embedding(sinusoid(TIME_SCALE * sigma, self.sizes.time_frequencies).to(self.dtype))
        modulation = self.time_projection(embedded).unflatten(-1, (MODULATED, -1))
        audio, text = self._sound(condition), self._text(condition, b)
        tables = self._tables(rows, columns, frames, x.device)
        for block in self.blocks:
            arguments = (tokens, modulation, audio, text, *tables)
            if self.recompute and torch.is_grad_enabled():
                tokens = checkpoint(block, *arguments, use_reentrant=False)
            else:
                tokens = block(*arguments)
        out = self.head(tokens, embedded[:, None].expand(-1, frames, -1))
        return latents_of(out, (rows, columns))

    def _sound(self, condition: OmniCondition) -> Tensor:
        """Tokens ``[b f m d]`` of the sound, or in its place what was learnt for none."""
        heard = self.audio_embedding(condition.audio.to(self.dtype)) + self.audio_places
        return _where(condition.heard, heard, self.no_audio)

    def _text(self, condition: OmniCondition, batch: int) -> Tensor:
        """Tokens ``[b l d]`` of the text."""
        if condition.text is None:
            return self.no_text.expand(batch, 1, -1)
        read = self.text_embedding(condition.text.to(self.dtype)).expand(batch, -1, -1)
        return _where(condition.read, read, self.no_text)

    def _tables(self, rows: int, columns: int, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rotary tables of a frame's places and of the frames."""
        kind, width = torch.promote_types(self.dtype, torch.float32), self.sizes.head_width
        space = RotaryGrid(rows, columns, width, device, kind).table([0])
        return space, RotaryGrid(1, 1, width, device, kind).table(range(frames))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and of the arithmetic."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embedding.weight.device


def _where(kept: Tensor | None, tokens: Tensor, nothing: Tensor) -> Tensor:
    """``tokens`` ``[b ... d]`` of the samples that are kept, all of them if None, and ``nothing`` for the others."""
    if kept is None:
        return tokens
    return torch.where(kept.view(-1, *[1] * (tokens.ndim - 1)), tokens, nothing.expand_as(tokens))
