"""A frame edited instead of replaced: its own pixels moved by what its mouth has to do, new lips on top.

Skin, beard, light, hair, collar and background stay the frame's own: far from lips and jaw it is not moved at all,
and near them only by the difference between the mouth that it shows and the one that is wanted. Lips and what is
inside the mouth are drawn from references, on a soft area around the lips of both, so that nothing of what the
frame's mouth said is left.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.engines.mini.nn.landmark_flow import LIPS, displacement, lip_density, point_weights
from lipsync_cli.engines.mini.nn.warping import RegionWindow, identity_grid

# Density of lip points (``lip_density``) at which drawn lips and the frame count alike, and how steeply that changes.
HALF_DENSITY, STEEPNESS = 0.5, 4


class FrameEdit(NamedTuple):
    """Of b frames, on the region's window: ``shift`` ``[b 2 h w]``, at a quarter of the networks' size, is where to
    look in the frame relative to the pixel (x, y in crop fractions); ``lips`` ``[b 1 H W]`` in [0, 1], at their size,
    is how far the drawn lips cover the frame."""

    shift: Tensor
    lips: Tensor

    def frame(self, index: int) -> FrameEdit:
        """That of one frame, still as a batch."""
        return FrameEdit._make(x[index : index + 1] for x in self)


def predict_edit(own: Tensor, wanted: Tensor, size: int) -> FrameEdit:
    """How to edit frames whose mouths and jaws lie at ``own`` ``[b 29 2]`` so that they come to lie at ``wanted``.

    Points are crop fractions, ``size`` is that at which the networks see crops.
    """
    window = RegionWindow.of(size)
    weights = point_weights(wanted, size // 4, (window.coarse_rows, window.coarse_columns))
    both = torch.cat([own[:, : len(LIPS)], wanted[:, : len(LIPS)]], 1)
    density = (lip_density(both, size, (window.rows, window.columns)) / HALF_DENSITY) ** STEEPNESS
    return FrameEdit(displacement(weights, wanted, own[:, None])[:, 0], density / (1 + density))


def edit_frames(edit: FrameEdit, frames: Tensor, drawn: Tensor, window: RegionWindow) -> Tensor:
    """The window ``[b 3 H W]`` of ``frames`` ``[b 3 s s]``, edited, with the lips of ``drawn``, which is as large.

    The colour of the drawing is made that of the frame along the lips' soft border.
    """
    shift = edit.shift.to(torch.promote_types(edit.shift.dtype, torch.float32))
    shift = F.interpolate(shift, window.shape, mode="bilinear", align_corners=False)
    # grid_sample counts the crop from −1 to 1, hence twice the displacement.
    grid = identity_grid(frames.shape[-1], shift)[:, window.rows, window.columns] + 2 * shift.permute(0, 2, 3, 1)
    moved = F.grid_sample(frames.to(shift), grid, mode="bicubic", padding_mode="border", align_corners=False)
    lips = F.interpolate(edit.lips.to(shift), window.shape, mode="bilinear", align_corners=False)
    border = lips * (1 - lips)
    difference = (border * (moved - drawn)).sum((2, 3), keepdim=True) / border.sum((2, 3), keepdim=True).clamp(
        min=1e-6
    )
    return torch.lerp(moved, drawn.to(moved) + difference, lips)
