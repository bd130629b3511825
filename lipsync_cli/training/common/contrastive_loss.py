"""Symmetric InfoNCE over temporal offsets (van den Oord et al. 2018; "Perfect match", Chung et al. 2019).

What every sync expert learns: which stretch of sound belongs to which stretch of lips?
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def offset_logits(agreement: Tensor, sharpness: Tensor, *, tolerance: int) -> Tensor:
    """Agreements ``[b w w]`` times ``sharpness``; −∞ for offsets below ``tolerance`` frames that are not 0.

    Neighbours sound and look alike, so they count neither as positives nor as negatives.
    """
    index = torch.arange(agreement.shape[-1], device=agreement.device)
    apart = (index[:, None] - index[None, :]).abs()
    return (sharpness * agreement).masked_fill((apart > 0) & (apart < tolerance), -torch.inf)


def contrastive_loss(logits: Tensor) -> Tensor:
    """Cross entropy of the diagonal of ``[b w w]``, from rows to columns and from columns to rows."""
    target = torch.arange(logits.shape[-1], device=logits.device).expand(len(logits), -1)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.transpose(1, 2), target)) / 2
