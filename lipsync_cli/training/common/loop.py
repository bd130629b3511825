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

Values = Mapping[str, float | Tensor]
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a stage runs and how often it saves and logs.

    ``average`` is the highest momentum of the mean weights; after n steps it is n / (n + ``ramp``) up to that.
    ``deadline`` is in ``time.monotonic`` seconds and ends a stage early; it then resumes at the same step.
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
        self.checkpoint, self.log = folder / "checkpoint.pt", folder / "metrics.jsonl"
        self.modules, self.optimisers, self.averaged = modules, optimisers, averaged
        of = {} if averaged is None else modules[averaged].state_dict()
        self.average = {key: value.clone() for key, value in of.items()}
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    def run(
        self, advance: Callable[[int], Values], pace: Pace, *, on_save: Callable[[int], None] | None = None
    ) -> dict[str, Tensor]:
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
                self._update_average(min(pace.average, self.step / (self.step + pace.ramp)))
                if self.step % pace.log_every == 0 or self.step == 1:
                    self._write_row(values, time.monotonic() - began)
                if self.step % pace.save_every == 0:
                    self.save()
                    if on_save is not None and self.runtime.is_main:
                        on_save(self.step)
        self.save()
        self.runtime.wait()  # whoever looks for the checkpoint next finds it
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
        self.average = {key: state["average"][key].to(value.device) for key, value in self.average.items()}
        self.step = state["step"]

    @torch.no_grad()
    def _update_average(self, momentum: float) -> None:
        if self.averaged is None:
            return
        for key, value in self.modules[self.averaged].state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - momentum)
            else:
                self.average[key].copy_(value)


def with_weights(module: Module, weights: Mapping[str, Tensor]) -> Module:
    """A copy of ``module`` in evaluation mode with other weights."""
    other = copy.deepcopy(module)
    other.load_state_dict(weights)
    return other.eval()


def is_done(folder: Path, steps: int) -> bool:
    """Whether the stage in ``folder`` has made its steps, so that its data need not be prepared again."""
    checkpoint = folder / "checkpoint.pt"
    return checkpoint.exists() and int(torch.load(checkpoint, weights_only=True, mmap=True)["step"]) >= steps


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
