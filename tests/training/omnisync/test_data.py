"""Encoded clips and batches of pairs of windows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.omnisync.speech_features import by_latent_frame, frame_features
from lipsync_cli.engines.protocol import CropChunk, MelSpan
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.omnisync.data import (
    clip_features,
    edit_batch,
    encode_clips,
    latent_frames,
    pair_clip,
)
from lipsync_cli.training.omnisync.pairing import ConditionDropout, PairingRule, PairSampler, SigmaDensity
from tests.helpers.omnisync_clips import CONFIG, FRAMES, encoded


def test_encode_clips_once_with_the_features_of_a_dub(prepared: Path, tmp_path: Path) -> None:
    clips, made = encoded(prepared, tmp_path)
    assert [latent_frames(clip, CONFIG) for clip in clips] == [len(one.latents) for one in made] == [FRAMES] * 3
    assert made[0].latents.shape[1:] == (192, 4, 4) and not list(tmp_path.glob("*.part*"))

    def never():
        raise AssertionError

    encode_clips(clips, CONFIG, tmp_path, files="", load=never)
    with pytest.raises(AssertionError):
        encode_clips(clips, CONFIG, tmp_path, files="other encoders", load=never)
    with pytest.raises(UsageError, match="latentsync"):
        encode_clips(clips, CONFIG.model_copy(update={"template": "latentsync"}), tmp_path, files="", load=never)
    span = CropChunk((), (), MelSpan(clips[0].mel, -MEL_MARGIN), np.zeros(0, np.float32))
    first, count = CONFIG.first_heard(0), CONFIG.heard_frames(FRAMES)
    dubbed = by_latent_frame(CONFIG, frame_features(CONFIG, None, span, Fraction(0), first, count))
    assert torch.equal(clip_features(clips[0], CONFIG, None), dubbed)


def test_pair_clip_averages_landmarks_over_each_latent_frame(prepared: Path) -> None:
    clip = load_clips(prepared, "train")[0]
    four = CONFIG.model_copy(update={"codec": "wan"})
    grouped = pair_clip(clip, four)
    assert len(grouped) == latent_frames(clip, four) == 8
    single = pair_clip(clip, CONFIG)
    np.testing.assert_allclose(grouped.rigid[1], single.rigid[1:5].mean(0), atol=1e-3)


def test_edit_batch_is_of_pairs_with_the_sound_of_the_target(prepared: Path, tmp_path: Path) -> None:
    _, clips = encoded(prepared, tmp_path)
    density = SigmaDensity(shift=5.0)
    pairs = PairSampler([clip.pair for clip in clips], 5, PairingRule(), density)

    def batch(seed: int):
        return edit_batch(
            clips, pairs, density, ConditionDropout(audio=0.5, text=0.5, both=0.3), 5, seed=seed, size=24
        )

    one = batch(1)
    for a, b in zip(one, batch(1), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.target, batch(2).target)
    assert one.target.shape == one.source.shape == (24, 5, 192, 4, 4) and one.audio.shape == (24, 5, 6, 160)
    assert (one.target - one.source).abs().flatten(1).amax(1).min() > 1e-2, "a condition is its own target"
    high = one.sigma > 0.85
    assert torch.equal(one.aligned | one.missed, high) and one.aligned.any() and (~high).any()
    for target, audio in zip(one.target, one.audio, strict=True):
        found = [
            (i, at) for i, clip in enumerate(clips) for at in range(FRAMES - 4)
            if np.array_equal(clip.latents[at : at + 5].astype(np.float32), target.numpy())
        ]  # fmt: skip
        ((i, at),) = found
        assert np.array_equal(clips[i].audio[at : at + 5].astype(np.float32), audio.numpy())
    assert 0 < one.with_audio.float().mean() < 1 and 0 < one.with_text.float().mean() < 1
