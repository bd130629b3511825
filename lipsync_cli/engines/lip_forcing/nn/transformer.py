"""The Lip Forcing transformer: Wan2.1's video DiT with speech added to its tokens, run causally in chunks.

Modules are named as in the published checkpoints, whose flat state dict loads without renaming. A block is
self-attention with rotary positions and RMS-normalised queries and keys, cross-attention to a text context, and a
feed-forward net, the first and the last modulated by the time (adaptive layer norm). Speech enters as a vector for
each latent frame that is added to all its tokens before blocks 2 … layers/2.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.engines.lip_forcing.nn.cache import ChunkPlace, Ring, StreamCache, TextKeysValues
from lipsync_cli.engines.lip_forcing.nn.cuda_graph import Record, SteadyPass
from lipsync_cli.engines.lip_forcing.nn.window import chunk_view
from lipsync_cli.engines.lip_forcing.parallel.token_split import TokenSplit
from lipsync_cli.nn.wan.attention import attention
from lipsync_cli.nn.wan.config import FRAMES_PER_LATENT, IN_CHANNELS, LATENT_CHANNELS, TransformerConfig
from lipsync_cli.nn.wan.dit_blocks import AudioPack, DiTBlock, Head, sinusoid
from lipsync_cli.nn.wan.patches import PATCH, latents_of, patches_of
from lipsync_cli.nn.wan.rotary import RotaryGrid, rotate

TIME_SCALE = 1000.0


@dataclass(frozen=True, slots=True)
class ChunkCondition:
    """What a chunk of n latent frames is conditioned on.

    ``visual`` ``[b n 49 h w]``: the first source latent, the mask, masked and unmasked source latents.
    ``speech`` ``[b n 4·d]``: speech features of the four video frames behind each latent frame, in order.
    """

    visual: Tensor
    speech: Tensor


class LipForcingTransformer(nn.Module):
    """Velocity v(x_t, t | condition, text, past) over Wan latents ``[b n 16 h w]``.

    Streaming: ``begin``, then for each chunk ``predict`` at every step and ``commit``. ``forward`` is the same
    function without a cache. With ``wide_modulation`` norms, scales and gates are worked out in float32 at least,
    as Wan does; without it in the weights' type, as the release of Lip Forcing does.
    """

    def __init__(self, config: TransformerConfig, *, wide_modulation: bool = True) -> None:
        super().__init__()
        self.config, d = config, config.width
        self.patch_embedding = nn.Conv3d(IN_CHANNELS, d, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_width, d), nn.GELU(approximate="tanh"), nn.Linear(d, d)
        )
        self.time_embedding = nn.Sequential(nn.Linear(2 * config.time_frequencies, d), nn.SiLU(), nn.Linear(d, d))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.layers))
        self.head = Head(d, LATENT_CHANNELS * PATCH * PATCH)
        self.audio_proj = AudioPack(FRAMES_PER_LATENT * config.audio_features, config.audio_width)
        self.audio_cond_projs = nn.ModuleList(nn.Linear(config.audio_width, d) for _ in config.audio_layers)
        self._rotate = rotate
        self._record: Record | None = None
        self._rings: list[Ring] = []
        self.split: TokenSplit | None = None
        self.set_wide_modulation(wide_modulation)

    def record_steady(self, record: Record) -> None:
        """From now on run chunks that see a full window as one recorded program."""
        self._record = record

    def compile_parts(self, backend: str = "inductor") -> None:
        """Compile what surrounds the attention: norms, modulation, projections, rotary positions.

        Shapes are those of three views, first, second and every later chunk, so compilation ends with the third.
        """
        for block in self._blocks():
            block.project = torch.compile(block.project, backend=backend, dynamic=False)  # type: ignore[method-assign]
            block.finish = torch.compile(block.finish, backend=backend, dynamic=False)  # type: ignore[method-assign]
        self._rotate = torch.compile(rotate, backend=backend, dynamic=False)

    def set_wide_modulation(self, wide: bool) -> None:
        """Choose the precision of norms, scales and gates; see the class."""
        for block in self._blocks():
            block.wide = wide
        self.head.wide = wide

    # Streaming: begin → (predict, predict, commit) per chunk.

    def begin(self, text: Tensor, size: tuple[int, int]) -> StreamCache:
        """Cache of a stream with text context ``[b l text_width]`` and latents of ``size`` (height, width)."""
        return self.open_stream(self.read_text(text), size)

    def open_stream(self, text: TextKeysValues, size: tuple[int, int]) -> StreamCache:
        """The same for a text that was read before. A recorded pass is used again by the next stream of its text."""
        grid = (size[0] // PATCH, size[1] // PATCH)
        heads = self.config.heads // (self.split.size if self.split else 1)
        if self._record is None:
            return StreamCache(self.config, text, grid, heads=heads)
        free = next((ring for ring in self._rings if ring.fits(text, grid[0] * grid[1])), None)
        if free is not None:
            self._rings.remove(free)
            free.clear()
        cache = StreamCache(self.config, text, grid, ring=free, heads=heads)
        weakref.finalize(cache, self._rings.append, cache.ring).atexit = False
        return cache

    def read_text(self, text: Tensor) -> TextKeysValues:
        """Cross-attention keys and values ``[b l h c]`` of each layer for a context ``[b l text_width]``."""
        context = self.text_embedding(text.to(self.dtype))
        return [block.cross_attn.keys_values(context) for block in self._blocks()]

    def predict(self, x: Tensor, t: Tensor, condition: ChunkCondition, cache: StreamCache) -> Tensor:
        """Velocity ``[b n 16 h w]`` of a chunk x at times t ``[b n]`` in [0, 1]; the past is only read."""
        place = cache.place(x.shape[1])
        ring = cache.ring
        if self._record is None or place.visible < self.config.window or torch.is_grad_enabled():
            return self._pass(x, t, condition, ring, place)
        if ring.steady is None:
            ring.steady = self._steady_pass(ring, place.visible)
        return ring.steady(
            (x, t, condition.visual, condition.speech, place.slots, place.key_table, place.query_table)
        )

    def _steady_pass(self, ring: Ring, visible: int) -> SteadyPass:
        """A pass over the memory of ``ring``, whatever stream it belongs to at the time."""
        assert self._record is not None
        memory: Ring = weakref.proxy(ring)  # the ring owns the pass

        def run(inputs: Sequence[Tensor]) -> Tensor:
            x, t, visual, speech, slots, key_table, query_table = inputs
            place = ChunkPlace(slots, visible, key_table, query_table)
            return self._pass(x, t, ChunkCondition(visual, speech), memory, place)

        return SteadyPass(run, self._record)

    def _pass(self, x: Tensor, t: Tensor, condition: ChunkCondition, ring: Ring, place: ChunkPlace) -> Tensor:
        """``predict`` over the past in ``ring``, in a known place of it."""
        split, frames = self.split, x.shape[1]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if split is not None:
                q, k, v = split.to_heads(q, k, v)
            keys, values = ring.with_chunk(layer, k, v, place)
            queries = self._rotate(q.flatten(1, 2), place.query_table)
            out = attention(queries, self._rotate(keys, place.key_table), values)
            return out if split is None else split.to_tokens(out, frames)

        return self._run(x, t, condition, ring.text, attend, split)

    def commit(self, x0: Tensor, condition: ChunkCondition, cache: StreamCache) -> None:
        """Add a finished chunk to the past: a pass at t = 0 whose keys and values stay."""
        self.predict(x0, torch.zeros(x0.shape[:2], device=x0.device), condition, cache)
        cache.advance(x0.shape[1])

    # Whole sequences, as the teacher and stage 1 of the training see them.

    def forward(
        self, x: Tensor, t: Tensor, condition: ChunkCondition, text: Tensor, *, views: str = "full"
    ) -> Tensor:
        """Velocity ``[b n 16 h w]`` of a whole sequence at times t ``[b n]``, without a cache.

        ``views``: ``full``, all frames see each other; ``causal``, a frame sees what its chunk would see in a
        stream, at absolute positions; ``stream``, the same at positions inside the window, as in a stream.
        """
        keys_values = self.read_text(text)
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        table_type = torch.promote_types(self.dtype, torch.float32)
        grid = RotaryGrid(rows, columns, self.config.head_width, x.device, table_type)
        spans = [
            (list(own), list(seen), grid.table(q_at), grid.table(k_at))
            for own, seen, q_at, k_at in self._views(x.shape[1], views)
        ]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return torch.cat([
                attention(rotate(q[:, own].flatten(1, 2), q_table), rotate(k[:, seen].flatten(1, 2), k_table),
                           v[:, seen].flatten(1, 2))
                for own, seen, q_table, k_table in spans
            ], 1)  # fmt: skip

        return self._run(x, t, condition, keys_values, attend)

    def _views(self, n: int, views: str) -> list[tuple[Sequence[int], ...]]:
        """Own frames, seen frames and the positions of both, for every group of frames that attends alike."""
        if views == "full":
            return [(range(n),) * 4]
        groups: list[tuple[Sequence[int], ...]] = []
        for first in range(0, n, self.config.chunk):
            own = range(first, min(first + self.config.chunk, n))
            view = chunk_view(first, len(own), self.config.window, self.config.sink)
            at = (own, view.frames) if views == "causal" else (view.query_positions, view.positions)
            groups.append((own, view.frames, *at))
        return groups

    def _run(
        self,
        x: Tensor,
        t: Tensor,
        condition: ChunkCondition,
        text: TextKeysValues,
        attend: Callable[[int, Tensor, Tensor, Tensor], Tensor],
        split: TokenSplit | None = None,
    ) -> Tensor:
        """The forward pass proper; ``attend(layer, q, k, v)`` turns ``[b f n h c]`` into ``[b f·n h c]``."""
        size = x.shape[-2:]
        patches = patches_of(torch.cat([x.to(self.dtype), condition.visual.to(self.dtype)], 2))
        weight = self.patch_embedding.weight.flatten(1)
        tokens = F.linear(patches if split is None else split.own(patches), weight, self.patch_embedding.bias)
        embedded = self.time_embedding(sinusoid(TIME_SCALE * t, self.config.time_frequencies).to(self.dtype))
        modulation = self.time_projection(embedded).unflatten(-1, (6, -1))
        speech = self.audio_proj(condition.speech.to(self.dtype))
        for layer, block in enumerate(self._blocks()):
            if layer in self.config.audio_layers:
                added = self.audio_cond_projs[layer - self.config.audio_layers.start](speech)
                tokens = tokens + added[:, :, None]
            tokens = block(tokens, modulation, text[layer], lambda q, k, v, layer=layer: attend(layer, q, k, v))
        out = self.head(tokens, embedded)
        return latents_of(out if split is None else split.whole(out), (size[0] // PATCH, size[1] // PATCH))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and of the arithmetic."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embedding.weight.device

    def _blocks(self) -> list[DiTBlock]:
        return list(self.blocks)  # type: ignore[arg-type]
