"""OmniSync's loss."""

from __future__ import annotations

from pathlib import Path

import torch

from lipsync_cli.training.common.noise import Noise
from lipsync_cli.training.omnisync.data import (
    edit_batch,
)
from lipsync_cli.training.omnisync.pairing import ConditionDropout, PairingRule, PairSampler, SigmaDensity
from lipsync_cli.training.omnisync.stage import edit_losses
from tests.helpers.omnisync_clips import encoded


def test_edit_losses_are_the_error_of_the_velocity_at_each_samples_time(prepared: Path, tmp_path: Path) -> None:
    _, clips = encoded(prepared, tmp_path)
    pairs = PairSampler([clip.pair for clip in clips], 5, PairingRule(), SigmaDensity())
    batch = edit_batch(clips, pairs, SigmaDensity(), ConditionDropout(), 5, seed=3, size=4)
    noise = Noise(7).normal(batch.target.shape)

    def exact(noisy, sigma, condition):
        expected = (1 - sigma.view(-1, 1, 1, 1, 1)) * batch.target + sigma.view(-1, 1, 1, 1, 1) * noise
        torch.testing.assert_close(noisy, expected)
        assert (
            condition.heard is batch.with_audio
            and condition.read is batch.with_text
            and condition.source is batch.source
        )
        return noise - batch.target

    assert edit_losses(exact, batch, None, Noise(7)).abs().max() < 1e-10
    off = edit_losses(lambda *args: exact(*args) + torch.arange(4).view(-1, 1, 1, 1, 1), batch, None, Noise(7))
    torch.testing.assert_close(off, torch.tensor([0.0, 1.0, 4.0, 9.0]))
