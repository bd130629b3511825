"""Previews of a renderer in training: targets beside what it makes of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from lipsync_cli.core.types import UInt8
from lipsync_cli.engines.mini.nn.warping import region_keep
from lipsync_cli.training.common.image_losses import weighted_l1
from lipsync_cli.training.common.runtime import device_of
from lipsync_cli.training.dataset.loader import ClipData, RenderBatch, render_batches
from lipsync_cli.training.mini.autoencoder import Autoencoder

ROWS = 6


@torch.no_grad()
def save_preview(
    model: Autoencoder, clips: list[ClipData], path: Path, *, size: int = 192, seed: int = 5
) -> tuple[UInt8, float]:
    """Rows of target, references' mixture, result, references, RGB; also returns the mean error in the region."""
    drawn = next(render_batches(clips, size=size, sequences=ROWS, targets=1, references=3, seed=seed))
    batch = RenderBatch(*(column.to(device_of(model)) for column in drawn))
    targets = batch.targets[:, 0]
    states = model.encoder(batch.references.flatten(0, 1)).reshape(ROWS, 3, -1)
    references = model.renderer.encode_references(batch.references, states, model.encoder.landmarks(states))
    z = model.encoder(targets)
    out = model.renderer(targets, z, model.encoder.landmarks(z), references)
    columns = [targets, out.warped, out.image, *batch.references.unbind(1)]
    sheet = torch.cat([torch.cat(list(column), 1) for column in columns], 2)
    pixels = (sheet.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    region = (1 - region_keep(size, targets)).expand(ROWS, -1, -1, -1)
    return pixels, float(weighted_l1(out.image, targets, region))
