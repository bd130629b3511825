"""The reference-conditioned decoder: masked frame + references + mouth state → lower face.

Every pixel is either taken from a reference through a predicted displacement or painted. Taking is what keeps
skin, teeth and beard those of the person at the sharpness of the source; painting covers what no reference shows.
The references' features are computed once per segment (``encode_references``), so a frame costs one encoder pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.nn.blocks import ResidualBlock, conv, partial_conv
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


class PreparedReferences(NamedTuple):
    """What the references add to every frame, worked out once: all layers that see nothing else.

    ``sixteenth``, ``eighth`` and ``quarter`` ``[b c h w]`` go into the trunk at these scales, ``head``
    ``[b·k c h w]`` into the head; the last two of the window only.
    """

    pixels: Tensor
    sixteenth: Tensor
    eighth: Tensor
    quarter: Tensor
    head: Tensor
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
        h = F.silu(self.stem(_unshuffle(x)))
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

    def prepare(self, references: ReferenceFeatures) -> PreparedReferences:
        """What of the references ``draw`` needs, so that a frame pays only for what is its own."""
        _, c1, c2, c3 = LEVELS
        window = RegionWindow.of(references.pixels.shape[-1])
        half = references.half.mean(1)[..., window.trunk_rows, window.trunk_columns]
        return PreparedReferences(
            references.pixels,
            partial_conv(self.join3, references.eighth.mean(1), c3, bias=True),
            partial_conv(self.join2, references.quarter.mean(1), c3 + c2, bias=True),
            partial_conv(self.join1, half, c2 + c1, bias=True),
            partial_conv(self.head_in, window.coarse(references.half.flatten(0, 1)), c1, bias=True),
            references.z,
            references.points,
        )

    def forward(self, frames: Tensor, z: Tensor, points: Tensor, references: ReferenceFeatures) -> Rendering:
        """``draw`` with references used only once."""
        return self.draw(frames, z, points, self.prepare(references))

    def draw(self, frames: Tensor, z: Tensor, points: Tensor, references: PreparedReferences) -> Rendering:
        """Frames ``[b 3 s s]`` in [0, 1], whose mouth region is blanked here and never read.

        States z ``[b d]`` and the points they say, ``[b 29 2]`` in crop fractions.
        """
        size = frames.shape[-1]
        window = RegionWindow.of(size)
        keep = region_keep(size, frames)
        masked = (frames * 2 - 1) * keep
        h = self._trunk(torch.cat([masked, keep.expand(len(frames), -1, -1, -1)], 1), z, points, references, window)
        warped = self._take(h, z, points, references, window)
        image = self._paint(h, z, warped, window.fine(masked))
        image = torch.where(window.fine(keep) > 0.5, window.fine(frames), image)
        return Rendering(window.paste(image, frames), window.paste(warped, frames))

    def _trunk(
        self, seen: Tensor, z: Tensor, points: Tensor, references: PreparedReferences, window: RegionWindow
    ) -> Tensor:
        """Features of the window at a quarter of the crop's size, from all scales."""
        _, c1, c2, c3 = LEVELS
        f1, f2, f3 = self.pyramid(_layout(seen))
        h = self.trunk3(partial_conv(self.join3, f3, 0) + references.sixteenth, z)
        h = _up(partial_conv(self.join2, F.silu(h), 0)) + partial_conv(self.join2, f2, c3) + references.eighth
        h = _up(partial_conv(self.join1, F.silu(self.trunk2(h, z)), 0))
        part = window.trunk_rows, window.trunk_columns
        heats = heat_maps(points, f1.shape[-1], part)
        own = partial_conv(self.join1, _layout(f1[..., *part]), c2) + partial_conv(self.join1, heats, c2 + 2 * c1)
        return window.without_margin(self.trunk1(_layout(h[..., *part]) + own + references.quarter, z))

    def _take(
        self, h: Tensor, z: Tensor, points: Tensor, references: PreparedReferences, window: RegionWindow
    ) -> Tensor:
        """Displace each reference and mix them with per-pixel weights that sum to one."""
        b, k = references.pixels.shape[:2]
        size, (_, c1, _, _) = references.pixels.shape[-1], LEVELS
        states = torch.cat([z[:, None].expand(-1, k, -1), references.z], -1).flatten(0, 1)
        weights = point_weights(points, size // 4, (window.coarse_rows, window.coarse_columns))
        guess = displacement(weights, points, references.points).flatten(0, 1)
        own = partial_conv(self.head_in, h, 0)
        x = references.head + partial_conv(self.head_in, _layout(guess * 10), 2 * c1)
        x = (x.reshape(b, k, *own.shape[1:]) + own[:, None]).flatten(0, 1)
        out = self.head_out(F.silu(self.head_block(x, states)))
        # grid_sample counts the crop from −1 to 1, hence twice the displacement.
        out = torch.cat([2 * (guess + MAX_CORRECTION * torch.tanh(out[:, :2])), out[:, 2:]], 1).contiguous()
        out = F.interpolate(out, scale_factor=4, mode="bilinear", align_corners=False)
        grid = identity_grid(size, out)[:, window.rows, window.columns] + out[:, :2].permute(0, 2, 3, 1)
        # Bicubic: half-way between pixels a bilinear mean is a blur, and nearly every pixel is taken from half-way.
        taken = F.grid_sample(
            references.pixels.flatten(0, 1), grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        # The reference whose lips are nearest to the wanted ones leads from the start; logits refine that per pixel.
        lead = nearness(points, references.points)[:, :, None, None, None]
        shares = torch.softmax(lead + out[:, 2:].reshape(b, k, 1, *out.shape[2:]), 1)
        return (taken.reshape(b, k, *taken.shape[1:]) * shares).sum(1)

    def _paint(self, h: Tensor, z: Tensor, warped: Tensor, masked: Tensor) -> Tensor:
        """Correct the mixture at half resolution: a painted colour and, per pixel, how much of it to use."""
        detail = F.interpolate(self.paint_up(h), scale_factor=2, mode="bilinear", align_corners=False)
        x = torch.cat([_unshuffle(warped * 2 - 1), _unshuffle(masked), detail], 1)
        out = self.paint_out(F.silu(self.paint_block(self.paint_in(x), z)))
        colour, gate = F.pixel_shuffle(out[:, :12], 2), torch.sigmoid(F.pixel_shuffle(out[:, 12:], 2))
        return gate * (warped + 0.25 * colour) + (1 - gate) * (0.5 + 0.5 * colour)


# Pixels that the two 3 × 3 convolutions of a residual block read beyond what is wanted of it.
BLOCK_MARGIN = 2


@dataclass(frozen=True, slots=True)
class RegionWindow:
    """The rows and columns around the generated region, whole coarse pixels of four; only they cost full size.

    ``trunk_rows`` and ``trunk_columns`` are those of the coarse map that they depend on.
    """

    rows: slice
    columns: slice
    trunk_rows: slice
    trunk_columns: slice

    @classmethod
    def of(cls, size: int) -> RegionWindow:
        """The window of a crop of ``size`` pixels."""
        return _region_window(size)

    @property
    def coarse_rows(self) -> slice:
        """Rows of maps at a quarter of the crop's size."""
        return slice(self.rows.start // 4, self.rows.stop // 4)

    @property
    def coarse_columns(self) -> slice:
        """Columns of such maps."""
        return slice(self.columns.start // 4, self.columns.stop // 4)

    def fine(self, maps: Tensor) -> Tensor:
        """The window of maps ``[... s s]``."""
        return maps[..., self.rows, self.columns]

    def coarse(self, maps: Tensor) -> Tensor:
        """The window of maps at a quarter of the crop's size."""
        return maps[..., self.coarse_rows, self.coarse_columns]

    def without_margin(self, maps: Tensor) -> Tensor:
        """The window of maps that show the trunk's rows and columns only."""
        y, x = self.coarse_rows.start - self.trunk_rows.start, self.coarse_columns.start - self.trunk_columns.start
        rows, columns = self.coarse_rows, self.coarse_columns
        return maps[..., y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]

    def paste(self, inner: Tensor, frames: Tensor) -> Tensor:
        """``frames`` with the window replaced by ``inner``."""
        out = frames.to(inner.dtype, copy=True)
        out[..., self.rows, self.columns] = inner
        return out


@lru_cache(maxsize=8)
def _region_window(size: int) -> RegionWindow:
    spans = LOWER_FACE_REGION.window(size)
    rows, columns = (slice(span.start // 4 * 4, min(size, -(-span.stop // 4) * 4)) for span in spans)
    around = (
        slice(max(0, span.start // 4 - BLOCK_MARGIN), min(size // 4, span.stop // 4 + BLOCK_MARGIN))
        for span in (rows, columns)
    )
    return RegionWindow(rows, columns, *around)


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
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _unshuffle(x: Tensor) -> Tensor:
    """``pixel_unshuffle`` by two, into the channels-last layout and in one pass."""
    b, c, h, w = x.shape
    cells = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(b, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)


def _layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
