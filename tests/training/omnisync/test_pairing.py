"""Pairs of windows: the density of σ, which windows are a pair, what is dropped; over clips with known poses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.core.errors import InputError
from lipsync_cli.core.landmarks68 import interocular_px
from lipsync_cli.training.omnisync.pairing import (
    RIGID,
    ConditionDropout,
    PairClip,
    PairingRule,
    PairSampler,
    SigmaDensity,
    pose_distances,
)
from tests.helpers.omnisync_clips import head

N = 6


def clip(speaker: str, yaw: float, openness: float, frames: int = 40) -> PairClip:
    """Somebody who keeps a pose and opens the mouth by ``openness`` box widths in every second window."""
    return PairClip.of(speaker, np.stack([head(yaw, openness * ((i // N) % 2)) for i in range(frames)]))


def drawn(pairs: PairSampler, sigma: float, count: int = 60):
    rng = np.random.default_rng(0)
    return [pairs.draw(sigma, rng) for _ in range(count)]


@pytest.mark.parametrize(("shift", "share"), [(1, 0.150), (3, 0.346), (5, 0.469)])
def test_pairing_rule_in_sigma_is_another_share_under_each_shift(shift, share):
    density = SigmaDensity(shift=shift)
    assert density.share_above(0.85) == pytest.approx(share, abs=1e-3)
    assert PairingRule(threshold=0.85).sigma(density) == 0.85
    kept = PairingRule(threshold=0.15, keep="share").sigma(density)
    assert density.share_above(kept) == pytest.approx(0.15)


@settings(max_examples=30)
@given(
    st.sampled_from(["uniform", "logit-normal"]), st.floats(0.2, 8), st.floats(-1, 1), st.floats(0.3, 2),
    st.floats(0.01, 0.99),
)  # fmt: skip
def test_sigma_density_quantiles_and_shares_are_inverse_and_rise(kind, shift, mean, spread, share):
    density = SigmaDensity(kind=kind, shift=shift, mean=mean, spread=spread)
    assert 1 - density.share_above(density.quantile(share)) == pytest.approx(share, abs=1e-6)
    assert all(a < b for a, b in pairwise(density.quantile(s) for s in np.linspace(0.01, 0.99, 9)))


@pytest.mark.parametrize(
    "density", [SigmaDensity(shift=3.0), SigmaDensity(kind="logit-normal", shift=1.5, mean=0.2, spread=0.8)]
)
def test_sigma_density_draws_follow_it(density):
    rng = np.random.default_rng(1)
    sigmas = np.array([density.draw(rng) for _ in range(4000)])
    assert ((sigmas > 0) & (sigmas < 1)).all()
    for share in (0.1, 0.5, 0.85):
        assert (sigmas < density.quantile(share)).mean() == pytest.approx(share, abs=0.03)


def test_pose_distances_depend_on_rigid_points_and_not_on_lips():
    """Distances by hand, in inter-ocular distances; the mouth has no part in them."""
    still, turned = clip("a", 0.0, 0.1, 20), clip("a", 0.2, 0.1, 20)
    assert pose_distances(still.rigid[:N], still.rigid).max() < 1e-5
    apart = np.linalg.norm(head(0, 0)[list(RIGID)] / interocular_px(head(0, 0))
                           - head(0.2, 0)[list(RIGID)] / interocular_px(head(0.2, 0)), axis=1).mean()  # fmt: skip
    np.testing.assert_allclose(pose_distances(still.rigid[:N], turned.rigid), apart, rtol=1e-4)
    assert len(pose_distances(still.rigid[:N], turned.rigid[: N - 1])) == 0


def test_pair_sampler_above_the_threshold_shares_person_and_pose_and_differs_in_lips():
    clips = [clip("a", 0.0, 0.1), clip("a", 0.01, 0.1), clip("a", 0.3, 0.1), clip("b", 0.0, 0.1)]
    pairs = drawn(PairSampler(clips, N, PairingRule(), SigmaDensity()), 0.9)
    assert all(pair.aligned for pair in pairs)
    for pair in pairs:
        source, target = clips[pair.source_clip], clips[pair.clip]
        assert source.speaker == target.speaker
        window, other = slice(pair.target, pair.target + N), slice(pair.source, pair.source + N)
        assert np.linalg.norm(target.rigid[window] - source.rigid[other], axis=-1).mean() < 0.015
        assert np.abs(target.gaps[window] - source.gaps[other]).mean() >= 0.01
    assert {(p.clip, p.source_clip) for p in pairs} >= {(0, 1), (1, 0)}
    assert not any({p.clip, p.source_clip} in ({0, 2}, {1, 2}) for p in pairs)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 2))
def test_pair_sampler_never_pairs_overlapping_windows(seed, sigma, gap):
    clips = [clip("a", 0.0, 0.1), clip("a", 0.0, 0.0, 25), clip("b", 0.1, 0.1)]
    pairs, rng = PairSampler(clips, N, PairingRule(gap=gap, lips=0.0), SigmaDensity()), np.random.default_rng(seed)
    for _ in range(10):
        pair = pairs.draw(sigma, rng)
        assert 0 <= pair.target <= len(clips[pair.clip]) - N and 0 <= pair.source <= len(clips[pair.source_clip]) - N
        assert pair.source_clip != pair.clip or abs(pair.target - pair.source) >= N
        if sigma <= 0.85:
            assert pair.source_clip == pair.clip and not pair.aligned
            assert abs(pair.target - pair.source) >= N + round(gap * N)


def test_pair_sampler_without_a_pseudo_pair_takes_an_arbitrary_one_and_marks_it():
    """Still lips make no pseudo-pair: they would teach to copy."""
    pairs = drawn(PairSampler([clip("a", 0.0, 0.0)], N, PairingRule(), SigmaDensity()), 0.95)
    assert all(pair.missed and not pair.aligned for pair in pairs)
    turning = PairClip.of("a", np.stack([head(0.02 * i, 0.1 * (i % 3 == 0)) for i in range(40)]))
    assert all(pair.missed for pair in drawn(PairSampler([turning], N, PairingRule(), SigmaDensity()), 0.95))


def test_pair_sampler_draws_either_window_first_and_from_every_place():
    pairs = drawn(PairSampler([clip("a", 0.0, 0.0)], N, PairingRule(), SigmaDensity()), 0.1, 400)
    assert {pair.source < pair.target for pair in pairs} == {True, False}
    starts = {pair.target for pair in pairs} | {pair.source for pair in pairs}
    assert 0 in starts and 40 - N in starts


def test_pair_sampler_weighs_speakers_by_the_root_of_their_minutes():
    clips = [clip("a", 0.0, 0.1, 400), clip("b", 0.0, 0.1, 40)]
    pairs = drawn(PairSampler(clips, N, PairingRule(), SigmaDensity()), 0.1, 600)
    share = np.mean([pair.clip for pair in pairs])
    assert share == pytest.approx(40**0.5 / (40**0.5 + 400**0.5), abs=0.06)


def test_pair_sampler_explains_clips_too_short_for_two_windows():
    with pytest.raises(InputError, match="18 are needed, the longest has 17"):
        PairSampler([clip("a", 0.0, 0.1, 17)], N, PairingRule(), SigmaDensity())


def test_pair_sampler_draw_is_a_function_of_its_generator():
    pairs = PairSampler([clip("a", 0.0, 0.1), clip("b", 0.2, 0.1)], N, PairingRule(), SigmaDensity())
    assert drawn(pairs, 0.9) == drawn(pairs, 0.9)


def test_condition_dropout_drops_sound_and_text_by_their_shares():
    dropout, rng = ConditionDropout(audio=0.15, text=0.10, both=0.05), np.random.default_rng(0)
    kept = np.array([dropout.draw(rng) for _ in range(20_000)])
    lost = ~kept
    assert lost[:, 0].mean() == pytest.approx(0.15, abs=0.01)
    assert lost[:, 1].mean() == pytest.approx(0.10, abs=0.01)
    assert (lost[:, 0] & lost[:, 1]).mean() == pytest.approx(0.05, abs=0.01)
    with pytest.raises(ValueError, match="do not fit"):
        ConditionDropout(audio=0.1, text=0.1, both=0.2)
