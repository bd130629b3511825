"""TAEW 2.1: a tiny causal autoencoder for Wan latents, streamed with its state carried by the caller.

Modules are numbered as in madebyollin's checkpoint ``taew2_1.pth``, which loads without renaming. Everything that
looks back does so by one step (``MemBlock``), so a stream's state is one feature map for each such block, and a
stream gives exactly what the whole clip would, whatever the split.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TRIMMED_FRAMES = 3
"""The decoder makes four frames of every latent; the first latent stands for one, so three are dropped."""


@dataclass(slots=True)
class TaewState:
    """What a stream remembers: for each memory block the last input ``[b c h w]``; steps counts what came in."""

    memory: dict[int, Tensor] = field(default_factory=dict)
    steps: int = 0


class Memory(nn.Module):
    """Residual block that also sees its own input one step earlier (zero before the first)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return F.relu(self.conv(torch.cat([x, before], 1)) + x)


class TimePool(nn.Module):
    """``stride`` consecutive steps become one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[b t c h w]`` → ``[b t/stride c h w]``."""
        b, t = x.shape[:2]
        stacked = x.reshape(b * t // self.stride, -1, *x.shape[3:])
        return torch.unflatten(self.conv(stacked), 0, (b, t // self.stride))


class TimeGrow(nn.Module):
    """One step becomes ``stride`` consecutive ones."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[b t c h w]`` → ``[b t·stride c h w]``."""
        b, t, c = x.shape[:3]
        grown: Tensor = self.conv(x.flatten(0, 1))
        return grown.reshape(b, t * self.stride, c, *x.shape[3:])


class Clamp(nn.Module):
    """Latents squeezed softly into −3 … 3."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


class TimeSequence(nn.Sequential):
    """Layers over ``[b t c h w]``; those without a sense of time work on all steps at once."""

    def run(self, x: Tensor, state: TaewState) -> Tensor:
        """Take the next steps of a stream; advances ``state``."""
        for index, layer in enumerate(self):
            if isinstance(layer, Memory):
                before = state.memory.get(index)
                head = torch.zeros_like(x[:, :1]) if before is None else before[:, None]
                state.memory[index] = x[:, -1]
                shifted = torch.cat([head, x[:, :-1]], 1)
                x = torch.unflatten(layer(x.flatten(0, 1), shifted.flatten(0, 1)), 0, x.shape[:2])
            elif isinstance(layer, (TimePool, TimeGrow)):
                x = layer(x)
            else:
                x = torch.unflatten(layer(x.flatten(0, 1)), 0, x.shape[:2])
        return x


def _conv(into: int, out: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, stride, 1, bias=bias)


def _memories(width: int) -> list[nn.Module]:
    return [Memory(width) for _ in range(3)]


class Taew(nn.Module):
    """Encoder and decoder; latents ``[b n 16 h w]`` are the normalised ones of Wan, pictures RGB in [0, 1]."""

    def __init__(self, width: int = 64, latent: int = 16) -> None:
        super().__init__()
        w = width
        self.encoder = TimeSequence(
            _conv(3, w), nn.ReLU(),
            TimePool(w, 2), _conv(w, w, stride=2, bias=False), *_memories(w),
            TimePool(w, 2), _conv(w, w, stride=2, bias=False), *_memories(w),
            TimePool(w, 1), _conv(w, w, stride=2, bias=False), *_memories(w),
            _conv(w, latent),
        )  # fmt: skip
        self.decoder = TimeSequence(
            Clamp(), _conv(latent, 4 * w), nn.ReLU(),
            *_memories(4 * w), nn.Upsample(scale_factor=2), TimeGrow(4 * w, 1), _conv(4 * w, 2 * w, bias=False),
            *_memories(2 * w), nn.Upsample(scale_factor=2), TimeGrow(2 * w, 2), _conv(2 * w, w, bias=False),
            *_memories(w), nn.Upsample(scale_factor=2), TimeGrow(w, 2), _conv(w, w, bias=False),
            nn.ReLU(), _conv(w, 3),
        )  # fmt: skip

    def begin(self) -> TaewState:
        """State of a stream, one for each direction."""
        return TaewState()

    def encode(self, frames: Tensor, state: TaewState) -> Tensor:
        """Latents ``[b n 16 h/8 w/8]`` of frames ``[b t 3 h w]``: the first alone, then groups of four.

        The very first frame of a stream stands for four, as it does in Wan's latents.
        """
        if state.steps == 0:
            frames = torch.cat([frames[:, :1].expand(-1, 3, -1, -1, -1), frames], 1)
        if frames.shape[1] % 4:
            raise ValueError(f"after the first, frames come in groups of four; {frames.shape[1] % 4} are left over")
        state.steps += frames.shape[1]
        return self.encoder.run(frames.to(self.dtype), state)

    def decode(self, latents: Tensor, state: TaewState) -> Tensor:
        """Frames ``[b t 3 8h 8w]`` of latents ``[b n 16 h w]``: one for a stream's first latent, four for others."""
        first = state.steps == 0
        state.steps += latents.shape[1]
        frames = self.decoder.run(latents.to(self.dtype), state).clamp(0, 1)
        return frames[:, TRIMMED_FRAMES:] if first else frames

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and of the arithmetic."""
        return next(self.parameters()).dtype


def fit_time_grow(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint in which some ``TimeGrow`` makes more steps than here, cut to the last ones."""
    fitted = dict(tensors)
    for index, (width, stride) in {7: (256, 1), 13: (128, 2), 19: (64, 2)}.items():
        key = f"decoder.{index}.conv.weight"
        if key in fitted and fitted[key].shape[0] > width * stride:
            fitted[key] = fitted[key][-width * stride :]
    return fitted
