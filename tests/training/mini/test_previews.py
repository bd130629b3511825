"""Previews of a renderer in training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.autoencoder import Autoencoder
from lipsync_cli.training.mini.previews import ROWS, save_preview


def test_save_preview_writes_the_picture_that_it_returns(prepared: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Autoencoder().eval(), tmp_path / "preview.png"
    pixels, error = save_preview(model, load_clips(prepared, "train"), path, size=64)
    assert pixels.shape == (ROWS * 64, 6 * 64, 3) and 0 < error < 1
    assert np.array_equal(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), pixels)
    again, same = save_preview(model, load_clips(prepared, "train"), path, size=64)
    assert np.array_equal(again, pixels) and same == error, "the same clips at every save"
