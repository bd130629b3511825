"""Audio augmentation: variants stay aligned, every change is made when asked for, and seeds decide all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.training.dataset import audio_effects as effects
from lipsync_cli.training.dataset.audio_augment import (
    AudioAugmentRecipe,
    at_tempo,
    audio_variants,
    augment_audio,
    warp_vocal_tract,
)
from lipsync_cli.training.dataset.format import CLIP_MARGIN, MEL_MARGIN, SAMPLES_PER_FRAME, mel_rows
from lipsync_cli.training.mini.latents import states_at
from tests.helpers.sounds import RATE, tone

OFF = dict.fromkeys(("pitch", "tempo", "room", "equaliser", "noise", "codec"), 0.0)


@pytest.mark.parametrize("tempo", [0.9, 1.17])
def test_at_tempo_frame_i_is_what_was_at_i_times_tempo(tempo: float) -> None:
    frames, at = 50, 30
    samples = np.zeros(2 * CLIP_MARGIN + frames * SAMPLES_PER_FRAME, np.float32)
    place = CLIP_MARGIN + at * SAMPLES_PER_FRAME
    samples[place - 200 : place + 200] = tone(1000, 400 / RATE)
    fast = at_tempo(samples, tempo)
    count = (len(fast) - 2 * CLIP_MARGIN) // SAMPLES_PER_FRAME
    assert (len(fast) - 2 * CLIP_MARGIN) % SAMPLES_PER_FRAME == 0 and count == int(frames / tempo)
    row = int(mel_rows(fast, count).mean(1).argmax())
    assert (row - MEL_MARGIN) / 4 == pytest.approx(at / tempo, abs=0.5)
    z = torch.arange(frames, dtype=torch.float32)[:, None]
    told = states_at(z, tempo, 3, 20)[:, 0]
    torch.testing.assert_close(told, tempo * torch.arange(3.0, 23.0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("only", list(OFF))
def test_augment_audio_makes_each_change_alone_and_none(only: str, speech: np.ndarray) -> None:
    alone = AudioAugmentRecipe(**(OFF | {only: 1.0}))
    changed, tempo = augment_audio(speech, alone, np.random.default_rng(1), others=[speech])
    assert (tempo != 1) == (only == "tempo")
    assert len(changed) != len(speech) or effects.level(changed - speech) > 0.01 * effects.level(speech)
    untouched, _ = augment_audio(speech, AudioAugmentRecipe(**OFF), np.random.default_rng(1), others=[speech])
    assert np.array_equal(untouched, speech)


def test_audio_variants_are_a_function_of_the_seed(speech: np.ndarray) -> None:
    recipe = AudioAugmentRecipe(variants=2, seed=3)
    one, two = audio_variants([speech], recipe)[0], audio_variants([speech], recipe)[0]
    assert [v.tempo for v in one] == [v.tempo for v in two]
    assert all(np.array_equal(a.mel, b.mel) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].mel, one[1].mel)
    other = audio_variants([speech], AudioAugmentRecipe(variants=2, seed=4))[0]
    assert not np.array_equal(one[0].mel[:100], other[0].mel[:100])


def test_warp_vocal_tract_of_a_longer_one_lowers_resonances():
    rows = np.zeros((3, 80), np.float32)
    rows[:, 40] = 1
    np.testing.assert_array_equal(warp_vocal_tract(rows, 1.0), rows)
    assert np.argmax(warp_vocal_tract(rows, 1.14)[0]) > 40 > np.argmax(warp_vocal_tract(rows, 0.88)[0])
