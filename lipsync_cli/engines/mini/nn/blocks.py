"""Small convolutional parts shared by the networks: residual blocks whose activations a condition can scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def draw_normal(weight: Tensor, std: float) -> None:
    """Fill a weight with normal numbers of deviation ``std``.

    Not on the meta device, where weights have no values: torch would import its compiler to find that out, which
    takes seconds.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, gain: float = 1.0) -> nn.Conv2d:
    """A 'same' convolution with He initialisation times ``gain``; the networks carry no normalisation layers."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    draw_normal(layer.weight, (2 / (inputs * kernel**2)) ** 0.5)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def partial_conv(layer: nn.Conv2d, x: Tensor, first: int, *, bias: bool = False) -> Tensor:
    """What the channels ``x``, of which the ``first`` is at that place of the layer's input, add to its output.

    A convolution of a concatenation is the sum of convolutions of its parts, so parts that stay the same need to be
    convolved only once, and parts that are upsampled before they can be convolved while they are small.
    """
    weight = layer.weight[:, first : first + x.shape[1]]
    return F.conv2d(x, weight, layer.bias if bias else None, padding=layer.kernel_size[0] // 2)


class ResidualBlock(nn.Module):
    """``x + conv(silu(film(conv(silu(x)))))``; without a condition the film step is left out.

    ``condition`` is ``[b d]`` and sets a scale and a shift for each channel (FiLM, Perez et al. 2018).
    """

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels, gain=0.2)
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        if self.film is not None:
            draw_normal(self.film.weight, 0.05)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        h = self.first(F.silu(x))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
            h = torch.addcmul(shift, h, 1 + scale)
        # In place where no gradient needs them again: fresh memory costs a processor more than the work does.
        out: Tensor = self.second(F.silu(h, inplace=not torch.is_grad_enabled())).add_(x)
        return out
