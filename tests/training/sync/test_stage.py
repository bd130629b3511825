"""The sync expert's loss and stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.nn.sync.sync_mini import SyncMini
from lipsync_cli.training.dataset.loader import load_clips
from lipsync_cli.training.sync.data import cut_mouths
from lipsync_cli.training.sync.stage import SyncRecipe, sync_losses, train_expert
from tests.helpers.small_stages import SMALL_SYNC

TINY = SyncRecipe(steps=4, clips=3, frames=20, save_every=2, warmup=1)


@pytest.fixture(scope="module")
def expert() -> SyncMini:
    torch.manual_seed(0)
    return SyncMini(SMALL_SYNC).eval()


def test_sync_losses_of_perfect_and_of_ignorant_embeddings() -> None:
    perfect = torch.eye(12)[None].repeat(2, 1, 1)
    clip = torch.tensor([0, 0])
    losses = sync_losses(perfect, perfect, clip, torch.tensor(50.0), tolerance=2)
    assert losses.matching < 1e-3 and losses.choice < 1e-3 and losses.hit == 1
    # One direction for everything: every cosine is c, so −(log c + log(1 − c)) / 2 and a uniform choice.
    half = torch.zeros(2, 12, 2)
    half[..., 0] = 1
    other = torch.full((2, 12, 2), 0.5)
    other[..., 1] = 0.75**0.5
    ignorant = sync_losses(half, other, torch.tensor([0, 1]), torch.tensor(10.0), tolerance=2)
    assert float(ignorant.matching) == pytest.approx(np.log(2), abs=1e-4)
    # Ends lose one neighbour to the tolerance, the rest two.
    assert float(ignorant.choice) == pytest.approx((2 * np.log(11) + 10 * np.log(10)) / 12, abs=1e-4)


def test_sync_losses_leave_neighbours_out() -> None:
    rows = torch.rand(1, 10, 6)
    base = sync_losses(rows, rows, torch.tensor([0]), torch.tensor(5.0), tolerance=10).matching
    assert torch.isfinite(base)


def test_train_expert_resumes_to_the_bit(prepared: Path, tmp_path: Path) -> None:
    clips = cut_mouths(load_clips(prepared, "train"))

    def stop(expert: SyncMini, step: int) -> None:
        raise KeyboardInterrupt

    whole = train_expert(clips, TINY, tmp_path / "whole", config=SMALL_SYNC).state_dict()
    with pytest.raises(KeyboardInterrupt):
        train_expert(clips, TINY, tmp_path / "parts", config=SMALL_SYNC, on_save=stop)
    torch.rand(7)
    parts = train_expert(clips, TINY, tmp_path / "parts", config=SMALL_SYNC).state_dict()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[0])["step"] == 0
