"""The contrastive loss over offsets: what it counts, and what it leaves out."""

from __future__ import annotations

import math

import pytest
import torch

from lipsync_cli.training.common.contrastive_loss import contrastive_loss, offset_logits


def test_contrastive_loss_of_certainty_is_zero_and_of_ignorance_the_log_of_the_choices() -> None:
    assert float(contrastive_loss(100 * torch.eye(8)[None])) == pytest.approx(0, abs=1e-6)
    assert float(contrastive_loss(torch.zeros(3, 8, 8))) == pytest.approx(math.log(8))


def test_contrastive_loss_is_of_both_directions() -> None:
    logits = torch.zeros(1, 2, 2)
    logits[0, 0, 1] = 5.0
    transposed = logits.transpose(1, 2)
    assert float(contrastive_loss(logits)) == pytest.approx(float(contrastive_loss(transposed)))
    assert contrastive_loss(logits) > contrastive_loss(torch.zeros(1, 2, 2))


def test_offset_logits_leave_neighbours_within_the_tolerance_out() -> None:
    logits = offset_logits(torch.ones(1, 6, 6), torch.tensor(2.0), tolerance=3)
    apart = (torch.arange(6)[:, None] - torch.arange(6)[None]).abs()
    assert torch.equal(logits[0] == 2.0, (apart == 0) | (apart >= 3))
    assert torch.isinf(logits[0][(apart > 0) & (apart < 3)]).all()
