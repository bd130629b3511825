"""Where training computes: batches in parts, half precision."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.core.errors import UsageError
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.warping import Fields, RegionWindow, warp
from lipsync_cli.training.common.noise import part_seed
from lipsync_cli.training.common.runtime import Runtime
from tests.helpers.small_stages import STAGES, flow, fresh


def test_draw_gives_equal_shares_that_cover_the_batch():
    def make(seed: int, size: int) -> tuple[torch.Tensor]:
        return (torch.full((size,), float(seed % 1000)),)

    whole = Runtime(parts=4).draw(make, seed=5, size=8)[0]
    shares = [Runtime(rank=rank, processes=2, parts=4).draw(make, seed=5, size=8)[0] for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)
    assert whole.tolist() == [float(part_seed(5, part) % 1000) for part in range(4) for _ in range(2)]
    with pytest.raises(UsageError, match=r"teacher.batch = 6 .* among 4 processes"):
        Runtime(parts=4).check_batch(6, "teacher.batch")


@pytest.mark.parametrize(
    ("name", "start"), [("adversarial", lambda: fresh().renderer), ("student", lambda: flow(CausalFlow))]
)
def test_autocast_in_half_precision_learns_nearly_the_same_and_keeps_full_weights(name, start, prepared, tmp_path):
    full = STAGES[name](prepared, tmp_path / "full", Runtime())
    half = STAGES[name](prepared, tmp_path / "half", Runtime(dtype=torch.bfloat16))
    assert all(value.dtype == full[key].dtype for key, value in half.items())
    before = start().state_dict()
    steps = [torch.cat([(after[key] - before[key]).flatten() for key in before]) for after in (full, half)]
    assert not torch.equal(*steps)
    assert float(torch.cosine_similarity(*steps, dim=0)) > 0.8


def test_autocast_takes_pixels_from_the_same_place():
    """A ramp shows where a pixel came from; fields of no displacement must bring every pixel back to its place."""
    window = RegionWindow.of(128)
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 3, 128, 128).contiguous()
    height, width = (length // 4 for length in window.shape)
    fields = Fields(torch.zeros(1, 1, 2, height, width).bfloat16(), torch.zeros(1, 1, height, width).bfloat16())
    taken = warp(fields, ramp, window)
    assert taken.dtype == torch.float32
    assert float((taken - window.fine(ramp[:, 0])).abs().max()) < 0.1 / 128
    assert warp(fields, ramp.bfloat16(), window).dtype == torch.bfloat16
