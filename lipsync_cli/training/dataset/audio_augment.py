"""Audio augmentation: K variants of every clip's sound, made once, and cheap changes of mel rows made at every step.

Made per step, variants for a batch of 16 windows would take 0.8 s of a core, more than the networks do; K variants of
every clip take about 20 ms for each second of it, once, and hold about 20 kB for it. Tempo is one of the changes, so
a variant has a factor by which it is faster, and a window of it goes with the states at the moments that belong to
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.audio.mel import LOG_MEAN, LOG_SPREAD, band_edges
from lipsync_cli.core.types import Float32
from lipsync_cli.training.common.recipes import CountOrNone, Recipe, Seed, Share
from lipsync_cli.training.dataset import audio_effects as effects
from lipsync_cli.training.dataset.format import CLIP_MARGIN, MEL_MARGIN, SAMPLES_PER_FRAME, mel_rows

VOCAL_TRACT_FACTORS = (0.88, 1.14)
"""Resonances of long and of short vocal tracts against those of a middling one."""


class AudioAugmentRecipe(Recipe):
    """``variants`` of each clip, 0 for none, and the probability of each change of one.

    Of noises, one in three is white to brown, one babble of other clips and one music-like tones.
    """

    variants: CountOrNone = 4
    pitch: Share = 0.4
    tempo: Share = 0.4
    room: Share = 0.4
    equaliser: Share = 0.4
    noise: Share = 0.6
    codec: Share = 0.25
    seed: Seed = 0


@dataclass(frozen=True, slots=True)
class AudioVariant:
    """Mel rows ``[2·64 + 4·n 80]`` of a variant, laid out as a clip's own, and how many times as fast it speaks."""

    mel: Float32 | npt.NDArray[np.float16]
    tempo: float = 1.0

    @property
    def frames(self) -> int:
        """Whole frames between the margins."""
        return (len(self.mel) - 2 * MEL_MARGIN) // 4


def audio_variants(sounds: Sequence[Float32], recipe: AudioAugmentRecipe) -> list[tuple[AudioVariant, ...]]:
    """Variants of every clip's ``sound`` (see ``ClipData``); a function of its arguments."""
    return [tuple(_variant(sounds, i, k, recipe) for k in range(recipe.variants)) for i in range(len(sounds))]


def _variant(sounds: Sequence[Float32], index: int, number: int, recipe: AudioAugmentRecipe) -> AudioVariant:
    rng = np.random.default_rng((recipe.seed, index, number))
    changed, tempo = augment_audio(sounds[index], recipe, rng, others=sounds)
    frames = (len(changed) - 2 * CLIP_MARGIN) // SAMPLES_PER_FRAME
    # Half precision is finer than the noise in them.
    return AudioVariant(mel_rows(changed, frames).astype(np.float16), tempo)


def augment_audio(
    samples: Float32, recipe: AudioAugmentRecipe, rng: np.random.Generator, *, others: Sequence[Float32]
) -> tuple[Float32, float]:
    """A clip's sound with its margins, randomly changed, and the factor of its tempo.

    First the voice (pitch, tempo), then the room and its noise, then the recording (equaliser, codec). The margins
    keep their length, so that second 0 stays where it was.
    """
    out, tempo = samples, 1.0
    if rng.random() < recipe.pitch:
        out = effects.pitch_shift(out, float(2 ** rng.uniform(-0.3, 0.3)))
    if rng.random() < recipe.tempo:
        tempo = float(rng.uniform(0.85, 1.18))
        out = at_tempo(out, tempo)
    if rng.random() < recipe.room:
        out = effects.reverberate(out, effects.room_response(rng.uniform(0.15, 0.8), rng.uniform(0, 15), rng))
    if rng.random() < recipe.noise:
        out = effects.mix(out, _noise(len(out), rng, others), rng.uniform(0, 25))
    if rng.random() < recipe.equaliser:
        out = effects.equalise(out, rng.normal(0, 5, 7))
    if rng.random() < recipe.codec:
        out = effects.telephone_codec(out, rng.uniform(50, 300), rng.uniform(3000, 7000))
    return out, tempo


def at_tempo(samples: Float32, tempo: float) -> Float32:
    """A clip's sound ``tempo`` times as fast, with margins of the old length: frame i is what was at i · tempo."""
    fast = effects.time_stretch(samples, tempo)
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
        return effects.coloured_noise(count, float(rng.uniform(0, 2)), rng)
    if kind == 1:
        picked = rng.integers(len(others), size=int(rng.integers(2, 6)))
        return effects.babble(count, [others[i] for i in picked], rng)
    return effects.tones(count, rng)


def augment_mel(mel: Float32, rng: np.random.Generator) -> Float32:
    """Log-mel rows ``[n 80]`` with another vocal tract length, loudness and spectral tilt.

    Half of the time also with a stationary noise floor.
    """
    bands = np.linspace(-1, 1, mel.shape[1])
    log = warp_vocal_tract(mel, rng.uniform(*VOCAL_TRACT_FACTORS)) * LOG_SPREAD + LOG_MEAN
    log = log + rng.normal(0, 1.0) + rng.normal(0, 0.5) * bands
    if rng.random() < 0.5:
        floor = rng.uniform(-11, -5) + rng.normal(0, 1.0) * bands + rng.normal(0, 0.7, mel.shape)
        log = np.logaddexp(log, floor)
    return np.asarray((log - LOG_MEAN) / LOG_SPREAD, np.float32)


def warp_vocal_tract(mel: Float32, factor: float) -> Float32:
    """Rows ``[n 80]`` whose resonances lie ``factor`` times as high: vocal tract length perturbation (Jaitly and
    Hinton 2013) on the mel bands themselves. 1 changes nothing."""
    frequencies = band_edges()[1:-1]
    position = np.interp(frequencies / factor, frequencies, np.arange(len(frequencies)))
    low = np.minimum(position.astype(int), len(frequencies) - 2)
    share = (position - low).astype(np.float32)
    return np.asarray(mel[:, low] * (1 - share) + mel[:, low + 1] * share, np.float32)
