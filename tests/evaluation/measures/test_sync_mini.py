"""The embedded sync expert: the runs of mouths it embeds, and what it says of a sound that goes with them or not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipsync_cli.evaluation.measure import AlignedSound, ClipSounds
from lipsync_cli.evaluation.measures.sync_mini import ExpertMeter, SyncExpert
from lipsync_cli.nn.sync.sync_mini import SyncConfig, SyncMini
from tests.helpers.measured_frames import NO_SOUNDS, context, measured_frame, noise


@pytest.fixture(scope="module")
def expert() -> SyncMini:
    torch.manual_seed(0)
    return SyncMini(SyncConfig(picture=(2, 2, 2, 4), sound=(2, 2, 4), features=8, embedding=8)).eval()


@settings(max_examples=10)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_run_ends_with_a_lost_face_and_short_runs_are_dropped(runs: list[int]) -> None:
    torch.manual_seed(0)
    expert = SyncMini(SyncConfig(picture=(2, 2, 2, 4), sound=(2, 2, 4), features=8, embedding=8)).eval()
    meter = ExpertMeter(expert)
    crop = np.zeros((32, 32, 3), np.uint8)
    starts, at = [], 0
    for length in runs:
        for _ in range(length):
            meter.add(crop)
        starts.append((at, length))
        meter.add(None)
        at += length + 1
    found = [(run.first, len(run.embeddings)) for run in meter.finish()]
    assert found == [(first, length - 15) for first, length in starts if length >= 16]


def test_expert_compares_each_sound_once(expert: SyncMini, voice_wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lipsync_cli.evaluation.measures import sync_mini

    compared: list[AlignedSound] = []
    original_score = sync_mini.score_runs

    def counted(network, runs, path, start):
        compared.append(AlignedSound(path, start))
        return original_score(network, runs, path, start)

    monkeypatch.setattr(sync_mini, "score_runs", counted)
    measure = SyncExpert(context(expert))
    for index in range(20):
        measure.add_on_grid(measured_frame(index, noise(index)))
    own, late = AlignedSound(voice_wav, Fraction(0)), AlignedSound(voice_wav, Fraction(1, 5))
    first = measure.values(ClipSounds(Fraction(0), own, late))
    assert compared == [own, late]
    curve = measure.series(ClipSounds(Fraction(0), own))["sync_curve"]
    assert len(curve) == 31 and first["sync_probability"] == 1 - curve[15]
    second = measure.values(ClipSounds(Fraction(0), late, own))
    assert compared == [own, late]
    assert second["leak"] == pytest.approx(first["sync_confidence"] + first["sync_distance"] - curve[15])


def test_expert_without_a_sound_says_nothing(expert: SyncMini) -> None:
    measure = SyncExpert(context(expert))
    for index in range(20):
        measure.add_on_grid(measured_frame(index, noise(index)))
    assert measure.values(NO_SOUNDS) == {}
    assert measure.series(NO_SOUNDS) == {"sync_curve": ()}


def test_expert_without_a_face_has_no_score(expert: SyncMini, voice_wav: Path) -> None:
    measure = SyncExpert(context(expert))
    for _ in range(20):
        measure.add_on_grid(None)
    sounds = ClipSounds(Fraction(0), AlignedSound(voice_wav, Fraction(0)))
    assert measure.values(sounds) == {} and measure.series(sounds) == {"sync_curve": ()}
