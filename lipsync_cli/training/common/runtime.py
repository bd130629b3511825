"""Where the stages compute: one process or several, on the CPU or on GPUs, in full or half precision.

Several processes share every batch and average their gradients, exchanged as a whole before each optimiser's step. No
network is wrapped in ``DistributedDataParallel``: a wrapper watches one forward and one backward pass of one module,
while these stages run networks several times a step, call other methods of them than ``forward``, ask for gradients
with respect to pictures, and update two networks against each other. Nor are networks of three million weights worth
sharding (FSDP). Larger ones would be sharded in ``Runtime.place`` and left out of ``average_gradients``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from lipsync_cli.core.errors import UsageError
from lipsync_cli.training.common.noise import Noise, part_seed

if TYPE_CHECKING:
    from lipsync_cli.training.common.tensorboard import Board

Batch = TypeVar("Batch", bound=tuple[Tensor, ...])
Module = TypeVar("Module", bound=nn.Module)


CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a stage computes on, and the ``board`` its figures go to beside the log.

    A step's batch is drawn in ``parts``, each from a seed of its own and on the CPU, so that every device gets the
    same. Process ``rank`` of ``processes`` computes its equal share of them. ``parts`` is the number of processes;
    where it is a multiple, fewer processes do what more would have done.
    """

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    rank: int = 0
    processes: int = 1
    parts: int = 1
    board: Board | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process logs, saves and exports."""
        return self.rank == 0

    @property
    def own_parts(self) -> range:
        """The parts of each batch that this process computes."""
        share = self.parts // self.processes
        return range(self.rank * share, (self.rank + 1) * share)

    def place(self, module: Module) -> Module:
        """The module on the device; with several processes its batch statistics are those of the whole batch."""
        placed = module.to(self.device)
        if self.processes == 1:
            return placed
        from lipsync_cli.training.common.synced_norm import (
            with_synced_norms,  # needs accelerate, as several processes do
        )

        return with_synced_norms(placed)

    def check_batch(self, size: int, name: str) -> None:
        """UsageError unless the parts can be equally large."""
        if size % self.parts:
            raise UsageError(
                f"{name} = {size} of the recipe cannot be shared equally among {self.parts} processes.",
                hint="Start a number of processes that divides it, or write a recipe with a multiple of it.",
            )

    def draw(self, make: Callable[[int, int], Batch], *, seed: int, size: int) -> Batch:
        """This process's share of a batch of ``size``: ``make(seed, size)`` of its parts, joined, on the device."""
        drawn = [make(part_seed(seed, part), size // self.parts) for part in self.own_parts]
        columns = (column[0] if len(column) == 1 else torch.cat(column) for column in zip(*drawn, strict=True))
        placed = (column.to(self.device) for column in columns)
        return drawn[0]._make(placed) if hasattr(drawn[0], "_make") else type(drawn[0])(placed)

    def noise(self, seed: int) -> Noise:
        """Random numbers for this process's share of a batch."""
        return Noise(seed, self.own_parts, self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Networks inside compute in ``dtype``; what must be exact belongs outside.

        Weights are cast anew each time: a cast made under ``no_grad`` and kept would carry no gradient later, and
        the student's rollout is both.
        """
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype, cache_enabled=False)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes, in one exchange."""
        if self.processes == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        means = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, torch.split(means, sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, without a gradient."""
        if self.processes == 1:
            return values
        from accelerate.utils import reduce

        return cast(Tensor, reduce(values.detach(), "mean"))

    def share(self, weight: Tensor) -> Tensor:
        """What a loss that was divided by ``weight``, a sum over this process's share of the batch, counts for.

        The mean of such losses times their shares is what one process with the whole batch would have found.
        """
        if self.processes == 1:
            return torch.ones_like(weight)
        return weight.detach() / self.mean(weight).clamp_min(1e-6)

    def norm(self, gradient: Tensor) -> Tensor:
        """Norm of the whole batch's gradient, of which this process has its own loss's on its own share."""
        if self.processes == 1:
            whole: Tensor = gradient.norm()
            return whole
        return (self.mean(gradient.square().sum()) / self.processes).sqrt()

    def gather(self, values: Tensor) -> Tensor:
        """Rows of all processes, in their order, without a gradient."""
        if self.processes == 1:
            return values
        from accelerate.utils import gather

        return cast(Tensor, gather(values.detach()))

    def own_rows(self, values: Tensor) -> Tensor:
        """The rows of ``gather`` that this process gave."""
        return values.chunk(self.processes)[self.rank]

    def agree(self, wanted: bool) -> bool:
        """What the main process wants: clocks differ, and nobody may stop while others wait."""
        if self.processes == 1:
            return wanted
        from accelerate.utils import broadcast

        flag = torch.tensor(int(wanted), device=self.device)
        return bool(broadcast(flag))

    def wait(self) -> None:
        """Until every process is here."""
        if self.processes > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


ALONE = Runtime()
"""One process on the CPU in full precision."""


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device
