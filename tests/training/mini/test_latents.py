"""Mouth states of prepared clips and batches of windows of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.training.dataset.audio_augment import (
    AudioVariant,
)
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.mini.autoencoder import Autoencoder
from lipsync_cli.training.mini.latents import (
    LatentClip,
    audio_windows,
    batch_at,
    clip_pool,
    clip_pools,
    encode_clips,
    flow_batches,
)
from tests.helpers.small_stages import states
from tests.helpers.weights import assert_same, weights_of


def test_encode_clips_gives_the_same_states_whatever_mode_the_encoder_was_in(prepared: Path) -> None:
    encoder = Autoencoder().encoder
    encoder.scale.running_mean += 0.3
    clips, before = load_clips(prepared, "train"), weights_of(encoder)
    expected = encode_clips(encoder.eval(), clips)[0].z
    assert torch.equal(encode_clips(encoder.train(), clips)[0].z, expected)
    assert_same(before, weights_of(encoder))


def test_encode_clips_mirrored_adds_other_states_of_the_same_sound(prepared: Path) -> None:
    encoder = Autoencoder().encoder.eval()
    clips = load_clips(prepared, "train")
    states = encode_clips(encoder, clips, mirrored=True)
    assert len(states) == 2 * len(clips)
    plain, mirrored = states[0], states[len(clips)]
    pixels = torch.from_numpy(np.array(clips[0].crops[:4])).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(mirrored.z[:4], encoder(pixels.flip(-1)).detach())
    assert not torch.equal(plain.z, mirrored.z)
    assert np.array_equal(plain.mel, mirrored.mel)


def test_audio_windows_are_centred_on_their_frames(prepared: Path) -> None:
    clip = load_clips(prepared, "train")[0]
    windows = audio_windows(clip.mel, 3, 5)
    assert windows.shape == (5, 32, 80)
    for i in range(5):
        assert np.array_equal(windows[i, 16].numpy(), clip.mel[MEL_MARGIN + 4 * (3 + i)])


def test_flow_batches_take_references_of_the_same_speaker(prepared: Path) -> None:
    states = encode_clips(Autoencoder().encoder.eval(), load_clips(prepared, "train"))
    batch = next(flow_batches(clip_pool(states, 8), size=6, references=3, seed=0))
    assert (
        batch.z.shape == (6, 8, 24) and batch.audio.shape == (6, 8, 32, 80) and batch.references.shape == (6, 3, 24)
    )
    by_speaker = {s: torch.cat([c.z for c in states if c.speaker == s]) for s in ("a", "b")}
    for z, reference in zip(batch.z, batch.references, strict=True):
        owners = [s for s, all_z in by_speaker.items() if (all_z == z[0]).all(1).any()]
        assert all((by_speaker[owners[0]] == r).all(1).any() for r in reference)


def test_batch_at_takes_window_lengths_in_turn() -> None:
    pools = clip_pools(states(), (12, 16))
    lengths = [batch_at(pools, 0, step, size=2, references=1).z.shape[1] for step in range(4)]
    assert lengths == [12, 16, 12, 16]


def test_batch_at_draws_variants_with_the_states_that_belong_to_them() -> None:
    """Mel rows and states that both say which moment of the clip they are of."""
    frames, tempo = 60, 1.2
    z = torch.arange(frames, dtype=torch.float32)[:, None].repeat(1, 2)
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(0, 1, (frames, 68, 2)).astype(np.float32)

    def rows(count: int, speed: float) -> np.ndarray:
        moments = speed * (np.arange(2 * MEL_MARGIN + 4 * count) - MEL_MARGIN) / 4
        return np.repeat(moments[:, None], 80, 1).astype(np.float32)

    clip = LatentClip(z, rows(frames, 1.0), landmarks, "a", (AudioVariant(rows(50, tempo), tempo),))
    batch = batch_at(clip_pools([clip], [20]), 0, 0, size=12, references=1)
    speeds = (batch.z[:, 1, 0] - batch.z[:, 0, 0]).numpy()
    assert {round(float(s), 2) for s in speeds} == {1.0, 1.2}, "both are drawn"
    # augment_mel changes level and tilt, not the slope over time at a band's middle, where noise is away.
    for k, speed in enumerate(speeds):
        heard = batch.audio[k, :, 16, 40].numpy()
        assert np.polyfit(np.arange(20), heard, 1)[0] == pytest.approx(speed, abs=0.05)
