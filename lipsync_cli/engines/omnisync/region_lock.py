"""Keeping the rest of the picture: away from the mouth the state follows the source's own path to the end.

The temporal-adaptive latent injection of UniSync (arXiv 2603.03882) for rectified flow: after a step, what is not
the mouth is overwritten by the source noised to the new time, with the noise that sampling began with, so that it
stays on one path; the last steps are free, so that seams blend.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.engines.omnisync.noise_start import noised


def is_locked(step: int, steps: int, share: float) -> bool:
    """Whether the rest is overwritten after step ``step`` (from 0) of ``steps``, with the first ``share`` locked."""
    return step < round(share * steps)


def locked(x: Tensor, source: Tensor, noise: Tensor, sigma: float, mouth: Tensor) -> Tensor:
    """``x`` at time ``sigma`` where ``mouth`` is 1, the source noised to that time where it is 0, mixed between."""
    return mouth * x + (1 - mouth) * noised(source, noise, sigma)


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask ``[... h w]`` in [0, 1] grown by so many latent pixels every way; convolutions look further than one."""
    if not pixels:
        return mask
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    return F.max_pool2d(flat, 2 * pixels + 1, 1, pixels).reshape(mask.shape)
