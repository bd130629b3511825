"""What guidance does along the teacher's trajectory: the basis of the sync window and of the two-step schedule.

For every step of an Euler solution the predicted clean states are compared with the real ones (fidelity) and with the
sound (sync), for several guidance scales; then every two-step schedule, with and without guidance in either step.
The analysis of arXiv 2606.11180, section 4, in the space of mouth states.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from lipsync_cli.engines.mini.nn.state_sync import StateSync, confidence
from lipsync_cli.engines.mini.nn.window_flow import WindowFlow
from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.common.runtime import device_of
from lipsync_cli.training.mini.latents import FlowBatch, LatentClip, batch_at, clip_pools

FIRST_TIME = 0.999


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """One prediction: ``guidance`` scales used so far, the flow time it was made at, and its figures.

    ``distance`` is the mean squared distance to the real states in their variances, ``sync`` the expert's confidence,
    ``spread`` the standard deviation over time against the real one's.
    """

    guidance: tuple[float, ...]
    time: float
    distance: float
    sync: float
    spread: float


def times(steps: int, shift: float) -> list[float]:
    """Times τ of an Euler solution with ``steps`` steps, from 0.999 down, pushed towards noise by ``shift``."""
    even = [FIRST_TIME * (1 - step / steps) for step in range(steps)]
    return [shift * u / (1 + (shift - 1) * u) for u in even]


@dataclass(frozen=True, slots=True)
class GuidanceProbe:
    """A teacher, an expert and one batch, with everything embedded that no prediction changes.

    ``real`` and ``references`` are states in the teacher's units, ``audio`` its vectors, ``sound`` the expert's.
    """

    teacher: WindowFlow
    expert: StateSync
    real: Tensor
    references: Tensor
    audio: Tensor
    sound: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: WindowFlow, expert: StateSync, batch: FlowBatch) -> GuidanceProbe:
        """Embed a batch, where the teacher is."""
        batch = FlowBatch(*(column.to(device_of(teacher)) for column in batch))
        return cls(
            teacher, expert, teacher.normalise(batch.z), teacher.normalise(batch.references),
            teacher.audio(batch.audio), expert.sound(batch.audio),
        )  # fmt: skip

    def predict(self, x: Tensor, time: float, guidance: float) -> Tensor:
        """The teacher's clean states for noisy ones."""
        return self.teacher.guided(x, x.new_full((len(x),), time), self.audio, self.references, guidance)

    @torch.no_grad()
    def measure(self, x0: Tensor, guidance: tuple[float, ...], time: float) -> TrajectoryPoint:
        """The figures of one prediction."""
        return TrajectoryPoint(
            guidance,
            round(time, 4),
            float((x0 - self.real).pow(2).mean()),
            float(confidence(self.expert.agreement_with(x0, self.sound)).mean()),
            float((x0.std(1) / self.real.std(1).clamp_min(1e-3)).median()),
        )


@torch.no_grad()
def trajectory(
    probe: GuidanceProbe, guidance: float, *, steps: int = 50, shift: float = 3.0
) -> list[TrajectoryPoint]:
    """The predicted clean states at every step of one solution of the probability-flow equation."""
    x = FIRST_TIME * Noise(0, device=probe.real.device).normal(probe.real.shape)
    points = []
    for now, after in pairwise([*times(steps, shift), 0.0]):
        x0 = probe.predict(x, now, guidance)
        points.append(probe.measure(x0, (guidance,), now))
        x = x0 + (x - x0) * (after / now)
    return points


@torch.no_grad()
def two_steps(probe: GuidanceProbe, guidance: tuple[float, float], second: float) -> TrajectoryPoint:
    """The result of two steps: from noise to ``second`` under fresh noise, and from there to the end."""
    noise = Noise(0, device=probe.real.device)
    first, fresh = (noise.normal(probe.real.shape) for _ in range(2))
    x = torch.lerp(probe.predict(FIRST_TIME * first, FIRST_TIME, guidance[0]), fresh, second)
    return probe.measure(probe.predict(x, second, guidance[1]), guidance, second)


def analyse(
    teacher: WindowFlow,
    expert: StateSync,
    clips: list[LatentClip],
    folder: Path,
    *,
    scales: Sequence[float] = (1.0, 1.5, 2.0, 3.0),
    frames: int = 48,
    size: int = 24,
) -> Path:
    """Write ``trajectory.json`` and, where matplotlib is installed, ``trajectory.png``; returns the JSON's path."""
    frames = min(frames, max(len(clip.z) for clip in clips))
    batch = batch_at(clip_pools(clips, [frames]), 11, 0, size=size, references=3)
    probe = GuidanceProbe.of(teacher, expert, batch)
    solutions = {scale: trajectory(probe, scale) for scale in scales}
    seconds = times(16, 3.0)[1:]
    pairs = [(a, b) for a in (1.0, scales[-1]) for b in (1.0, scales[-1])]
    schedules = {pair: [two_steps(probe, pair, at) for at in seconds] for pair in pairs}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trajectory.json"
    rows = {
        "trajectory": [asdict(point) for points in solutions.values() for point in points],
        "two_steps": [asdict(point) for points in schedules.values() for point in points],
    }
    path.write_text(json.dumps(rows, indent=1))
    try:
        _plot({str(k): v for k, v in solutions.items()}, {f"{a}→{b}": v for (a, b), v in schedules.items()}, path)
    except ImportError:
        return path
    return path


def _plot(
    solutions: dict[str, list[TrajectoryPoint]], schedules: dict[str, list[TrajectoryPoint]], path: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), sharex=True)
    for row, curves in zip(axes, (solutions, schedules), strict=True):
        for axis, name in zip(row, ("distance", "sync", "spread"), strict=True):
            for label, points in curves.items():
                axis.plot([p.time for p in points], [getattr(p, name) for p in points], label=label)
            axis.set_ylabel(name)
    axes[0, 0].set_title("every step of a solution, by guidance")
    axes[1, 0].set_title("two steps, by guidance of the first and second")
    for row in axes:
        row[0].legend()
    axes[0, 0].invert_xaxis()  # the axes share it: time runs from noise to picture
    for axis in axes[1]:
        axis.set_xlabel("time of the prediction")
    figure.tight_layout()
    figure.savefig(path.with_suffix(".png"), dpi=110)
    pyplot.close(figure)
