"""Softmax attention by whichever fused kernel is there: FlashAttention, cuDNN's, torch's own; plain sums elsewhere.

No mask is ever needed, since the ring holds exactly what a chunk sees, so every kernel applies.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

HOPPER = (9, 0)
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention ``[b l h c]`` of all queries to all keys, each ``[b l h c]``."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if not q.is_cuda:
        return scaled_dot_product_attention(q, k, v).transpose(1, 2)
    with sdpa_kernel(kernels(q.device.index or 0), set_priority=True):
        return scaled_dot_product_attention(q, k, v).transpose(1, 2)


@lru_cache(maxsize=16)
def kernels(device: int) -> list[SDPBackend]:
    """Kernels in the order of preference; torch takes the first that handles the tensors.

    On Hopper and later cuDNN's is ahead of the FlashAttention 2 that torch carries.
    """
    cudnn_first = torch.cuda.get_device_capability(device) >= HOPPER
    return [SDPBackend.CUDNN_ATTENTION, *FUSED] if cudnn_first else [*FUSED, SDPBackend.CUDNN_ATTENTION]
