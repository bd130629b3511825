"""What a model costs: operations and bytes of each stage, counted on shapes alone, and the speed they allow.

Stages are run on torch's meta device, where tensors have shapes but no values, under torch's own operation counter.
Nothing is measured, so any size can be counted anywhere; what a device makes of it is a lower bound of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage for one chunk of the steady state.

    ``flops``: multiplications and additions. ``bytes``: weights and cache that must be read at least, activations
    left out. ``weight_bytes``: what stays in memory.
    """

    stage: str
    flops: float
    bytes: float
    weight_bytes: float

    def seconds(self, flops_per_s: float, bytes_per_s: float) -> float:
        """The least time on a device of such speeds."""
        return max(self.flops / flops_per_s, self.bytes / bytes_per_s)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Lower bounds for a device: seconds a stage and chunk, frames per second, seconds to the first frame."""

    seconds: dict[str, float]
    fps: float
    first_frame_s: float


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Stages of a chunk of ``frames`` frames of the steady state, those of the ``first`` chunk where they differ, and
    bytes that ``memory`` must hold, by what they are."""

    frames: int
    stages: tuple[StageCost, ...]
    memory: Mapping[str, float]
    first: tuple[StageCost, ...] = field(default=())

    @property
    def flops_per_frame(self) -> float:
        """Operations behind a picture of the steady state."""
        return sum(stage.flops for stage in self.stages) / self.frames

    def forecast(self, flops_per_s: float, bytes_per_s: float) -> Forecast:
        """What a device with such a peak could do at best, stages one after another."""
        seconds = {stage.stage: stage.seconds(flops_per_s, bytes_per_s) for stage in self.stages}
        first = sum(stage.seconds(flops_per_s, bytes_per_s) for stage in self.first or self.stages)
        return Forecast(seconds, self.frames / sum(seconds.values()), first)


def count_flops(run: Callable[[], object]) -> float:
    """Operations of ``run``, which should work on the meta device without gradients."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def weight_bytes(network: nn.Module, bytes_per_weight: float) -> float:
    """Bytes of a network's weights."""
    return bytes_per_weight * sum(parameter.numel() for parameter in network.parameters())
