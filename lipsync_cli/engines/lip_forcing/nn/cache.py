"""The past of a stream as keys and values: a sink and a rolling window in one preallocated ring.

Keys are stored before their rotary positions, because those are counted inside the window and change as it rolls.
A chunk writes itself into its slots at every denoising step and a last time when it is clean, so attention always
reads one contiguous stretch of memory and nothing is shifted or concatenated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipsync_cli.engines.lip_forcing.nn.cuda_graph import SteadyPass
from lipsync_cli.engines.lip_forcing.nn.window import ChunkView, chunk_view
from lipsync_cli.nn.wan.config import TransformerConfig
from lipsync_cli.nn.wan.rotary import RotaryGrid

KNOWN_PLACES = 8

TextKeysValues = list[tuple[Tensor, Tensor]]
"""Cross-attention keys and values ``[b l h c]`` of each layer."""


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """A chunk's place in the ring: ``slots`` int64[c], ``visible`` slots in use, rotary tables of both sides."""

    slots: Tensor
    visible: int
    key_table: Tensor
    query_table: Tensor


class Ring:
    """The storage of one stream, fixed from its first chunk to its last; another stream may take it over.

    ``keys``, ``values``: dtype[b window n h c] for each layer, n tokens a frame, unwritten slots NaN. ``steady`` is
    the recorded pass that reads and writes this very memory, where passes are recorded.
    """

    def __init__(self, config: TransformerConfig, text: TextKeysValues, tokens: int, heads: int) -> None:
        sample = text[0][0]
        shape = (sample.shape[0], config.window, tokens, heads, config.head_width)
        self.text = text
        self.keys = [sample.new_full(shape, torch.nan) for _ in text]
        self.values = [sample.new_full(shape, torch.nan) for _ in text]
        self.steady: SteadyPass | None = None

    def fits(self, text: TextKeysValues, tokens: int) -> bool:
        """Whether a stream with this very text and so many tokens a frame can live here."""
        return self.text is text and self.keys[0].shape[2] == tokens

    def with_chunk(self, layer: int, keys: Tensor, values: Tensor, place: ChunkPlace) -> tuple[Tensor, Tensor]:
        """Visible keys and values ``[b visible·n h c]`` once the chunk's own ``[b c n h c]`` are in their slots.

        Without gradients the ring itself is written and read; with them a copy is, so that graphs stay valid.
        """
        merged = []
        for slots, own in ((self.keys[layer], keys), (self.values[layer], values)):
            if own.requires_grad:
                full = slots.index_copy(1, place.slots, own)
            else:
                full = slots.index_copy_(1, place.slots, own)
            merged.append(full[:, : place.visible].flatten(1, 2))
        return merged[0], merged[1]

    def clear(self) -> None:
        """Forget everything."""
        for tensor in (*self.keys, *self.values):
            tensor.fill_(torch.nan)


class StreamCache:
    """All that one stream remembers of its past; memory does not depend on its length.

    ``frames``: latent frames committed so far. ``ring``: where their keys and values are.
    """

    def __init__(
        self,
        config: TransformerConfig,
        text: TextKeysValues,
        grid: tuple[int, int],
        *,
        ring: Ring | None = None,
        heads: int | None = None,
    ) -> None:
        """``grid`` is the tokens' rows and columns; ``heads`` those that are kept here, all by default."""
        sample = text[0][0]
        self.config, self.text = config, text
        self.ring = ring or Ring(config, text, grid[0] * grid[1], heads or config.heads)
        self.frames = 0
        table_type = torch.promote_types(sample.dtype, torch.float32)
        self._grid = RotaryGrid(grid[0], grid[1], config.head_width, sample.device, table_type)
        self._places: dict[ChunkView, ChunkPlace] = {}
        self._last: tuple[tuple[int, int], ChunkPlace] | None = None

    @property
    def keys(self) -> list[Tensor]:
        """The ring's keys, by layer."""
        return self.ring.keys

    @property
    def values(self) -> list[Tensor]:
        """The ring's values, by layer."""
        return self.ring.values

    def place(self, count: int) -> ChunkPlace:
        """Where the next ``count`` latent frames go and what they see; worked out once for all steps of a chunk."""
        if self._last is None or self._last[0] != (self.frames, count):
            view = chunk_view(self.frames, count, self.config.window, self.config.sink)
            self._last = (self.frames, count), self._place(view)
        return self._last[1]

    def _place(self, view: ChunkView) -> ChunkPlace:
        """A place by its slots and positions alone; as the ring turns the same few come back."""
        kind = ChunkView((), view.positions, view.slots, view.query_positions)
        if kind not in self._places:
            if len(self._places) >= KNOWN_PLACES:
                self._places.pop(next(iter(self._places)))
            slots = torch.tensor(view.slots, device=self.keys[0].device)
            tables = [self._grid.table(positions) for positions in (view.positions, view.query_positions)]
            self._places[kind] = ChunkPlace(slots, len(view.frames), *tables)
        return self._places[kind]

    def advance(self, count: int) -> None:
        """Count the chunk whose clean keys and values were written last as past."""
        self.frames += count

    @property
    def nbytes(self) -> int:
        """Size of the ring in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))
