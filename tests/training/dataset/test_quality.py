"""Sharpness, damage and fingerprints of clips."""

from __future__ import annotations

import numpy as np

from lipsync_cli.training.dataset.quality import damage, differing_bits, picture_hash, sharpness, sound_hash
from tests.helpers.prepared_folder import soft_noise

RNG = np.random.default_rng(0)


def test_sharpness_is_that_at_the_sources_scale() -> None:
    import cv2

    sharp = RNG.integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)
    enlarged = np.stack([cv2.resize(p, (192, 192), interpolation=cv2.INTER_LINEAR) for p in sharp])
    blurred = np.stack([cv2.GaussianBlur(p, (0, 0), 2.5) for p in sharp])
    assert sharpness(enlarged, 0.5) > 20 * sharpness(blurred, 1.0)
    assert sharpness(enlarged, 0.5) > 4 * sharpness(enlarged, 1.0)


def test_damage_is_jumping_blocks_and_repeated_frames() -> None:
    still = np.repeat(soft_noise(1, 96, np.random.default_rng(0)), 20, 0)
    moving = np.stack([np.roll(frame, k % 2, 1) for k, frame in enumerate(still)])
    assert damage(moving).jump < 0.1 and damage(moving).frozen == 0
    assert damage(still).frozen == 1
    broken = moving.copy()
    broken[7, 40:] = 128
    assert damage(broken).jump > 0.2


def test_hashes_tell_a_copy_from_another_clip() -> None:
    rng = np.random.default_rng(0)
    crops, mel = soft_noise(9, 192, rng), rng.normal(0, 1, (120, 80)).astype(np.float32)
    picture, sound = picture_hash(crops), sound_hash(mel)
    noisy = (crops.astype(int) + rng.integers(-6, 7, crops.shape)).clip(0, 255).astype(np.uint8)
    copies = (
        differing_bits(picture, picture_hash(noisy)[None]),
        differing_bits(sound, sound_hash(mel * 0.9 + 0.2)[None]),
    )
    assert copies[0][0] < 0.05 and copies[1][0] < 0.05
    others = picture_hash(soft_noise(9, 192, rng)), sound_hash(rng.normal(0, 1, (120, 80)).astype(np.float32))
    assert differing_bits(picture, others[0][None])[0] > 0.3 and differing_bits(sound, others[1][None])[0] > 0.3
