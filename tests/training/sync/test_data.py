"""Stretches of mouths with their sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.sync.data import augment_mouths, cut_mouths, plain_mouths, sync_batches


def test_sync_batches_are_a_function_of_their_seed_and_stay_inside_the_clip(prepared: Path) -> None:
    clips = cut_mouths(load_clips(prepared, "train"))
    one, two = (next(sync_batches(clips, size=3, frames=20, seed=7)) for _ in range(2))
    assert torch.equal(one.mouths, two.mouths) and torch.equal(one.mel, two.mel)
    assert one.mouths.shape == (3, 20, 48, 80) and one.mel.shape == (3, 80, 80)
    assert sorted(one.clip.tolist()) == [0, 1, 2]
    assert not torch.equal(next(sync_batches(clips, size=3, frames=20, seed=8)).mel, one.mel)


def test_augment_mouths_without_changes_is_what_the_margin_surrounds() -> None:
    mouths = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    assert torch.equal(plain_mouths(mouths), torch.from_numpy(mouths[:, 8:-8, 8:-8]).float() / 255)

    class Calm(np.random.Generator):
        """Draws the middle of everything."""

        def normal(self, loc=0.0, scale=1.0, size=None):
            return loc if size is None else np.full(size, loc)

        def random(self, *args):
            return 0.99

        def uniform(self, low=0.0, high=1.0, size=None):
            return {0.65: 1.0, 0.7: 1.0, 0: 0.0}[low]

    calm = augment_mouths(torch.from_numpy(mouths).float() / 255, Calm(np.random.PCG64(0)))
    torch.testing.assert_close(calm, plain_mouths(mouths).clamp(1e-3, 1), atol=2e-4, rtol=0)
