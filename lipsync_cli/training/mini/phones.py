"""Stage: the audio encoder alone, telling phones of synthetic speech apart.

Minutes of talking faces are few voices; thousands of nonsense utterances by a hundred synthetic ones, resampled,
reverberated and under noise, teach the encoder what is said however it sounds. The flow networks start from it.
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

from lipsync_cli.audio.mel import HOP, SAMPLE_RATE, WINDOW, log_mel
from lipsync_cli.core.types import Float32
from lipsync_cli.engines.mini.nn.flow_backbone import ROWS_BEFORE, AudioWindowEncoder
from lipsync_cli.training.common.loop import Pace, Stage, Values, descend, learning_rate, with_weights
from lipsync_cli.training.common.runtime import ALONE, Runtime
from lipsync_cli.training.dataset.audio_effects import reverberated, room
from lipsync_cli.training.mini.espeak import CLASSES, UNKNOWN, Espeak, Utterance
from lipsync_cli.training.mini.latents import ROWS_PER_FRAME, disturb_mel, every_window, rows_of

OFFSETS = (-8, -4, 0, 4, 8)
"""Rows of 10 ms around a window's own at which it has to name the phone."""


@dataclass(frozen=True, slots=True)
class PhonesRecipe:
    """``utterances`` are synthesised once; a step sees ``batch`` stretches of ``frames`` windows."""

    utterances: int = 3000
    steps: int = 2500
    batch: int = 16
    frames: int = 24
    learning_rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SpokenRows:
    """Log-mel rows ``[n 80]`` and the phone class ``[n]`` at each row's centre."""

    mel: Float32
    classes: npt.NDArray[np.int64]


class PhoneBatch(NamedTuple):
    """Windows ``[b n 32 80]`` and classes ``[b n offsets]``."""

    windows: Tensor
    classes: Tensor


class PhoneHead(nn.Module):
    """An audio encoder with a linear reading of the phones around each window."""

    def __init__(self, encoder: AudioWindowEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.read = nn.Linear(encoder.out.out_features, len(OFFSETS) * len(CLASSES))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits ``[b n offsets classes]`` of windows ``[b n 32 80]``."""
        out: Tensor = self.read(F.silu(self.encoder(windows))).unflatten(-1, (len(OFFSETS), len(CLASSES)))
        return out


def spoken_rows(utterance: Utterance, rng: np.random.Generator) -> SpokenRows:
    """Rows of an utterance played faster or slower by up to a quarter, with it its pitch, often in a room."""
    stretch = Fraction(int(rng.integers(80, 126)), 100)
    samples = np.asarray(resample_poly(utterance.samples, stretch.numerator, stretch.denominator), np.float32)
    if rng.random() < 0.4:
        samples = reverberated(samples, room(rng.uniform(0.1, 0.6), rng.uniform(0, 12), rng))
    mel = log_mel(np.asarray(samples * rng.uniform(0.3, 2.0), np.float32))
    centres = np.arange(len(mel)) * HOP / SAMPLE_RATE + WINDOW / 2 / SAMPLE_RATE
    current = np.searchsorted(np.array(utterance.starts) * float(stretch), centres, side="right") - 1
    classes = np.array([0, *utterance.classes], np.int64)[current + 1]
    return SpokenRows(mel, classes)


def synthesise(recipe: PhonesRecipe) -> list[SpokenRows]:
    """The stage's data: the recipe's words and voices, though eSpeak rounds lengths by a sample from run to run.

    Utterances too short for one sample are left out.
    """
    espeak, rng = Espeak(), np.random.default_rng(recipe.seed)
    numbers = tqdm(range(recipe.utterances), desc="espeak", unit="utterance", disable=None, leave=False)
    rows = [spoken_rows(espeak.utterance(rng), rng) for _ in numbers]
    return [row for row in rows if len(row.mel) > rows_of(recipe.frames)]


def train_phones(
    encoder: AudioWindowEncoder,
    spoken: list[SpokenRows],
    recipe: PhonesRecipe,
    folder: Path,
    *,
    deadline: float | None = None,
    runtime: Runtime = ALONE,
) -> AudioWindowEncoder:
    """Train ``encoder``, resuming from ``folder``; returns it with the averaged weights."""
    torch.manual_seed(recipe.seed)
    network = runtime.place(PhoneHead(encoder))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.03)
    stage = Stage(folder, {"network": network}, {"network": optimiser}, averaged="network", runtime=runtime)

    def advance(step: int) -> Values:
        windows, classes = phone_batch(spoken, recipe, step, runtime)
        with runtime.autocast():
            logits = network(windows)
        loss = F.cross_entropy(logits.float().flatten(0, 2), classes.flatten(), ignore_index=UNKNOWN)
        loss = runtime.share((classes != UNKNOWN).sum().float()) * loss
        rate = learning_rate(step, recipe.steps, peak=recipe.learning_rate, warmup=100)
        descend(optimiser, loss, rate, runtime=runtime)
        right = (logits.argmax(-1) == classes).float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    average = stage.run(advance, Pace(recipe.steps, deadline=deadline))
    return with_weights(network, average).encoder


def phone_batch(spoken: list[SpokenRows], recipe: PhonesRecipe, step: int, runtime: Runtime = ALONE) -> PhoneBatch:
    """The runtime's share of a step's batch. A function of its arguments."""

    def make(seed: int, size: int) -> PhoneBatch:
        rng = np.random.default_rng(seed)
        chosen = [spoken[index] for index in rng.integers(0, len(spoken), size)]
        columns = zip(*(_stretch(row, recipe.frames, rng) for row in chosen), strict=True)
        return PhoneBatch(*(torch.from_numpy(np.stack(column)) for column in columns))

    return runtime.draw(make, seed=recipe.seed * 1_000_003 + step, size=recipe.batch)


def _stretch(row: SpokenRows, frames: int, rng: np.random.Generator) -> tuple[Float32, npt.NDArray[np.int64]]:
    count = rows_of(frames)
    start = int(rng.integers(0, len(row.mel) - count + 1))
    heard = disturb_mel(row.mel[start : start + count], rng)
    own = start + ROWS_BEFORE + ROWS_PER_FRAME * np.arange(frames)
    around = np.clip(own[:, None] + np.array(OFFSETS), 0, len(row.classes) - 1)
    return every_window(heard), row.classes[around]
