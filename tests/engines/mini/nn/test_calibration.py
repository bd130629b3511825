"""What a misread face is corrected by, and what it is not."""

from __future__ import annotations

import pytest
import torch

from lipsync_cli.engines.mini.nn.calibration import USUAL, calibrate
from lipsync_cli.engines.mini.nn.landmark_flow import INNER_LOWER, INNER_UPPER


def reading(count: int = 7) -> torch.Tensor:
    return torch.rand(count, 29, 2, generator=torch.Generator().manual_seed(1))


def test_a_face_read_too_low_is_moved_up_by_nearly_all_of_it() -> None:
    read = reading()
    found = calibrate(read, read - torch.tensor([0.0, 10 * USUAL]), still=False)
    torch.testing.assert_close(found.references, torch.tensor([0.0, -10 * USUAL]).expand(29, 2) * (100 / 101))
    assert torch.equal(found.references, found.wanted)


def test_what_is_usual_is_hardly_corrected() -> None:
    read = reading()
    found = calibrate(read, read + torch.tensor([USUAL / 4, 0.0]), still=False)
    assert float(found.references[0, 0]) == pytest.approx(USUAL / 4 / 17, rel=1e-3)


def test_trembling_landmarks_cancel_out() -> None:
    read = reading(2)
    tremble = torch.randn(1, 29, 2) * 0.05
    found = calibrate(read, read + torch.cat([tremble, -tremble]), still=False)
    assert found.references.abs().max() < 1e-6


@pytest.mark.parametrize("still", [True, False])
def test_wanted_lips_keep_their_aperture_only_where_one_state_is_known(still: bool) -> None:
    """Lips that are 0.08 farther apart than they were read, on both sides of a mouth in its right place."""
    read = reading()
    seen = read.clone()
    seen[:, [7, 8, 9, 10, 11, 17, 18, 19], 1] += 0.08
    found = calibrate(read, seen, still=still)
    apart = found.wanted[INNER_LOWER] - found.wanted[INNER_UPPER]
    share = found.references[18, 1] / 0.08
    assert share > 0.7
    expected = torch.full((3,), 0.0 if still else 0.08 * float(share))
    torch.testing.assert_close(apart[:, 1], expected, atol=1e-6, rtol=0)
    assert float(found.wanted[18, 1]) == pytest.approx(float(share) * (0.04 if still else 0.08), rel=1e-4)
