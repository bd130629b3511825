"""The mask: the published share, bounds and cell counts."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.engines.mouth_mask import generated_latents, kept, kept_pixels, release_blend


def test_the_mask_itself():
    made = np.argwhere(kept() == 0)
    assert (kept() == 0).mean() == pytest.approx(0.407, abs=5e-4)
    assert (made.min(0).tolist(), made.max(0).tolist()) == ([95, 9], [242, 247])
    assert kept()[100, 78:178].all() and not kept()[100, 20:70].any()
    assert (kept()[::8, ::8] == 0).sum() == 422


def test_on_latents_1680_cells_are_made_anew():
    cells = generated_latents(64)
    rows, columns = np.nonzero(cells)
    assert int(cells.sum()) == 1680
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 60, 2, 61)


def test_on_pixels_it_is_binary_and_the_release_blends_with_a_ringing_edge():
    assert set(np.unique(kept_pixels(512))) == {0, 1}
    assert kept_pixels(512).mean() == pytest.approx(1 - 0.407, abs=2e-3)
    soft = release_blend(512)
    assert ((soft > 0) & (soft < 1)).mean() == pytest.approx(0.035, abs=0.015)
