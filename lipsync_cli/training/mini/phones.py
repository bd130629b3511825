"""Stage: the audio encoder alone, classifying phones of synthetic speech.

Minutes of talking faces are few voices; thousands of nonsense utterances by a hundred synthetic ones, resampled,
reverberated and under noise, make the encoder invariant to voice and recording. The flow networks start from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lipsync_cli.audio.mel import HOP, WINDOW, log_mel
from lipsync_cli.core.types import SPEECH_RATE, Float32
from lipsync_cli.engines.mini.nn.flow_backbone import ROWS_BEFORE, AudioWindowEncoder
from lipsync_cli.training.common.loop import Pace, Values, descend, learning_rate, run_stage
from lipsync_cli.training.common.noise import step_seed
from lipsync_cli.training.common.recipes import Count, LearningRate, Recipe, Seed
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.audio_augment import augment_mel
from lipsync_cli.training.dataset.audio_effects import reverberate, room_response
from lipsync_cli.training.mini.espeak import CLASSES, UNKNOWN, Espeak, Utterance
from lipsync_cli.training.mini.latents import ROWS_PER_FRAME, every_window, rows_of

OFFSETS = (-8, -4, 0, 4, 8)
"""Rows of 10 ms around a window's own at which it classifies the phone."""
WARMUP = 100


class PhonesRecipe(Recipe):
    """``utterances`` are synthesised once; a step draws ``batch`` stretches of ``frames`` windows."""

    utterances: Count = 3000
    steps: Count = 2500
    batch: Count = 16
    frames: Count = 24
    learning_rate: LearningRate = 2e-3
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class LabelledMel:
    """Log-mel rows ``[n 80]`` and the phone class ``[n]`` at each row's centre."""

    mel: Float32
    classes: npt.NDArray[np.int64]


class PhoneBatch(NamedTuple):
    """Windows ``[b n 32 80]`` and classes ``[b n offsets]``."""

    windows: Tensor
    classes: Tensor


class PhoneClassifier(nn.Module):
    """An audio encoder with a linear classifier of the phones around each window."""

    def __init__(self, encoder: AudioWindowEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.read = nn.Linear(encoder.out.out_features, len(OFFSETS) * len(CLASSES))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits ``[b n offsets classes]`` of windows ``[b n 32 80]``."""
        out: Tensor = self.read(F.silu(self.encoder(windows))).unflatten(-1, (len(OFFSETS), len(CLASSES)))
        return out


def labelled_mel(utterance: Utterance, rng: np.random.Generator) -> LabelledMel:
    """Rows of an utterance resampled by up to a quarter (tempo and pitch together), often reverberated."""
    stretch = Fraction(int(rng.integers(80, 126)), 100)
    samples = np.asarray(resample_poly(utterance.samples, stretch.numerator, stretch.denominator), np.float32)
    if rng.random() < 0.4:
        samples = reverberate(samples, room_response(rng.uniform(0.1, 0.6), rng.uniform(0, 12), rng))
    mel = log_mel(np.asarray(samples * rng.uniform(0.3, 2.0), np.float32))
    centres = np.arange(len(mel)) * HOP / SPEECH_RATE + WINDOW / 2 / SPEECH_RATE
    current = np.searchsorted(np.array(utterance.starts) * float(stretch), centres, side="right") - 1
    classes = np.array([0, *utterance.classes], np.int64)[current + 1]
    return LabelledMel(mel, classes)


def synthesise(recipe: PhonesRecipe) -> list[LabelledMel]:
    """The stage's data: the recipe's words and voices, though eSpeak rounds lengths by a sample from run to run.

    Utterances too short for one sample are left out.
    """
    espeak, rng = Espeak(), np.random.default_rng(recipe.seed)
    numbers = tqdm(range(recipe.utterances), desc="espeak", unit="utterance", disable=None, leave=False)
    rows = [labelled_mel(espeak.utterance(rng), rng) for _ in numbers]
    return [row for row in rows if len(row.mel) > rows_of(recipe.frames)]


def train_phones(
    encoder: AudioWindowEncoder,
    speech: list[LabelledMel],
    recipe: PhonesRecipe,
    folder: Path,
    *,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> AudioWindowEncoder:
    """Train ``encoder``, resuming from ``folder``; returns it with the averaged weights."""
    torch.manual_seed(recipe.seed)
    network = runtime.place(PhoneClassifier(encoder))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.03)

    def advance(step: int) -> Values:
        windows, classes = phone_batch(speech, recipe, step, runtime)
        with runtime.autocast():
            logits = network(windows)
        loss = F.cross_entropy(logits.float().flatten(0, 2), classes.flatten(), ignore_index=UNKNOWN)
        loss = runtime.share((classes != UNKNOWN).sum().float()) * loss
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=WARMUP)
        descend(optimiser, loss, rate, runtime=runtime)
        accuracy = (logits.argmax(-1) == classes).float().mean()
        return {"loss": loss.detach(), "accuracy": accuracy}

    pace = Pace(recipe.steps, deadline=deadline)
    return run_stage(
        folder, {"network": network}, {"network": optimiser}, advance, pace, result=network, runtime=runtime
    ).encoder


def phone_batch(speech: list[LabelledMel], recipe: PhonesRecipe, step: int, runtime: Runtime = ALONE) -> PhoneBatch:
    """The runtime's share of a step's batch. A function of its arguments."""

    def make(seed: int, size: int) -> PhoneBatch:
        rng = np.random.default_rng(seed)
        chosen = [speech[index] for index in rng.integers(0, len(speech), size)]
        columns = zip(*(_stretch(row, recipe.frames, rng) for row in chosen), strict=True)
        return PhoneBatch(*(torch.from_numpy(np.stack(column)) for column in columns))

    return runtime.draw(make, seed=step_seed(recipe.seed, step), size=recipe.batch)


def _stretch(row: LabelledMel, frames: int, rng: np.random.Generator) -> tuple[Float32, npt.NDArray[np.int64]]:
    count = rows_of(frames)
    start = int(rng.integers(0, len(row.mel) - count + 1))
    mel = augment_mel(row.mel[start : start + count], rng)
    own = start + ROWS_BEFORE + ROWS_PER_FRAME * np.arange(frames)
    around = np.clip(own[:, None] + np.array(OFFSETS), 0, len(row.classes) - 1)
    return every_window(mel), row.classes[around]
