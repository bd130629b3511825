"""The reference-conditioned decoder: masked frame + references + mouth state → lower face.

Every pixel is either taken from a reference through a predicted displacement or painted. Taking is what keeps
skin, teeth and beard those of the person at the sharpness of the source; painting covers what no reference shows.
The references' features are computed once per segment (``encode_references``), so a frame costs one encoder pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.blocks import ResidualBlock, conv
from lipsync_cli.nn.landmark_flow import displacement, heat_maps, nearness, point_weights
from lipsync_cli.region import LOWER_FACE_REGION, generation_region

LEVELS = (24, 48, 96, 128)
# Furthest correction of the points' displacement, in crop widths.
MAX_CORRECTION = 0.15
HEATS = 3


class ReferenceFeatures(NamedTuple):
    """Of k references for each of b sequences: pixels ``[b k 3 s s]``, features ``[b k c h w]``, z and points."""

    pixels: Tensor
    half: Tensor
    quarter: Tensor
    eighth: Tensor
    z: Tensor
    points: Tensor


class Rendering(NamedTuple):
    """``image`` is the result, ``warped`` what the references alone gave; both ``[b 3 s s]`` in about [0, 1].

    Outside the generated region both are the frame."""

    image: Tensor
    warped: Tensor


class Pyramid(nn.Module):
    """RGB + keep-mask ``[b 4 s s]`` → features at 1/4, 1/8 and 1/16 of the crop."""

    def __init__(self) -> None:
        super().__init__()
        c0, c1, c2, c3 = LEVELS
        self.stem = conv(16, c0)
        self.down1, self.block1 = conv(c0, c1, stride=2), ResidualBlock(c1)
        self.down2, self.block2 = conv(c1, c2, stride=2), ResidualBlock(c2)
        self.down3, self.block3 = conv(c2, c3, stride=2), ResidualBlock(c3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.silu(self.stem(F.pixel_unshuffle(x, 2)))
        quarter = self.block1(self.down1(h))
        eighth = self.block2(self.down2(F.silu(quarter)))
        sixteenth = self.block3(self.down3(F.silu(eighth)))
        return quarter, eighth, sixteenth


class Renderer(nn.Module):
    """See the module. ``latent`` is the width of z; crops may have any size divisible by 16."""

    def __init__(self, latent: int = 24) -> None:
        super().__init__()
        _, c1, c2, c3 = LEVELS
        self.pyramid = Pyramid()
        self.join3, self.trunk3 = conv(2 * c3, c3), ResidualBlock(c3, latent)
        self.join2, self.trunk2 = conv(c3 + 2 * c2, c2, 1), ResidualBlock(c2, latent)
        self.join1, self.trunk1 = conv(c2 + 2 * c1 + HEATS, c1, 1), ResidualBlock(c1, latent)
        self.head_in, self.head_block = conv(2 * c1 + 2, 32, 1), ResidualBlock(32, 2 * latent)
        self.head_out = conv(32, 3, gain=0.05)
        self.paint_up = conv(c1, 24, 1)
        self.paint_in, self.paint_block = conv(12 + 12 + 24, 32), ResidualBlock(32, latent)
        self.paint_out = conv(32, 16, gain=0.1)
        nn.init.constant_(self.paint_out.bias[12:], 1.0)  # type: ignore[index]

    def encode_references(self, pixels: Tensor, z: Tensor, points: Tensor) -> ReferenceFeatures:
        """Features of references ``[b k 3 s s]`` in [0, 1] with states ``[b k d]`` and points ``[b k 29 2]``."""
        b, k = pixels.shape[:2]
        flat = pixels.flatten(0, 1)
        levels = self.pyramid(_layout(torch.cat([flat * 2 - 1, torch.ones_like(flat[:, :1])], 1)))
        half, quarter, eighth = (level.unflatten(0, (b, k)) for level in levels)
        return ReferenceFeatures(pixels, half, quarter, eighth, z, points)

    def forward(self, frames: Tensor, z: Tensor, points: Tensor, references: ReferenceFeatures) -> Rendering:
        """Frames ``[b 3 s s]`` in [0, 1], whose mouth region is blanked here and never read.

        States z ``[b d]`` and the points they say, ``[b 29 2]`` in crop fractions.
        """
        keep = region_keep(frames.shape[-1], frames)
        masked = (frames * 2 - 1) * keep
        f1, f2, f3 = self.pyramid(_layout(torch.cat([masked, keep.expand(len(frames), -1, -1, -1)], 1)))
        h = self.trunk3(self.join3(torch.cat([f3, references.eighth.mean(1)], 1)), z)
        h = self.trunk2(self.join2(torch.cat([_up(h), f2, references.quarter.mean(1)], 1)), z)
        heats = heat_maps(points, f1.shape[-1])
        h = self.trunk1(self.join1(torch.cat([_up(h), f1, references.half.mean(1), heats], 1)), z)
        window = RegionWindow.of(frames.shape[-1])
        h = window.coarse(h)
        warped = self._take(h, z, points, references, window)
        image = self._paint(h, z, warped, window.fine(masked))
        image = torch.where(window.fine(keep) > 0.5, window.fine(frames), image)
        return Rendering(window.paste(image, frames), window.paste(warped, frames))

    def _take(
        self, h: Tensor, z: Tensor, points: Tensor, references: ReferenceFeatures, window: RegionWindow
    ) -> Tensor:
        """Displace each reference and mix them with per-pixel weights that sum to one."""
        b, k = references.pixels.shape[:2]
        size = references.pixels.shape[-1]
        repeated = h[:, None].expand(-1, k, -1, -1, -1).flatten(0, 1)
        states = torch.cat([z[:, None].expand(-1, k, -1), references.z], -1).flatten(0, 1)
        coarse = references.half.shape[-1]
        guess = displacement(point_weights(points, coarse), points, references.points).flatten(0, 1)
        guess, features = window.coarse(guess), window.coarse(references.half.flatten(0, 1))
        x = self.head_in(_layout(torch.cat([repeated, features, guess * 10], 1)))
        out = self.head_out(F.silu(self.head_block(x, states)))
        # grid_sample counts the crop from −1 to 1, hence twice the displacement.
        out = torch.cat([2 * (guess + MAX_CORRECTION * torch.tanh(out[:, :2])), out[:, 2:]], 1)
        out = F.interpolate(out, scale_factor=4, mode="bilinear", align_corners=False)
        grid = identity_grid(size, out)[:, window.rows, window.columns] + out[:, :2].permute(0, 2, 3, 1)
        taken = F.grid_sample(
            references.pixels.flatten(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        # The reference whose lips are nearest to the wanted ones leads from the start; logits refine that per pixel.
        lead = nearness(points, references.points)[:, :, None, None, None]
        weights = torch.softmax(lead + out[:, 2:].reshape(b, k, 1, *out.shape[2:]), 1)
        return (taken.reshape(b, k, *taken.shape[1:]) * weights).sum(1)

    def _paint(self, h: Tensor, z: Tensor, warped: Tensor, masked: Tensor) -> Tensor:
        """Correct the mixture at half resolution: a painted colour and, per pixel, how much of it to use."""
        detail = F.interpolate(self.paint_up(h), scale_factor=2, mode="bilinear", align_corners=False)
        x = _layout(torch.cat([F.pixel_unshuffle(warped * 2 - 1, 2), F.pixel_unshuffle(masked, 2), detail], 1))
        out = self.paint_out(F.silu(self.paint_block(self.paint_in(x), z)))
        colour, gate = F.pixel_shuffle(out[:, :12], 2), torch.sigmoid(F.pixel_shuffle(out[:, 12:], 2))
        return gate * (warped + 0.25 * colour) + (1 - gate) * (0.5 + 0.5 * colour)


@dataclass(frozen=True, slots=True)
class RegionWindow:
    """The rows and columns around the generated region, whole coarse pixels of four; only they cost full size."""

    rows: slice
    columns: slice

    @classmethod
    def of(cls, size: int) -> RegionWindow:
        """The window of a crop of ``size`` pixels."""
        spans = LOWER_FACE_REGION.window(size)
        return cls(*(slice(span.start // 4 * 4, min(size, -(-span.stop // 4) * 4)) for span in spans))

    def fine(self, maps: Tensor) -> Tensor:
        """The window of maps ``[... s s]``."""
        return maps[..., self.rows, self.columns]

    def coarse(self, maps: Tensor) -> Tensor:
        """The window of maps at a quarter of the crop's size."""
        rows, columns = (slice(span.start // 4, span.stop // 4) for span in (self.rows, self.columns))
        return maps[..., rows, columns]

    def paste(self, inner: Tensor, frames: Tensor) -> Tensor:
        """``frames`` with the window replaced by ``inner``."""
        out = frames.to(inner.dtype, copy=True)
        out[..., self.rows, self.columns] = inner
        return out


def region_keep(size: int, like: Tensor) -> Tensor:
    """1 where the frame's own pixels stay, 0 where they are generated: ``[1 1 s s]`` with ``like``'s dtype."""
    region = torch.from_numpy(generation_region(size).copy()).to(like)
    return (1 - region)[None, None]


def identity_grid(size: int, like: Tensor) -> Tensor:
    """Sampling grid ``[1 s s 2]`` of ``grid_sample`` that returns its input."""
    axis = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)[None]


def _up(x: Tensor) -> Tensor:
    return F.interpolate(F.silu(x), scale_factor=2, mode="nearest")


def _layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
