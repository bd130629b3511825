"""What generators do to a picture before they hand it out."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lipsync_cli.core.types import Float32

# In crop widths: what is finer is detail.
DETAIL = 1 / 160


def detail_sigma(size: int, enlargement: float = 1.0) -> float:
    """Deviation in pixels of the blur that takes detail away, for crops of ``size``.

    In crops that were enlarged out of the picture (``Crop.enlargement``) the finest there is is as much coarser.
    """
    return DETAIL * size * max(1.0, enlargement)


def sharpened(rgb: Float32, amount: float, sigma: float) -> Float32:
    """``rgb`` ``[h w 3]`` with ``amount`` of its detail, as ``detail_sigma`` has it, added once more."""
    if not amount:
        return rgb
    side = _side(sigma)
    return np.asarray(rgb + np.float32(amount) * (rgb - cv2.GaussianBlur(rgb, (side, side), sigma)), np.float32)


def sharpened_images(images: Tensor, amount: float, sigma: float) -> Tensor:
    """``sharpened`` for ``[b 3 h w]`` on any device, and with gradients."""
    if not amount:
        return images
    side = _side(sigma)
    kernel = torch.from_numpy(cv2.getGaussianKernel(side, sigma)).to(images).expand(3, 1, side, 1)
    blurred = F.conv2d(F.pad(images, [side // 2] * 4, mode="reflect"), kernel, groups=3)
    return images + amount * (images - F.conv2d(blurred, kernel.transpose(2, 3), groups=3))


def _side(sigma: float) -> int:
    return 2 * round(4 * sigma) + 1
