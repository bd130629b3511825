"""One layer of the OmniSync transformer: attention in space, in time, to the sound and to the text, then a net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lipsync_cli.engines.omnisync.nn.config import OmniSyncSizes
from lipsync_cli.nn.wan.attention import attention
from lipsync_cli.nn.wan.dit_blocks import EPS, Attention, gated, modulated
from lipsync_cli.nn.wan.rotary import rotate

MODULATED = 9
"""Shift, scale and gate of the attention in space, of that in time, and of the feed-forward net."""


class OmniBlock(nn.Module):
    """``x + g·SA(x)`` within frames, ``+ g·TA(x)`` across them, ``+ AA(x)``, ``+ CA(x)``, ``+ g·FFN(x)``.

    What it shares with a block of Wan has Wan's names: ``self_attn``, ``cross_attn``, ``norm3``, ``ffn``.
    """

    def __init__(self, sizes: OmniSyncSizes) -> None:
        super().__init__()
        d = sizes.width
        self.self_attn, self.time_attn = Attention(d, sizes.heads), Attention(d, sizes.heads)
        self.audio_attn, self.cross_attn = Attention(d, sizes.heads), Attention(d, sizes.heads)
        self.norm_audio, self.norm3 = nn.LayerNorm(d, eps=EPS), nn.LayerNorm(d, eps=EPS)
        self.ffn = nn.Sequential(
            nn.Linear(d, sizes.feed_forward), nn.GELU(approximate="tanh"), nn.Linear(sizes.feed_forward, d)
        )
        self.modulation = nn.Parameter(torch.randn(1, MODULATED, d) / d**0.5)

    def forward(
        self, x: Tensor, modulation: Tensor, audio: Tensor, text: Tensor, space_table: Tensor, time_table: Tensor
    ) -> Tensor:
        """Tokens ``[b f n d]`` at modulation ``[b 9 d]``; ``audio`` ``[b f m d]``, ``text`` ``[b l d]``.

        The rotary tables are those of a frame's n places and of the f frames.
        """
        wide = torch.promote_types(x.dtype, torch.float32)
        table = (self.modulation.to(wide) + modulation.to(wide))[:, :, None, None].unbind(1)
        h = self._along(self.self_attn, modulated(x, table[0], table[1]), space_table)
        x = gated(x, h, table[2])
        across = modulated(x, table[3], table[4]).transpose(1, 2)
        x = gated(x, self._along(self.time_attn, across, time_table).transpose(1, 2), table[5])
        x = x + self._to_each_frame(self.norm_audio(x), audio)
        x = x + self._to_all(self.norm3(x), text)
        return gated(x, self.ffn(modulated(x, table[6], table[7])), table[8])

    @staticmethod
    def _along(layer: Attention, x: Tensor, table: Tensor) -> Tensor:
        """Self-attention along the last but one axis of ``[b s l d]``, every row of ``s`` by itself."""
        flat = x.flatten(0, 1)
        k, v = layer.keys_values(flat)
        out = attention(rotate(layer.queries(flat), table), rotate(k, table), v)
        projected: Tensor = layer.o(out.flatten(2))
        return projected.view_as(x)

    def _to_each_frame(self, x: Tensor, audio: Tensor) -> Tensor:
        """Every frame's tokens attend to the sound of that frame."""
        k, v = self.audio_attn.keys_values(audio.flatten(0, 1))
        out: Tensor = self.audio_attn.o(attention(self.audio_attn.queries(x.flatten(0, 1)), k, v).flatten(2))
        return out.view_as(x)

    def _to_all(self, x: Tensor, text: Tensor) -> Tensor:
        k, v = self.cross_attn.keys_values(text)
        out: Tensor = self.cross_attn.o(attention(self.cross_attn.queries(x.flatten(1, 2)), k, v).flatten(2))
        return out.view_as(x)
