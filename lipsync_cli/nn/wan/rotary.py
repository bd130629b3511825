"""Rotary positions of video tokens: time, row and column share a head's channels (44 + 42 + 42 of 128).

Su et al. (2021), "RoFormer", in the interleaved form: channels 2i and 2i + 1 turn by position · 10000^(−2i/d).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BASE = 10_000.0


def axis_widths(head_width: int) -> tuple[int, int, int]:
    """Channels that turn with time, row and column."""
    side = 2 * (head_width // 6)
    return head_width - 2 * side, side, side


def axis_angles(positions: Sequence[int], width: int) -> Tensor:
    """Angles ``[n width/2]`` in float64, on the CPU, for n positions along one axis."""
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width
    return torch.tensor(list(positions), dtype=torch.float64, device="cpu")[:, None] * BASE**-exponents


class RotaryGrid:
    """Tables for a picture of ``rows`` × ``columns`` tokens at any temporal positions."""

    def __init__(self, rows: int, columns: int, head_width: int, device: torch.device, dtype: torch.dtype) -> None:
        """Tables come in ``dtype``, float32 or float64, on ``device``; they are worked out on the CPU in float64."""
        self.time_width, row_width, column_width = axis_widths(head_width)
        self._device, self._dtype = device, dtype
        row = axis_angles(range(rows), row_width)
        column = axis_angles(range(columns), column_width)
        self._space = torch.cat(
            [row[:, None].expand(rows, columns, -1), column[None].expand(rows, columns, -1)], -1
        ).flatten(0, 1)

    def table(self, positions: Sequence[int]) -> Tensor:
        """Cosines and sines ``[f·rows·columns 1 head_width/2 2]`` of frames at f temporal ``positions``."""
        time = axis_angles(positions, self.time_width)
        f, n = len(time), len(self._space)
        angles = torch.cat([time[:, None].expand(f, n, -1), self._space[None].expand(f, n, -1)], -1).flatten(0, 1)
        return torch.stack([angles.cos(), angles.sin()], -1)[:, None].to(self._device, self._dtype)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn queries or keys ``[b l h c]`` by a table ``[l 1 c/2 2]``; worked out in the table's precision."""
    a, b = torch.unflatten(x.to(table.dtype), -1, (-1, 2)).unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)
