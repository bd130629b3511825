"""Every clip as it could also sound: K variants of its mel rows, made once, from which training draws.

Made per step, a batch of 16 windows would take 0.8 s of a core, more than the networks do; K variants of every clip
take about 20 ms for each second of it, once, and hold about 20 kB for it. Tempo is one of the changes, so a variant
says how much faster it speaks, and whoever draws a window of it takes the states at the moments that belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from lipsync_cli.core.types import Float32
from lipsync_cli.training.dataset import audio_effects as sound
from lipsync_cli.training.dataset.format import CLIP_MARGIN, MEL_MARGIN, SAMPLES_PER_FRAME, mel_rows


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HearingRecipe:
    """``variants`` of each clip, 0 for none, and how often each change is made to one.

    Of noises, one in three is white to brown, one babble of other clips and one music-like tones.
    """

    variants: int = 4
    pitch: float = 0.4
    tempo: float = 0.4
    room: float = 0.4
    equaliser: float = 0.4
    noise: float = 0.6
    codec: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """Mel rows of a variant, laid out as a clip's own, and how many times as fast as the clip it speaks."""

    mel: Float32 | npt.NDArray[np.float16]
    tempo: float = 1.0

    @property
    def frames(self) -> int:
        """Whole frames between the margins."""
        return (len(self.mel) - 2 * MEL_MARGIN) // 4


def hear(sounds: Sequence[Float32], recipe: HearingRecipe) -> list[tuple[Heard, ...]]:
    """Variants of every clip's ``sound`` (see ``ClipData``); a function of its arguments."""
    return [tuple(_variant(sounds, i, k, recipe) for k in range(recipe.variants)) for i in range(len(sounds))]


def _variant(sounds: Sequence[Float32], index: int, number: int, recipe: HearingRecipe) -> Heard:
    rng = np.random.default_rng((recipe.seed, index, number))
    changed, tempo = change(sounds[index], recipe, rng, others=sounds)
    frames = (len(changed) - 2 * CLIP_MARGIN) // SAMPLES_PER_FRAME
    # Half precision is finer than the noise in them.
    return Heard(mel_rows(changed, frames).astype(np.float16), tempo)


def change(
    samples: Float32, recipe: HearingRecipe, rng: np.random.Generator, *, others: Sequence[Float32]
) -> tuple[Float32, float]:
    """One random change of a clip's sound with its margins, and its tempo.

    First the voice, then the place it speaks in and what else is heard there, then what records it. The margins
    keep their length, so that second 0 stays where it was.
    """
    out, tempo = samples, 1.0
    if rng.random() < recipe.pitch:
        out = sound.repitched(out, float(2 ** rng.uniform(-0.3, 0.3)))
    if rng.random() < recipe.tempo:
        tempo = float(rng.uniform(0.85, 1.18))
        out = at_tempo(out, tempo)
    if rng.random() < recipe.room:
        out = sound.reverberated(out, sound.room(rng.uniform(0.15, 0.8), rng.uniform(0, 15), rng))
    if rng.random() < recipe.noise:
        out = sound.mixed(out, _noise(len(out), rng, others), rng.uniform(0, 25))
    if rng.random() < recipe.equaliser:
        out = sound.equalised(out, rng.normal(0, 5, 7))
    if rng.random() < recipe.codec:
        out = sound.telephoned(out, rng.uniform(50, 300), rng.uniform(3000, 7000))
    return out, tempo


def at_tempo(samples: Float32, tempo: float) -> Float32:
    """A clip's sound ``tempo`` times as fast, with margins of the old length: frame i is what was at i · tempo."""
    fast = sound.stretched(samples, tempo)
    # Second 0 has moved to margin / tempo; bring it back to the margin, and keep whole frames.
    before = round(CLIP_MARGIN / tempo)
    frames = int((len(samples) - 2 * CLIP_MARGIN) / tempo) // SAMPLES_PER_FRAME
    wanted = frames * SAMPLES_PER_FRAME + CLIP_MARGIN
    start = np.pad(fast[:before], (max(0, CLIP_MARGIN - before), 0))[-CLIP_MARGIN:]
    rest = fast[before : before + wanted]
    return np.concatenate([start, np.pad(rest, (0, wanted - len(rest)))]).astype(np.float32)


def _noise(count: int, rng: np.random.Generator, others: Sequence[Float32]) -> Float32:
    kind = rng.integers(3)
    if kind == 0:
        return sound.coloured_noise(count, float(rng.uniform(0, 2)), rng)
    if kind == 1:
        picked = rng.integers(len(others), size=int(rng.integers(2, 6)))
        return sound.babble(count, [others[i] for i in picked], rng)
    return sound.tones(count, rng)
