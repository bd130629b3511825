"""The loop of every stage: steps that are functions of their number, a log, averaged weights, exact resumption."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.common.weight_average import WeightAverage, ramped_momentum

Values = Mapping[str, float | Tensor]
Module = TypeVar("Module", bound=nn.Module)
Report = Callable[[str], None]
"""Takes a line for people."""
Advance = Callable[[int], Values]
"""One optimisation step, by its number; returns what to log."""

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a stage runs and how often it saves and logs.

    ``average`` is the highest momentum of the mean weights, reached by ``ramped_momentum``; 0 averages nothing,
    and the last weights count. ``deadline`` is in ``time.monotonic`` seconds and ends a stage early; it then resumes
    at the same step.
    """

    steps: int
    save_every: int = 200
    log_every: int = 25
    average: float = 0.998
    ramp: int = 9
    deadline: float | None = None


class Stage:
    """Named modules and optimisers that are saved together, one of the modules, or none, averaged over the steps.

    ``advance(step)`` does one optimisation step and returns what to log. It must draw everything random from
    (seed, step) and the runtime's parts of the batch: then a stopped and resumed run equals an unbroken one. (On CUDA
    up to the last bits, which depend on the order in which kernels happen to add.)

    Of several processes the main one logs and saves, and all resume from its checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        modules: Mapping[str, nn.Module],
        optimisers: Mapping[str, torch.optim.Optimizer],
        *,
        averaged: str | None,
        runtime: Runtime = ALONE,
    ) -> None:
        self.runtime = runtime
        self.checkpoint, self.log = folder / CHECKPOINT, folder / "metrics.jsonl"
        self.modules, self.optimisers, self.averaged = modules, optimisers, averaged
        self._average = WeightAverage({} if averaged is None else modules[averaged].state_dict())
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    @property
    def average(self) -> dict[str, Tensor]:
        """The averaged module's mean weights, empty for none; they change with every step."""
        return self._average.tensors

    def run(self, advance: Advance, pace: Pace, *, on_save: Callable[[int], None] | None = None) -> dict[str, Tensor]:
        """Advance to ``pace.steps`` or the deadline; returns the averaged module's state dict, empty for none.

        ``on_save`` is called in the main process only.
        """
        began = time.monotonic()
        # Shown to people only: on a terminal, on stderr.
        hidden = None if self.runtime.is_main else True
        name = self.checkpoint.parent.name
        with tqdm(total=pace.steps, initial=self.step, desc=name, unit="step", disable=hidden, leave=False) as bar:
            while self.step < pace.steps and not self._is_over(pace):
                values = advance(self.step)
                self.step += 1
                bar.update()
                if self.averaged is not None:
                    momentum = ramped_momentum(pace.average, self.step, pace.ramp)
                    self._average.update(self.modules[self.averaged].state_dict(), momentum)
                if self.step % pace.log_every == 0 or self.step == 1:
                    self._write_row(values, time.monotonic() - began)
                if self.step % pace.save_every == 0:
                    self.save()
                    if on_save is not None and self.runtime.is_main:
                        on_save(self.step)
        self.save()
        self.runtime.wait()  # whoever reads the checkpoint next finds it
        return self.average

    def _is_over(self, pace: Pace) -> bool:
        return pace.deadline is not None and self.runtime.agree(time.monotonic() >= pace.deadline)

    def _write_row(self, values: Values, seconds: float) -> None:
        """Log means over the processes. Only here do figures leave the device, which is made to wait for it."""
        figures = torch.tensor([float(value) for value in values.values()], dtype=torch.float64)
        if self.runtime.processes > 1:
            figures = self.runtime.mean(figures.float().to(self.runtime.device))
        if not self.runtime.is_main:
            return
        named = dict(zip(values, figures.tolist(), strict=True))
        row = {"step": self.step - 1, "s": round(seconds, 1)} | {key: round(value, 5) for key, value in named.items()}
        with self.log.open("a") as log:
            log.write(json.dumps(row) + "\n")
        if self.runtime.board is not None:
            self.runtime.board.figures(self.checkpoint.parent.name, self.step - 1, named)

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        if not self.runtime.is_main:
            return
        state = {
            "step": self.step,
            "average": self.average,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }
        partial = self.checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _load(self) -> None:
        # Through the CPU: what one device wrote another may read.
        state = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self._average.load(state["average"])
        self.step = state["step"]


def run_stage(
    folder: Path,
    networks: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    advance: Advance,
    pace: Pace,
    *,
    result: Module,
    on_save: Callable[[Module, int], None] | None = None,
    runtime: Runtime = ALONE,
) -> Module:
    """Run a stage whose ``result``, one of its ``networks``, is what it trains, resuming from ``folder``.

    Returns a copy of ``result`` in evaluation mode with the averaged weights, or the last ones where ``pace``
    averages nothing. ``on_save`` gets such a copy and the number of steps at every save, in the main process only.
    For what ``advance`` must keep to, see ``Stage``.
    """
    name = next(name for name, network in networks.items() if network is result)
    averaged = name if pace.average else None
    stage = Stage(folder, networks, optimisers, averaged=averaged, runtime=runtime)

    def finished() -> Module:
        return with_weights(result, stage.average or result.state_dict())

    def saved(step: int) -> None:
        if on_save is not None:
            on_save(finished(), step)

    stage.run(advance, pace, on_save=saved)
    return finished()


def with_weights(module: Module, weights: Mapping[str, Tensor]) -> Module:
    """A copy of ``module`` in evaluation mode with other weights."""
    other = copy.deepcopy(module)
    other.load_state_dict(weights)
    return other.eval()


def steps_made(folder: Path) -> int:
    """How many steps the stage in ``folder`` has made up to its last checkpoint."""
    checkpoint = folder / CHECKPOINT
    return int(torch.load(checkpoint, weights_only=True, mmap=True)["step"]) if checkpoint.exists() else 0


def is_done(folder: Path, steps: int) -> bool:
    """Whether the stage in ``folder`` has made its steps, so that its data need not be prepared again."""
    return steps_made(folder) >= steps


def deadline_in(minutes: float | None) -> float | None:
    """``minutes`` from now in ``time.monotonic`` seconds; None for no end."""
    return None if minutes is None else time.monotonic() + 60 * minutes


def learning_rate(step: int, steps: int, *, peak: float, warmup: int) -> float:
    """Linear warm-up, constant, then linear to 5 % over the last third."""
    decay = max(0.05, min(1.0, (steps - step) / (steps / 3)))
    return peak * min(1.0, (step + 1) / max(1, warmup)) * decay


def descend(
    optimiser: torch.optim.Optimizer, loss: Tensor, rate: float, *, clip: float = 1.0, runtime: Runtime = ALONE
) -> Tensor:
    """One step down ``loss`` at learning rate ``rate``, the gradient clipped to ``clip``; returns its norm.

    Of several processes' losses, each of its share of the batch, it is a step down their mean.
    """
    return descend_accumulated(optimiser, [loss], rate, clip=clip, runtime=runtime)


def descend_accumulated(
    optimiser: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    rate: float,
    *,
    clip: float = 1.0,
    runtime: Runtime = ALONE,
) -> Tensor:
    """``descend`` down the sum of losses that are made one at a time, so that only one graph is held."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    optimiser.zero_grad(set_to_none=True)
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    runtime.average_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return norm
