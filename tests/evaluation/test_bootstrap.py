"""Paired intervals."""

from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.evaluation.bootstrap import paired_bootstrap


def test_pairs_cancel_what_clips_have_in_common() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 40)
    found = paired_bootstrap(hard, hard + 0.3 + rng.normal(0, 0.2, 40))
    assert found.clear and 0.15 < found.low < found.difference < found.high < 0.5
    unpaired = paired_bootstrap(hard, rng.permutation(hard) + 0.3)
    assert not unpaired.clear


def test_the_interval_of_many_pairs_is_that_of_a_normal_mean() -> None:
    apart = np.random.default_rng(1).normal(0.5, 1, 400)
    found = paired_bootstrap(np.zeros(400), apart, resamples=3000)
    half = 1.96 * apart.std() / 20
    assert found.low == pytest.approx(apart.mean() - half, abs=0.02)
    assert found.high == pytest.approx(apart.mean() + half, abs=0.02)
    assert found == paired_bootstrap(np.zeros(400), apart, resamples=3000)


def test_pairs_are_needed() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_bootstrap([], [])
    with pytest.raises(ValueError, match="pairs"):
        paired_bootstrap([1.0], [1.0, 2.0])
