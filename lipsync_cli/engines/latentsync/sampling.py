"""From noise to a window of latents: diffusers' solvers, guidance by what is heard, and passes that are cut short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lipsync_cli.engines.latentsync.config import LatentSyncConfig, Solver

TRAIN_STEPS = 1000
_SCHEDULE = {
    "num_train_timesteps": TRAIN_STEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


class Denoiser(Protocol):
    """A ``LatentSyncUNet``."""

    @property
    def dtype(self) -> torch.dtype: ...

    def predict(self, x: Tensor, t: int, audio: Tensor) -> tuple[Tensor, Tensor]: ...

    def predict_again(self, x: Tensor, t: int, audio: Tensor, deep: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class WindowSampler:
    """How a window is sampled; see ``LatentSyncConfig``."""

    solver: Solver
    steps: int
    guidance: float
    reuse: int

    @classmethod
    def of(cls, config: LatentSyncConfig) -> WindowSampler:
        """The one a configuration asks for."""
        return cls(config.solver, config.steps, config.guidance, config.reuse)

    @property
    def full_passes(self) -> int:
        """How many of the steps run the whole network."""
        return -(-self.steps // self.reuse)

    @property
    def batch(self) -> int:
        """Windows that go through the network at once: with guidance also the one that hears nothing."""
        return 2 if self.guidance > 1 else 1

    def sample(self, unet: Denoiser, noise: Tensor, condition: Tensor, audio: Tensor) -> Tensor:
        """Latents ``[1 f 4 h w]`` in float32 from ``noise`` of that shape.

        ``condition`` ``[1 f 9 h w]`` is the rest of the network's input, ``audio`` ``[f n d]`` what the frames hear.
        """
        scheduler = make_scheduler(self.solver, self.steps)
        x = noise.float() * float(scheduler.init_noise_sigma)
        # Silence that was never heard: activations of zero, which is what the releases guide away from.
        heard = torch.stack([torch.zeros_like(audio), audio][-self.batch :]).to(unet.dtype)
        deep: Tensor | None = None
        for index, t in enumerate(scheduler.timesteps.tolist()):
            inputs = torch.cat([scheduler.scale_model_input(x, t).to(unet.dtype), condition.to(unet.dtype)], 2)
            inputs = inputs.expand(self.batch, -1, -1, -1, -1)
            if deep is None or index % self.reuse == 0:
                predicted, deep = unet.predict(inputs, t, heard)
            else:
                predicted = unet.predict_again(inputs, t, heard, deep)
            x = scheduler.step(self._guided(predicted.float()), t, x).prev_sample
        return x

    def _guided(self, predicted: Tensor) -> Tensor:
        if self.batch == 1:
            return predicted
        without, heard = predicted.chunk(2)
        return without + self.guidance * (heard - without)


def make_scheduler(solver: Solver, steps: int) -> Any:
    """diffusers' scheduler of that name, ready for ``steps`` steps of one window.

    ``ddim`` has the releases' settings. ``dpm++`` is DPM-Solver++(2M) (arXiv 2211.01095), begun at pure noise, where
    few steps lose least.
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    scheduler: Any
    if solver == "ddim":
        scheduler = DDIMScheduler(
            **_SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading"
        )
    else:
        scheduler = DPMSolverMultistepScheduler(**_SCHEDULE, solver_order=2, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return scheduler
