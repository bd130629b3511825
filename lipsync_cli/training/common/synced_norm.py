"""Batch normalisation by the statistics of a batch that several processes share."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Module = TypeVar("Module", bound=nn.Module)


class SyncedBatchNorm(_BatchNorm):
    """Normalises ``[b c ...]`` in training by mean and variance over all processes' shares, which are equally large.

    ``torch.nn.SyncBatchNorm`` does the same but refuses tensors on the CPU, where it could not be tested. Gradients
    flow through the statistics to every process. Names in the state dict are those of plain layers.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes will do."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` ``[b c ...]`` normalised, in its own type."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        x, axes = input.float(), [0, *range(2, input.dim())]
        shape = [1, -1, *(1 for _ in axes[1:])]
        mean = _mean_of_all(x.mean(axes))
        centred = x - mean.view(shape)
        variance = _mean_of_all(centred.square().mean(axes))
        count = x.numel() / x.shape[1] * torch.distributed.get_world_size()
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        out = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)


def with_synced_norms(module: Module) -> Module:
    """The module with every batch normalisation inside it replaced, weights and statistics kept."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, SyncedBatchNorm):
            synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            synced.load_state_dict(child.state_dict())
            setattr(module, name, synced.train(child.training).to(next(child.buffers()).device))
        else:
            with_synced_norms(child)
    return module


class _MeanOfAll(torch.autograd.Function):
    """Every process's loss depends on every one's values, so gradients are averaged as values are."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return cast(Tensor, reduce(values, "mean"))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return cast(Tensor, reduce(gradient, "mean"))


def _mean_of_all(values: Tensor) -> Tensor:
    return cast(Tensor, _MeanOfAll.apply(values))  # type: ignore[no-untyped-call]
