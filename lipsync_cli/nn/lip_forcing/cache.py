"""The past of a stream as keys and values: a sink and a rolling window in one preallocated ring.

Keys are stored before their rotary positions, because those are counted inside the window and change as it rolls.
A chunk writes itself into its slots at every denoising step and a last time when it is clean, so attention always
reads one contiguous stretch of memory and nothing is shifted or concatenated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipsync_cli.nn.lip_forcing.config import TransformerConfig
from lipsync_cli.nn.lip_forcing.rotary import RotaryGrid
from lipsync_cli.nn.lip_forcing.window import chunk_view

KNOWN_TABLES = 8


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """A chunk's place in the ring: ``slots`` int64[c], ``visible`` slots in use, rotary tables of both sides."""

    slots: Tensor
    visible: int
    key_table: Tensor
    query_table: Tensor


class StreamCache:
    """All that one stream remembers of its past; memory does not depend on its length.

    ``keys``, ``values``: dtype[b window n h c] for each layer, n tokens a frame, unwritten slots NaN.
    ``text_keys``, ``text_values``: dtype[b l h c] for each layer, computed once.
    ``frames``: latent frames committed so far.
    """

    def __init__(
        self,
        config: TransformerConfig,
        text: list[tuple[Tensor, Tensor]],
        grid: tuple[int, int],
    ) -> None:
        """``text`` are the cross-attention keys and values of each layer, ``grid`` the tokens' rows and columns."""
        sample = text[0][0]
        shape = (sample.shape[0], config.window, grid[0] * grid[1], config.heads, config.head_width)
        self.config, self.text = config, text
        self.keys = [sample.new_full(shape, torch.nan) for _ in text]
        self.values = [sample.new_full(shape, torch.nan) for _ in text]
        self.frames = 0
        table_type = torch.promote_types(sample.dtype, torch.float32)
        self._grid = RotaryGrid(grid[0], grid[1], config.head_width, sample.device, table_type)
        self._tables: dict[tuple[int, ...], Tensor] = {}
        self._place: tuple[tuple[int, int], ChunkPlace] | None = None

    def place(self, count: int) -> ChunkPlace:
        """Where the next ``count`` latent frames go and what they see; worked out once for all steps of a chunk."""
        if self._place is None or self._place[0] != (self.frames, count):
            view = chunk_view(self.frames, count, self.config.window, self.config.sink)
            slots = torch.tensor(view.slots, device=self.keys[0].device)
            tables = [self._table(positions) for positions in (view.positions, view.query_positions)]
            self._place = (self.frames, count), ChunkPlace(slots, len(view.frames), *tables)
        return self._place[1]

    def _table(self, positions: tuple[int, ...]) -> Tensor:
        """A rotary table; as the ring turns the same few come back."""
        if positions not in self._tables:
            if len(self._tables) >= KNOWN_TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[positions] = self._grid.table(positions)
        return self._tables[positions]

    def with_chunk(self, layer: int, keys: Tensor, values: Tensor, place: ChunkPlace) -> tuple[Tensor, Tensor]:
        """Visible keys and values ``[b visible·n h c]`` once the chunk's own ``[b c n h c]`` are in their slots.

        Without gradients the ring itself is written and read; with them a copy is, so that graphs stay valid.
        """
        merged = []
        for ring, own in ((self.keys[layer], keys), (self.values[layer], values)):
            if own.requires_grad:
                full = ring.index_copy(1, place.slots, own)
            else:
                full = ring.index_copy_(1, place.slots, own)
            merged.append(full[:, : place.visible].flatten(1, 2))
        return merged[0], merged[1]

    def advance(self, count: int) -> None:
        """Count the chunk whose clean keys and values were written last as past."""
        self.frames += count

    @property
    def nbytes(self) -> int:
        """Size of the ring in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))
