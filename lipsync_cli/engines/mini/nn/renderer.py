"""The reference-conditioned decoder: masked frame + references + mouth state → lower face.

Every pixel is either taken from a reference through a predicted displacement or painted. Taking is what keeps
skin, teeth and beard those of the person at the sharpness of the source; painting covers what no reference shows.
The networks look at crops at their own size; displacements, shares and paint are smooth enough to be enlarged to the
crop's, where pixels are taken, so that detail costs sampling and no convolutions (``nn.warping``).
References are a bank of any size, of which each frame takes the few whose lips are most like the wanted ones. Their
features are computed once (``encode_references``), so a frame costs one encoder pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.blocks import ResidualBlock, conv, partial_conv
from lipsync_cli.engines.mini.nn.calibration import Calibration
from lipsync_cli.engines.mini.nn.landmark_flow import displacement, heat_maps, point_weights, select_nearest
from lipsync_cli.engines.mini.nn.warping import Fields, Inpainting, RegionWindow, blend, region_keep, shrink, warp

LEVELS = (24, 48, 96, 128)
# Furthest correction of the points' displacement, in crop widths.
MAX_CORRECTION = 0.15
HEATS = 3
# References that a frame is made from. More are softer and cost more.
NEAREST = 3


class References(NamedTuple):
    """Of n references for each of b sequences: ``pixels`` ``[b n 3 s s]`` and states ``z`` ``[b n d]``; ``points``
    ``[b n 29 2]``, which tell which are alike, and ``places`` ``[b n 29 2]`` where these lie in the picture.

    What they add to every frame is worked out once: ``sixteenth``, ``eighth`` and ``quarter`` ``[b n h w c]`` go into
    the trunk at these scales, ``head`` into the head; the last two of the window only. Channels are last, as
    convolutions have them in memory: then a few of many are picked, and met with a frame's own, without reordering.

    ``shift`` ``[b 29 2]`` leads from wanted points to their places. ``penalty`` ``[b n]`` is what else speaks against
    each of them, beside the squared distance of lips.
    """

    pixels: Tensor
    sixteenth: Tensor
    eighth: Tensor
    quarter: Tensor
    head: Tensor
    z: Tensor
    points: Tensor
    places: Tensor
    penalty: Tensor
    shift: Tensor

    @property
    def network_size(self) -> int:
        """Pixels of the side at which the networks look at crops."""
        return 16 * self.sixteenth.shape[-2]

    def repeated(self, times: int) -> References:
        """Each sequence ``times`` times over, for as many frames of it."""
        return References._make(x.repeat_interleave(times, 0) for x in self)

    def joined(self, other: References) -> References:
        """These and then ``other`` of the same sequences, with the same ``shift``."""
        every = (torch.cat(pair, 1) for pair in zip(self[:-1], other[:-1], strict=True))
        return References._make([*every, self.shift])

    def only(self, kept: list[int]) -> References:
        """Those at the indices ``kept``."""
        return References._make([*(x[:, kept] for x in self[:-1]), self.shift])

    def select(self, points: Tensor) -> SelectedReferences:
        """The references for lips at ``points`` ``[b 29 2]``."""
        indices, weights = select_nearest(points, self.points, NEAREST, self.penalty)
        b, n = self.points.shape[:2]
        rows = (torch.arange(b, device=indices.device)[:, None] * n + indices).flatten()

        def picked(maps: Tensor) -> Tensor:
            return maps.flatten(0, 1).index_select(0, rows).reshape(*indices.shape, *maps.shape[2:])

        def mean(maps: Tensor) -> Tensor:
            return torch.einsum("bkhwc,bk->bhwc", picked(maps), weights).permute(0, 3, 1, 2)

        trunk = mean(self.sixteenth), mean(self.eighth), mean(self.quarter)
        head = picked(self.head).flatten(0, 1).permute(0, 3, 1, 2)
        return SelectedReferences(indices, weights, *trunk, head, picked(self.z), picked(self.places))


class SelectedReferences(NamedTuple):
    """k references of a frame, ``indices`` and ``weights`` ``[b k]``: means of what they add to the trunk
    ``[b c h w]``, what each adds to the head ``[b·k c h w]``, and their ``z`` and ``places``."""

    indices: Tensor
    weights: Tensor
    sixteenth: Tensor
    eighth: Tensor
    quarter: Tensor
    head: Tensor
    z: Tensor
    places: Tensor

    @classmethod
    def joined(cls, frames: Sequence[SelectedReferences]) -> SelectedReferences:
        """Those of several frames, which have as many references each, as one batch."""
        return frames[0] if len(frames) == 1 else cls._make(torch.cat(parts) for parts in zip(*frames, strict=True))


class FrameFeatures(NamedTuple):
    """What frames show outside the region, which depends on nothing else: ``masked`` frames ``[b 3 n n]`` and their
    features ``[b c h w]`` at these scales."""

    masked: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor


class FlowPrediction(NamedTuple):
    """What the networks make of a frame before any pixel is taken: features ``h`` ``[b c h w]`` and ``fields`` at a
    quarter of their size, and the ``masked`` frame ``[b 3 4h 4w]``, all of the window only. ``indices`` ``[b k]`` say
    which references the fields are of."""

    indices: Tensor
    h: Tensor
    masked: Tensor
    fields: Fields


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
    """See the module. ``latent`` is the width of z; the networks' size is any that 16 divides."""

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

    def encode_references(
        self,
        pixels: Tensor,
        z: Tensor,
        points: Tensor,
        *,
        network_size: int | None = None,
        calibration: Calibration | None = None,
    ) -> References:
        """A bank of references ``[b n 3 s s]`` in [0, 1] with states ``[b n d]`` and points ``[b n 29 2]``.

        They, and every frame drawn with them, are looked at at ``network_size``, which divides s (default: s itself).
        """
        size = pixels.shape[-1]
        if size % (network_size or size):
            raise ValueError(f"crops of {size} px cannot be looked at at {network_size} px: not a whole fraction")
        b, n = pixels.shape[:2]
        flat = shrink(pixels.flatten(0, 1), size // (network_size or size))
        half, quarter, eighth = self.pyramid(_layout(_with_ones(flat) * 2 - 1))
        _, c1, c2, c3 = LEVELS
        window = RegionWindow.of(flat.shape[-1])
        trunk = half[..., window.trunk_rows, window.trunk_columns]
        sixteenth, eighth, quarter, head = (
            maps.reshape(b, n, *maps.shape[1:]).permute(0, 1, 3, 4, 2).contiguous()
            for maps in (
                partial_conv(self.join3, eighth, c3, bias=True),
                partial_conv(self.join2, quarter, c3 + c2, bias=True),
                partial_conv(self.join1, trunk, c2 + c1, bias=True),
                partial_conv(self.head_in, window.coarse(half), c1, bias=True),
            )
        )
        places, shift = points.clone(), torch.zeros_like(points[:, 0])
        if calibration is not None:
            places, shift = points + calibration.references.to(points), shift + calibration.wanted.to(points)
        penalty = points.new_zeros(b, n)
        return References(pixels, sixteenth, eighth, quarter, head, z, points, places, penalty, shift)

    def forward(
        self,
        frames: Tensor,
        z: Tensor,
        points: Tensor,
        references: References,
        selection_points: Tensor | None = None,
    ) -> Rendering:
        """Frames ``[b 3 s s]`` in [0, 1], whose mouth region is blanked here and never read.

        States z ``[b d]`` and the points they say, ``[b 29 2]`` in crop fractions; references are chosen by
        ``selection_points`` instead of these where they are given. ``s`` is a whole multiple of the size at which the
        references were looked at.
        """
        zoom = frames.shape[-1] // references.network_size
        window = RegionWindow.of(references.network_size).enlarged(zoom)
        chosen = references.select(points if selection_points is None else selection_points)
        prediction = self.predict_flow(
            self.encode_frame(_with_ones(shrink(frames, zoom))), z, points + references.shift, chosen
        )
        sources = references.pixels[torch.arange(len(frames), device=frames.device)[:, None], prediction.indices]
        warped = warp(prediction.fields, sources, window)
        image = blend(warped, self.inpaint(prediction, z, shrink(warped, zoom)))
        image = torch.where(window.fine(region_keep(frames.shape[-1], frames)) > 0.5, window.fine(frames), image)
        return Rendering(window.paste(image, frames), window.paste(warped, frames))

    def encode_frame(self, frames: Tensor) -> FrameFeatures:
        """Frames at the networks' size, ``[b 4 n n]``: RGB and ones, of which the mask of what is seen is made."""
        inputs = _layout((frames * 2 - 1) * region_keep(frames.shape[-1], frames))
        return FrameFeatures(inputs[:, :3], *self.pyramid(inputs))

    def predict_flow(
        self, features: FrameFeatures, z: Tensor, places: Tensor, chosen: SelectedReferences
    ) -> FlowPrediction:
        """Where to take the pixels of the window from, for wanted points at ``places`` ``[b 29 2]`` of the crop."""
        size = features.masked.shape[-1]
        window = RegionWindow.of(size)
        h = self._trunk(features, z, places, chosen, window)
        weights = point_weights(places, size // 4, (window.coarse_rows, window.coarse_columns))
        guess = displacement(weights, places, chosen.places)
        return FlowPrediction(chosen.indices, h, window.fine(features.masked), self._fields(h, z, guess, chosen))

    def _trunk(
        self, features: FrameFeatures, z: Tensor, places: Tensor, references: SelectedReferences, window: RegionWindow
    ) -> Tensor:
        """Features of the window at a quarter of the networks' size, from all scales."""
        _, c1, c2, c3 = LEVELS
        _, f1, f2, f3 = features
        h = self.trunk3(partial_conv(self.join3, f3, 0) + references.sixteenth, z)
        h = _up(partial_conv(self.join2, F.silu(h), 0)) + partial_conv(self.join2, f2, c3) + references.eighth
        h = _up(partial_conv(self.join1, F.silu(self.trunk2(h, z)), 0))
        part = window.trunk_rows, window.trunk_columns
        heats = heat_maps(places, f1.shape[-1], part)
        own = partial_conv(self.join1, _layout(f1[..., *part]), c2) + partial_conv(self.join1, heats, c2 + 2 * c1)
        return window.without_margin(self.trunk1(_layout(h[..., *part]) + own + references.quarter, z))

    def _fields(self, h: Tensor, z: Tensor, guess: Tensor, references: SelectedReferences) -> Fields:
        """The points' displacement ``guess`` ``[b k 2 h w]``, corrected, and each reference's share."""
        b, k = references.z.shape[:2]
        states = torch.cat([z[:, None].expand(-1, k, -1), references.z], -1).flatten(0, 1)
        own = partial_conv(self.head_in, h, 0)
        x = references.head + partial_conv(self.head_in, _layout(guess.flatten(0, 1) * 10), 2 * LEVELS[1])
        x = (x.reshape(b, k, *x.shape[1:]) + own[:, None]).flatten(0, 1)
        out = self.head_out(F.silu(self.head_block(x, states)))
        out = out.reshape(b, k, *out.shape[1:])
        shift = guess + MAX_CORRECTION * torch.tanh(out[:, :, :2])
        # The reference whose lips are nearest to the wanted ones leads from the start; logits refine that per pixel.
        return Fields(shift, references.weights.log()[:, :, None, None] + out[:, :, 2])

    def inpaint(self, prediction: FlowPrediction, z: Tensor, warped: Tensor) -> Inpainting:
        """What corrects the mixture ``warped`` ``[b 3 h w]``, the window at the networks' size."""
        detail = F.interpolate(self.paint_up(prediction.h), scale_factor=2, mode="bilinear", align_corners=False)
        x = torch.cat([_unshuffle(warped * 2 - 1), _unshuffle(prediction.masked), detail], 1)
        out = self.paint_out(F.silu(self.paint_block(self.paint_in(x), z)))
        return Inpainting(F.pixel_shuffle(out[:, :12], 2), torch.sigmoid(F.pixel_shuffle(out[:, 12:], 2)))


def _with_ones(images: Tensor) -> Tensor:
    """Images ``[b 3 h w]`` with a channel of ones."""
    return F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _unshuffle(x: Tensor) -> Tensor:
    """``pixel_unshuffle`` by two, into the channels-last layout and in one pass."""
    pixels = x.permute(0, 2, 3, 1)
    cells = [pixels[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.stack(cells, -1).flatten(-2).permute(0, 3, 1, 2)


def _layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
